package rtsp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/base"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// porter admits who shows the password, to the one camera there is.
type porter struct {
	feed         *streams.Feed
	revoked      atomic.Bool
	begun, ended atomic.Int64
	bytes, lost  atomic.Uint64
	leave        atomic.Value // func() of the one who came last
}

func (p *porter) Admit(ask rtsp.Ask) (rtsp.Visit, error) {
	switch {
	case ask.Password != "secret":
		return rtsp.Visit{}, rtsp.ErrNoPassword
	case ask.Camera != "gate":
		return rtsp.Visit{}, devices.ErrNotFound
	case ask.User == "late":
		return rtsp.Visit{}, &devices.Problem{Kind: devices.ErrUnavailable, Code: "full", ZH: "满", EN: "full"}
	case ask.User == "blind":
		return rtsp.Visit{}, errors.New("role may not")
	}
	return rtsp.Visit{
		Feed:  p.feed,
		Holds: func() bool { return !p.revoked.Load() },
		Begin: func(_ context.Context, leave func()) error { p.leave.Store(leave); p.begun.Add(1); return nil },
		End:   func(sum rtsp.Tally) { p.bytes.Add(sum.Bytes); p.lost.Add(sum.Lost); p.ended.Add(1) },
	}, nil
}

// handOn pulls a camera of rtsptest and hands it on; it gives the address.
func handOn(t *testing.T, cfg rtsp.ServerConfig) (p *porter, addr string) {
	t.Helper()
	feed, _ := pull(t, camera(serve(t, rtsptest.Config{})), rtsp.Config{})
	return handOnFeed(t, feed, cfg)
}

func handOnFeed(t *testing.T, feed *streams.Feed, cfg rtsp.ServerConfig) (p *porter, addr string) {
	t.Helper()
	p = &porter{feed: feed}
	cfg.Desk = p
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	background(t, func(ctx context.Context) {
		if err := rtsp.NewServer(cfg).Serve(ctx, listener); ctx.Err() == nil {
			t.Errorf("the server ends: %v", err)
		}
	})
	return p, listener.Addr().String()
}

// large gives a group of pictures of 100 KB each.
func large(t *testing.T) []*streams.Frame {
	t.Helper()
	var group []*streams.Frame
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	data, err := os.ReadFile("testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data))[:5] {
		f, err := a.Frame(append(u, append([]byte{6, 5}, bytes.Repeat([]byte{1}, 100_000)...)), 0, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		group = append(group, f)
	}
	return group
}

// again is the camera as it is handed on.
func again(addr, path string) devices.Camera {
	return devices.Camera{ID: "again", Site: "site-1", Name: "门口", URL: "rtsp://" + addr + path, Username: "nvr", Password: "secret"}
}

// settle waits for what another goroutine or the network will bring about.
func settle(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(time.Minute); !ok(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal(what)
		}
	}
}

// udpPair finds an even port that is free with the next one.
func udpPair(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 20000 + 2*rand.IntN(6000) // below what the kernel gives to those who ask for any port
		if bindable(port) && bindable(port+1) {
			return "127.0.0.1:" + strconv.Itoa(port)
		}
	}
	t.Fatal("no two free ports, even and odd")
	return ""
}

func bindable(port int) bool {
	c, err := net.ListenPacket("udp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

func TestHandsOnToOurOwnPuller(t *testing.T) {
	t.Parallel()
	p, addr := handOn(t, rtsp.ServerConfig{})
	source, err := rtsp.Open(again(addr, "/gate"), rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	r := feed.Subscribe()
	defer r.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- source.Run(ctx, feed) }()
	for i := range 20 {
		f, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && (!f.Key || !f.Params.Equal(p.feed.State().Params)) {
			t.Errorf("first picture %+v", f)
		}
	}
	if d := feed.State().Damaged; d > 0 {
		t.Errorf("%d damaged", d)
	}
	cancel()
	<-ended
	settle(t, "the visit goes on", func() bool { return p.ended.Load() == 1 })
	if p.begun.Load() != 1 || p.bytes.Load() == 0 {
		t.Errorf("begun %d, %d bytes", p.begun.Load(), p.bytes.Load())
	}
}

func TestReaderWhoseRightEndsIsSentAway(t *testing.T) {
	t.Parallel()
	p, addr := handOn(t, rtsp.ServerConfig{Recheck: 20 * time.Millisecond})
	feed, ended := pull(t, again(addr, "/gate/sub"), rtsp.Config{})
	settle(t, "no pictures", func() bool { return feed.State().Frames > 2 })
	p.revoked.Store(true)
	if err := <-ended; err == nil {
		t.Error("the reader was not sent away")
	}
	settle(t, "the visit goes on", func() bool { return p.ended.Load() == 1 })
}

func TestReaderIsSentAwayAtOnce(t *testing.T) {
	t.Parallel()
	p, addr := handOn(t, rtsp.ServerConfig{Recheck: time.Hour})
	feed, ended := pull(t, again(addr, "/gate/sub"), rtsp.Config{})
	settle(t, "no pictures", func() bool { return feed.State().Frames > 2 })
	p.leave.Load().(func())()
	if err := <-ended; err == nil {
		t.Error("the reader was not sent away")
	}
	settle(t, "the visit goes on", func() bool { return p.ended.Load() == 1 })
}

// TestSlowReaderDelaysNobody opens a reader that never reads, and one that does.
func TestSlowReaderDelaysNobody(t *testing.T) {
	t.Parallel()
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	group := large(t)
	show := func() {
		for i, f := range group {
			next := *f
			next.At, next.DTS = time.Now(), time.Duration(feed.State().Frames+1)*time.Millisecond
			next.PTS = next.DTS
			next.Key = i == 0
			feed.Publish(&next)
		}
	}
	show()
	p, addr := handOnFeed(t, feed, rtsp.ServerConfig{Queue: 1024})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(conn.(*net.TCPConn).SetReadBuffer(4096))
	answers := bufio.NewReader(conn)
	login := "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("nvr:secret")) + "\r\n"
	_, err = fmt.Fprintf(conn, "SETUP rtsp://%s/gate/trackID=0 RTSP/1.0\r\nCSeq: 1\r\n%sTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n", addr, login)
	must(err)
	head := textproto.NewReader(answers)
	status, err := head.ReadLine()
	must(err)
	fields, err := head.ReadMIMEHeader()
	must(err)
	session, _, _ := strings.Cut(fields.Get("Session"), ";")
	if session == "" {
		t.Fatalf("%s %v", status, fields)
	}
	_, err = fmt.Fprintf(conn, "PLAY rtsp://%s/gate RTSP/1.0\r\nCSeq: 2\r\n%sSession: %s\r\n\r\n", addr, login, session)
	must(err)
	other, _ := pull(t, again(addr, "/gate"), rtsp.Config{Rate: 1 << 30}) // all of it may come in one second
	settle(t, "not the first group for the other reader", func() bool { return other.State().Frames == uint64(len(group)) })
	for range 40 { // 20 MB, more than any socket holds
		before := other.State().Frames
		show()
		settle(t, "a picture is missing", func() bool { return other.State().Frames == before+uint64(len(group)) })
	}
	must(conn.Close())
	settle(t, "the visit goes on", func() bool { return p.ended.Load() == 1 })
	if p.lost.Load() == 0 {
		t.Error("nothing was lost: the reader was not slow")
	}
}

func TestHandsOnToFFmpeg(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	udp := udpPair(t)
	p, addr := handOn(t, rtsp.ServerConfig{UDP: udp})
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-err_detect", "explode", "-rtsp_transport", transport,
				"-i", "rtsp://nvr:secret@"+addr+"/gate", "-frames:v", "15", "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "null", "-").CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("ffmpeg: %v: %s", err, out)
			}
		})
	}
	if p.begun.Load() != 2 {
		t.Errorf("begun %d times", p.begun.Load())
	}
}

func TestHandsOnToGStreamer(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gst-launch-1.0"); err != nil {
		t.Skip("GStreamer is not installed")
	}
	_, addr := handOn(t, rtsp.ServerConfig{UDP: udpPair(t)})
	for _, transport := range []string{"tcp", "udp"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, "gst-launch-1.0", "-q", "rtspsrc", "location=rtsp://"+addr+"/gate", "user-id=nvr", "user-pw=secret",
				"protocols="+transport, "latency=100", "!", "rtph264depay", "!", "h264parse", "!", "identity", "eos-after=15", "!", "fakesink", "sync=false").CombinedOutput()
			if err != nil || len(out) > 0 {
				t.Errorf("gst-launch: %v: %s", err, out)
			}
		})
	}
}

func TestRefusesToHandOn(t *testing.T) {
	t.Parallel()
	p, addr := handOn(t, rtsp.ServerConfig{})
	for _, tt := range []struct{ name, url, status string }{
		{"no password", "rtsp://" + addr + "/gate", "401"},
		{"wrong password", "rtsp://nvr:guess@" + addr + "/gate", "401"},
		{"another camera", "rtsp://nvr:secret@" + addr + "/dock", "404"},
		{"no right", "rtsp://blind:secret@" + addr + "/gate", "403"},
		{"too many", "rtsp://late:secret@" + addr + "/gate", "503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := describe(t, tt.url)
			if !strings.HasPrefix(answer, "RTSP/1.0 "+tt.status) || strings.HasSuffix(answer, "满 / full") != (tt.name == "too many") {
				t.Errorf("answer %q", answer)
			}
		})
	}
	if p.begun.Load() != 0 {
		t.Error("a visit has begun")
	}
}

// describe asks for a description and gives the answer. Without a password
// it is the one to the first request.
func describe(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	login := ""
	if u.User != nil {
		login = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(u.User.String())) + "\r\n"
	}
	if _, err := fmt.Fprintf(conn, "DESCRIBE rtsp://%s%s RTSP/1.0\r\nCSeq: 1\r\n%s\r\n", u.Host, u.Path, login); err != nil {
		t.Fatal(err)
	}
	var answer base.Response
	if err := answer.Unmarshal(bufio.NewReader(conn)); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("RTSP/1.0 %d %s", answer.StatusCode, answer.Body)
}
