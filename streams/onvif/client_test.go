package onvif_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/networks"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// device runs one until the test ends.
func device(t *testing.T, cfg onviftest.Config) *onviftest.Device {
	t.Helper()
	d, err := onviftest.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return d
}

// client opens one as the device's user.
func client(t *testing.T, url, user, password string, cfg onvif.Config) *onvif.Client {
	t.Helper()
	c, err := onvif.Open(onvif.Access{URL: url, Username: user, Password: devices.Secret(password)}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// code names the Problem of an error, "" for none.
func code(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestCamerasOfEveryKindAreRead(t *testing.T) {
	t.Parallel()
	type seen struct {
		Main, Sub, URL, Still string
		PTZ                   bool
		Moved                 []string
	}
	dome := seen{Main: "MainStream", Sub: "SubStream", URL: "rtsp://127.0.0.1:554/Streaming/Channels/101", Still: "/snap.jpg?profile=MainStream", PTZ: true, Moved: []string{}}
	with := func(change func(*seen)) seen {
		s := dome
		change(&s)
		return s
	}
	for _, tc := range []struct {
		name string
		cfg  onviftest.Config
		want seen
	}{
		{"token", onviftest.Config{}, dome},
		{"digest", onviftest.Config{Auth: onviftest.AuthDigest}, dome},
		{"either", onviftest.Config{Auth: onviftest.AuthEither}, dome},
		{"clock of 1970", onviftest.Config{Ahead: -20 * 365 * 24 * time.Hour}, dome},
		{"clock ahead by a day", onviftest.Config{Ahead: 24 * time.Hour}, dome},
		{"media 2", onviftest.Config{Media2: true}, dome},
		{"media 2 in name only", onviftest.Config{BrokenMedia2: true}, dome},
		{"old", onviftest.Config{Old: true}, dome},
		{"odd prefixes", onviftest.Config{Style: onviftest.Odd}, dome},
		{"no prefixes", onviftest.Config{Style: onviftest.Bare, Media2: true}, dome},
		{"prefixes not declared", onviftest.Config{Style: onviftest.Unbound, Auth: onviftest.AuthDigest}, dome},
		{"no PTZ", onviftest.Config{NoPTZ: true}, with(func(s *seen) { s.PTZ = false })},
		{"no stills", onviftest.Config{NoStill: true}, with(func(s *seen) { s.Still = "" })},
		{"names another host", onviftest.Config{Foreign: "203.0.113.9"}, with(func(s *seen) { s.Moved = []string{"203.0.113.9"} })},
		{"names an IPv6 host", onviftest.Config{Foreign: "fd00::1"}, with(func(s *seen) { s.Moved = []string{"fd00::1"} })},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Username, tc.cfg.Password = "admin", "pass<&>词"
			d := device(t, tc.cfg)
			c := client(t, d.URL(), "admin", "pass<&>词", onvif.Config{})
			list, err := c.Channels(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != 1 {
				t.Fatalf("%d channels", len(list))
			}
			ch := list[0]
			if ch.StillURL != "" {
				own := strings.TrimSuffix(strings.Replace(d.URL(), "/onvif/device_service", "", 1), "/")
				rest, ok := strings.CutPrefix(ch.StillURL, own)
				if !ok {
					t.Errorf("still at %s", ch.StillURL)
				}
				ch.StillURL = rest
			}
			if diff := cmp.Diff(tc.want, seen{ch.Main, ch.Sub, ch.URL, ch.StillURL, ch.PTZ, ch.Moved}); diff != "" {
				t.Error(diff)
			}
			if n := d.Refused(); n > 0 {
				t.Errorf("%d refusals", n)
			}
			clock, err := c.Clock(t.Context())
			if err != nil || (clock.Offset-tc.cfg.Ahead).Abs() > time.Second {
				t.Errorf("offset %s, want %s; %v", clock.Offset, tc.cfg.Ahead, err)
			}
			what, err := c.Information(t.Context())
			if diff := cmp.Diff(onvif.Information{Manufacturer: "Example", Model: "DOME-1", Firmware: "5.7", Serial: "SN123"}, what); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestWrongPasswordsAreTriedOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		auth string
		most int // refusals: a token and then a digest, where both may be meant
	}{{onviftest.AuthToken, 1}, {onviftest.AuthDigest, 1}, {onviftest.AuthEither, 2}} {
		t.Run(tc.auth, func(t *testing.T) {
			t.Parallel()
			d := device(t, onviftest.Config{Username: "admin", Password: "right", Auth: tc.auth})
			c := client(t, d.URL(), "admin", "wrong", onvif.Config{})
			for range 5 {
				if _, err := c.Profiles(t.Context()); code(err) != onvif.CodePassword || strings.Contains(err.Error(), "wrong") {
					t.Errorf("%v", err)
				}
			}
			if n := d.Refused(); n > tc.most {
				t.Errorf("tried %d times, want at most %d", n, tc.most)
			}
		})
	}
}

func TestNoUserIsAskedFor(t *testing.T) {
	t.Parallel()
	d := device(t, onviftest.Config{Username: "admin", Password: "right"})
	_, err := client(t, d.URL(), "", "", onvif.Config{}).Profiles(t.Context())
	if p := devices.AllProblems(err)[0]; p.Code != onvif.CodePassword || p.Field != "username" {
		t.Errorf("%+v", p)
	}
}

func TestTroubleIsExplained(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("<a>", 100)
	for _, tc := range []struct {
		name    string
		trouble onviftest.Trouble
		want    string
	}{
		{"endless", onviftest.Trouble{Huge: true}, onvif.CodeGarbled},
		{"deep", onviftest.Trouble{Garbage: deep}, onvif.CodeGarbled},
		{"deaf", onviftest.Trouble{Deaf: true}, onvif.CodeSilent},
		{"slow", onviftest.Trouble{Slow: 2 * time.Second}, onvif.CodeSilent},
		{"web page", onviftest.Trouble{Garbage: "<!DOCTYPE html><html><body>Login</body></html>"}, onvif.CodeGarbled},
		{"entities", onviftest.Trouble{Garbage: `<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>`}, onvif.CodeGarbled},
		{"not XML", onviftest.Trouble{Garbage: "\x00\xff\xfe"}, onvif.CodeGarbled},
		{"fault", onviftest.Trouble{Fault: "GetProfiles"}, onvif.CodeRefused},
		{"every fault", onviftest.Trouble{Fault: "*"}, onvif.CodeRefused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := device(t, onviftest.Config{})
			d.Misbehave(tc.trouble)
			began := time.Now()
			_, err := client(t, d.URL(), "", "", onvif.Config{Timeout: 500 * time.Millisecond}).Profiles(t.Context())
			if got := code(err); got != tc.want {
				t.Errorf("%s: %v", got, err)
			}
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestTheGuardIsAsked(t *testing.T) {
	t.Parallel()
	guard, err := networks.New(networks.Config{Allowed: "10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	d := device(t, onviftest.Config{})
	_, err = client(t, d.URL(), "", "", onvif.Config{Dial: guard.Dial}).Profiles(t.Context())
	if code(err) != networks.Code || d.Asked("GetSystemDateAndTime") != 0 {
		t.Errorf("%v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	_, err = client(t, "http://"+l.Addr().String(), "", "", onvif.Config{}).Profiles(t.Context())
	if code(err) != onvif.CodeUnreachable {
		t.Errorf("%v", err)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "cam", "rtsp://cam/x", "http://", "http://user:word@cam/", "http://[::1", "file:///etc/passwd"} {
		if _, err := onvif.Open(onvif.Access{URL: bad}, onvif.Config{}); code(err) != onvif.CodeAddress {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRecordersHaveAChannelForEachSource(t *testing.T) {
	t.Parallel()
	d := device(t, onviftest.Config{Profiles: onviftest.Recorder(9), NoPTZ: true})
	list, err := client(t, d.URL(), "", "", onvif.Config{}).Channels(t.Context())
	if err != nil || len(list) != 9 {
		t.Fatalf("%d channels, %v", len(list), err)
	}
	last := list[8]
	if last.Name != "通道 9" || last.URL != "rtsp://127.0.0.1:554/ch9/main" || last.SubURL != "rtsp://127.0.0.1:554/ch9/sub" || last.PTZ {
		t.Errorf("%+v", last)
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	p := func(token, codec string, width int) onvif.Profile {
		return onvif.Profile{Token: token, Source: "s", Codec: codec, Width: width, Height: width / 2}
	}
	for _, tc := range []struct {
		name      string
		profiles  []onvif.Profile
		main, sub string
	}{
		{"one", []onvif.Profile{p("a", "H264", 640)}, "a", ""},
		{"sub first", []onvif.Profile{p("a", "H264", 640), p("b", "H264", 1920)}, "b", "a"},
		{"sub in H.264", []onvif.Profile{p("a", "H265", 2560), p("b", "H265", 320), p("c", "H264", 640)}, "a", "c"},
		{"no sub in H.264", []onvif.Profile{p("a", "H264", 2560), p("b", "H265", 320)}, "a", ""},
		{"large stills", []onvif.Profile{p("a", "JPEG", 4000), p("b", "H264", 1920)}, "b", ""},
		{"stills alone", []onvif.Profile{p("a", "JPEG", 640)}, "a", ""},
		{"sound beside", []onvif.Profile{p("a", "", 0), p("b", "H264", 1920)}, "b", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			list := onvif.Choose(tc.profiles)
			if len(list) != 1 || list[0].Main != tc.main || list[0].Sub != tc.sub {
				t.Errorf("%+v", list)
			}
		})
	}
}
