package cameras

import (
	"bytes"
	"context"
	"errors"
	"image/jpeg"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/probetest"
	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
	"offsite/streams/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quiet is a ledger that nobody reads.
type quiet struct{}

func (quiet) Miss(string, time.Time, *devices.Problem) {}
func (quiet) End(string, time.Time)                    {}

// playing is a camera server with one camera, until the test ends.
func playing(t *testing.T, user, password string) string {
	t.Helper()
	data, err := os.ReadFile("../../streams/rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	clip, err := rtsptest.NewClip(streams.H264, data, 15)
	if err != nil {
		t.Fatal(err)
	}
	server, err := rtsptest.Listen(rtsptest.Config{Addr: "127.0.0.1:0", Paths: []string{"main"}, Clip: clip, User: user, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return server.URL("main")
}

// feeds are those of a gateway that may connect to loopback.
func feeds() *Feeds {
	return New(Config{
		Feed: streams.FeedConfig{Ring: 5 * time.Second}, Taker: snapshot.New(snapshot.Config{}), Notes: quiet{}, Show: func(Status) {},
		Places: devices.Places{
			Resolve: func(context.Context, string) ([]netip.Addr, error) {
				return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
			},
			Allow: func(at netip.AddrPort) error {
				if at.Addr().IsLoopback() {
					return nil
				}
				return devices.Invalid("endpoint", "address_refused", "不允许；请更换", "not allowed; choose another")
			},
		},
	})
}

func probed(t *testing.T, f *Feeds, cam devices.Camera) *streams.Trial {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen, err := f.Probe(ctx, cam)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestProbeSeesTheStream(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg for the still")
	}
	at := playing(t, "admin", "camera-pass")
	seen := probed(t, feeds(), devices.Camera{URL: at, Username: "admin", Password: "camera-pass"})
	if diff := cmp.Diff([]string{"address", "connect", "describe", "video", "still"}, probetest.Outline(seen.Steps)); diff != "" {
		t.Fatal(diff, seen.Steps)
	}
	v := seen.Video
	if v.Codec != streams.H264 || v.Profile != "baseline" || v.Width != 160 || v.Height != 96 || v.Plays != streams.PlaysEverywhere {
		t.Errorf("%+v", v)
	}
	if v.FrameRate < 10 || v.FrameRate > 22 || v.KeyInterval.D() < 200*time.Millisecond || v.KeyInterval.D() > 600*time.Millisecond || v.Bitrate <= 0 {
		t.Errorf("%+v", v)
	}
	img, err := jpeg.Decode(bytes.NewReader(seen.Still.JPEG))
	if err != nil || img.Bounds().Dx() != 160 {
		t.Errorf("still: %v", err)
	}
}

func TestProbeTellsWhatFailed(t *testing.T) {
	locked := playing(t, "admin", "camera-pass")
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	tests := []struct {
		name  string
		cam   devices.Camera
		want  []string
		words string // of the last step, English
	}{
		{"wrong password", devices.Camera{URL: locked, Username: "admin", Password: "nope-nope"}, []string{"address", "connect", "describe failed"}, "refused the user name or password"},
		{"no password", devices.Camera{URL: locked}, []string{"address", "connect", "describe failed"}, "asks for a user name"},
		{"wrong path", devices.Camera{URL: strings.Replace(locked, "main", "other", 1), Username: "admin", Password: "camera-pass"}, []string{"address", "connect", "describe failed"}, "no such stream"},
		{"closed port", devices.Camera{URL: "rtsp://" + closed.Addr().String() + "/main"}, []string{"address", "connect failed"}, "no connection to"},
		{"unknown host", devices.Camera{URL: "rtsp://camera.invalid/main"}, []string{"resolve failed"}, "check its name"},
		{"forbidden", devices.Camera{URL: "rtsp://10.1.1.1/main"}, []string{"address failed"}, "choose another"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			seen := probed(t, feeds(), tt.cam)
			if diff := cmp.Diff(tt.want, probetest.Outline(seen.Steps)); diff != "" {
				t.Fatal(diff, seen.Steps)
			}
			last := seen.Steps[len(seen.Steps)-1]
			if !strings.Contains(last.EN+"; "+last.CureEN, tt.words) || last.CureZH == "" || seen.Still != nil || seen.Video != nil {
				t.Errorf("%+v", last)
			}
			if strings.Contains(last.EN+last.ZH, "nope-nope") {
				t.Error("the password is told")
			}
		})
	}
	_, err = feeds().Probe(t.Context(), devices.Camera{URL: "http://10.1.1.1"})
	var ps devices.Problems
	if !errors.As(err, &ps) || ps[0].Field != "url" {
		t.Errorf("got %v", err)
	}
}

func TestProbeDoesNotConnectAgain(t *testing.T) {
	at := playing(t, "admin", "camera-pass")
	f := feeds()
	thing := devices.Camera{ID: "cam-a", Site: "s", Name: "n", URL: at, Username: "admin", Password: "camera-pass"}
	ctx, cancel := context.WithCancel(context.Background())
	var pulling sync.WaitGroup
	task := f.Task(thing)
	pulling.Go(func() { _ = task(ctx) })
	defer f.list["cam-a"].feed.Hold()()
	defer pulling.Wait()
	defer cancel()
	defer f.list["cam-a"].feed.Hold()() // as a camera that is always pulled
	wake, stop := f.list["cam-a"].feed.Watch()
	defer stop()
	for f.pulled(&thing) == nil {
		<-wake
	}
	before := f.Status()[0].Connections
	seen := probed(t, f, devices.Camera{URL: at, Username: "admin", Password: "camera-pass"})
	if got := probetest.Outline(seen.Steps); got[0] != "connect" || got[1] != "video" || !strings.Contains(seen.Steps[0].EN, "does not connect again") {
		t.Errorf("%v", got)
	}
	if seen.Video.Width != 160 || f.Status()[0].Connections != before {
		t.Errorf("%+v, %d connections", seen.Video, f.Status()[0].Connections)
	}
	stranger := probed(t, f, devices.Camera{URL: at, Username: "admin", Password: "guessed-word"})
	if stranger.Still != nil || stranger.Video != nil || !strings.Contains(strings.Join(probetest.Outline(stranger.Steps), " "), "describe failed") {
		t.Errorf("whoever does not know the password sees the feed: %v", probetest.Outline(stranger.Steps))
	}
}

func TestProbeOfAStillAddress(t *testing.T) {
	at := playing(t, "", "")
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	seen := probed(t, feeds(), devices.Camera{URL: at, StillURL: broken.URL})
	if got := strings.Join(probetest.Outline(seen.Steps), " "); !strings.Contains(got, "still_address failed still") && !strings.Contains(got, "still skipped") {
		t.Errorf("%v", got)
	}
	seen = probed(t, feeds(), devices.Camera{URL: at, StillURL: "http://169.254.169.254/latest/meta-data"})
	if got := strings.Join(probetest.Outline(seen.Steps), " "); !strings.Contains(got, "still_address failed") {
		t.Errorf("%v", got)
	}
}
