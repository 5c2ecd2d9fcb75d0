package gateway_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/cameras"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

func TestRTSPIsCheckedBeforeItListens(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		cfg  gateway.RTSP
		want string
	}{
		{"off", gateway.RTSP{}, ""},
		{"loopback", gateway.RTSP{Listen: "127.0.0.1:8554", UDP: "127.0.0.1:8000"}, ""},
		{"encrypted for all", gateway.RTSP{TLS: "0.0.0.0:8322"}, ""},
		{"plain for all by wish", gateway.RTSP{Listen: "0.0.0.0:8554", Insecure: true}, ""},
		{"plain for all", gateway.RTSP{Listen: "0.0.0.0:8554"}, "plain_off_loopback"},
		{"no port", gateway.RTSP{TLS: "0.0.0.0"}, "bad_address"},
		{"odd port", gateway.RTSP{Listen: "127.0.0.1:8554", UDP: "127.0.0.1:8001"}, "bad_port"},
		{"UDP alone", gateway.RTSP{UDP: "127.0.0.1:8000"}, "bad_port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := gateway.Config{RTSP: tt.cfg}
			code := ""
			if ps := devices.AllProblems(cfg.Validate()); len(ps) > 0 {
				code = ps[0].Code
			}
			if code != tt.want {
				t.Errorf("code %q, want %q", code, tt.want)
			}
		})
	}
}

func TestPlainRTSPForAllIsNoticed(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, tt := range []struct {
		name string
		cfg  gateway.RTSP
		want bool
	}{
		{"off", gateway.RTSP{Insecure: true}, false},
		{"loopback", gateway.RTSP{Listen: "127.0.0.1:8554", Insecure: true}, false},
		{"encrypted for all", gateway.RTSP{TLS: "0.0.0.0:8322", Insecure: true}, false},
		{"plain for all", gateway.RTSP{Listen: "0.0.0.0:8554", Insecure: true}, true},
	} {
		var err error
		b.server, err = gateway.Open(gateway.Config{HTTP: "127.0.0.1:0", RTSP: tt.cfg}, b.parts())
		must(t, err)
		b.http.Close()
		b.http = httptest.NewServer(b.server.Handler())
		var st contract.Status
		b.call("GET", "/api/v1/status", bearer(b.token(accounts.Viewer)), nil).want(200).into(&st)
		at := slices.IndexFunc(st.Notices, func(n contract.Notice) bool { return n.Code == "rtsp_insecure" })
		if (at >= 0) != tt.want {
			t.Errorf("%s: notices %+v", tt.name, st.Notices)
		} else if at >= 0 && (!strings.Contains(st.Notices[at].Zh, "RTSPS") || !strings.Contains(st.Notices[at].En, "RTSPS") || st.Notices[at].Level != contract.Warning) {
			t.Errorf("%s: %+v", tt.name, st.Notices[at])
		}
	}
	t.Cleanup(b.http.Close)
}

// oneFeed is of the camera cam-a; who may watch it is the cameras' own decision.
type oneFeed struct {
	*cameras.Feeds
	feed *streams.Feed
}

func feedsOf(feed *streams.Feed) oneFeed { return oneFeed{cameras.New(cameras.Config{}), feed} }

func (f oneFeed) Feed(string, devices.Profile) (*streams.Feed, error) { return f.feed, nil }

// pulled gives the feed of a camera that shows the demo.
func pulled(t *testing.T) *streams.Feed {
	t.Helper()
	camera, err := rtsptest.Listen(rtsptest.Config{})
	must(t, err)
	source, err := rtsp.Open(devices.Camera{ID: "cam", Site: "a", Name: "门", URL: camera.URL("cam")}, rtsp.Config{})
	must(t, err)
	feed := streams.NewFeed(streams.FeedConfig{})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- camera.Run(ctx) }()
	go func() { ended <- source.Run(ctx, feed) }()
	t.Cleanup(func() { cancel(); <-ended; <-ended })
	return feed
}

// TestFFmpegReadsACameraByAToken goes the whole way, encrypted and not.
func TestFFmpegReadsACameraByAToken(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	parts := b.parts()
	parts.Feeds = feedsOf(pulled(t))
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0", RTSP: gateway.RTSP{Listen: "127.0.0.1:0", TLS: "127.0.0.1:0"}}, parts)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	at := <-ready
	only := b.token(accounts.Integrator, "b")
	good := b.token(accounts.Integrator, "a")
	tests := []struct {
		name, url string
		plays     bool
	}{
		{"plain", "rtsp://nvr:" + good + "@" + at.RTSP + "/cam-a", true},
		{"encrypted", "rtsps://nvr:" + good + "@" + at.RTSPS + "/cam-a/sub", true},
		{"of another site", "rtsp://nvr:" + only + "@" + at.RTSP + "/cam-a", false},
		{"no token", "rtsp://" + at.RTSP + "/cam-a", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i", tt.url,
				"-frames:v", "3", "-fps_mode", "passthrough", "-f", "null", "-").CombinedOutput()
			if plays := err == nil && len(out) == 0; plays != tt.plays {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("run ended with %v", err)
	}
	if begun, over := b.acts("live.rtsp"), b.acts("live.rtsp.end"); len(begun) != 2 || len(over) != 2 || begun[0].Detail != "sub" || begun[1].Detail != "main" {
		t.Errorf("the trail has %+v and %+v", begun, over)
	}
}

// TestReadersOfRTSPGoWhenMemoryIsShort reads one camera with our own puller.
func TestReadersOfRTSPGoWhenMemoryIsShort(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	parts := b.parts()
	camera := feedsOf(pulled(t))
	parts.Feeds = camera
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0", RTSP: gateway.RTSP{Listen: "127.0.0.1:0"}}, parts)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	defer func() { cancel(); <-ended }()
	secret := b.token(accounts.Integrator, "a")
	reader, err := rtsp.Open(devices.Camera{ID: "nvr", Site: "a", Name: "门", URL: "rtsp://" + (<-ready).RTSP + "/cam-a", Username: "nvr", Password: devices.Secret(secret)}, rtsp.Config{})
	must(t, err)
	left := make(chan error, 1)
	watch := func() {
		t.Helper()
		read := streams.NewFeed(streams.FeedConfig{})
		pictures := read.Subscribe()
		defer pictures.Close()
		go func() { left <- reader.Run(ctx, read) }()
		_, err := pictures.Next(t.Context())
		must(t, err)
	}
	watch()
	camera.Shed(&devices.Problem{Kind: devices.ErrUnavailable, Code: "memory_short", ZH: "内存不足", EN: "memory is short"})
	if err := <-left; err == nil {
		t.Error("the reader was not sent away")
	}
	until(t, "the end in the trail", func() bool { return len(b.acts("live.rtsp.end")) == 1 })
	if row := b.acts("live.rtsp.end")[0]; !strings.HasSuffix(row.Detail, " lost: memory_short") {
		t.Errorf("the trail has %+v", row)
	}
	var p *devices.Problem
	if _, err := s.Admit(rtsp.Ask{Password: secret, Camera: "cam-a"}); !errors.As(err, &p) || p.Code != "memory_short" {
		t.Errorf("who came then: %v", err)
	}
	camera.Shed(nil)
	watch()
	cancel()
	<-left
}

// TestReadersOfRTSPAreBounded counts those of a token, and all of them.
func TestReadersOfRTSPAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	parts := b.parts()
	parts.Feeds = feedsOf(nil)
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	begin := func(token string) (rtsp.Visit, string) {
		t.Helper()
		v, err := s.Admit(rtsp.Ask{Password: token, Camera: "cam-a"})
		must(t, err)
		var p *devices.Problem
		if err := v.Begin(t.Context(), func() {}); err == nil || !errors.As(err, &p) {
			must(t, err)
			return v, ""
		}
		return v, p.EN
	}
	const ofOne, inAll = "this token reads 32 pictures at once already; stop some", "the gateway hands on 256 pictures at once already; try later"
	var first rtsp.Visit
	for range 8 {
		token := b.token(accounts.Viewer)
		for range 32 {
			v, why := begin(token)
			if why != "" {
				t.Fatal(why)
			}
			first = v
		}
		if _, why := begin(token); why != ofOne {
			t.Errorf("one more of a token: %q", why)
		}
	}
	other := b.token(accounts.Integrator)
	if _, why := begin(other); why != inAll {
		t.Errorf("one more in all: %q", why)
	}
	first.End(rtsp.Tally{})
	if _, why := begin(other); why != "" {
		t.Errorf("after one has left: %q", why)
	}
}
