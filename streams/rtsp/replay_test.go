package rtsp_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// noon is from when on recorders of tests keep something.
var noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

// recorder serves one and gives a camera at it.
func recorder(t *testing.T, r *rtsptest.Recorder) devices.Camera {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	url, done, err := r.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-done })
	return devices.Camera{ID: "ch1", Site: "site-1", Name: "通道 1", URL: url}
}

func TestThePastIsReplayed(t *testing.T) {
	t.Parallel()
	hour := [][2]time.Time{{noon, noon.Add(time.Minute)}}
	at := func(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }
	type seen struct {
		Pictures    int
		First       time.Duration // from noon
		Connections uint64
		Code, Cut   string
	}
	tests := []struct {
		name     string
		recorder *rtsptest.Recorder
		past     rtsp.Past
		want     seen
	}{
		{"by time", &rtsptest.Recorder{}, rtsp.Past{From: at(10), To: at(20), Clock: true}, seen{150, 10 * time.Second, 1, "", ""}},
		{"from within a group", &rtsptest.Recorder{}, rtsp.Past{From: at(10.5), To: at(12), Clock: true}, seen{30, 10 * time.Second, 1, "", ""}},
		{"it does not say when it is over", &rtsptest.Recorder{Quiet: true}, rtsp.Past{From: at(58), To: at(70), Clock: true}, seen{30, 58 * time.Second, 1, "", rtsp.CodeReplaySilent}},
		{"it does not stop", &rtsptest.Recorder{Endless: true}, rtsp.Past{From: at(10), To: at(11), Clock: true}, seen{15, 10 * time.Second, 1, "", ""}},
		{"with a gap", &rtsptest.Recorder{Held: [][2]time.Time{{noon, at(5)}, {at(30), at(35)}}}, rtsp.Past{From: at(0), To: at(40), Clock: true}, seen{150, 0, 2, "", ""}},
		{"it falls silent", &rtsptest.Recorder{Stall: 20}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{20, 0, 1, "", rtsp.CodeReplaySilent}},
		{"another time", &rtsptest.Recorder{Elsewhen: -time.Hour, Held: [][2]time.Time{{noon, noon.Add(3 * time.Minute)}}}, rtsp.Past{From: at(0), To: at(180), Clock: true}, seen{Code: rtsp.CodeReplayOutside}},
		{"later than it was asked for", &rtsptest.Recorder{Elsewhen: time.Hour}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{Code: rtsp.CodeReplayNothing}},
		{"nothing there", &rtsptest.Recorder{}, rtsp.Past{From: at(100), To: at(110), Clock: true}, seen{Code: rtsp.CodeReplayNothing}},
		{"it refuses the interval", &rtsptest.Recorder{Refuse: "457 Invalid Range"}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{Code: rtsp.CodeReplayNothing}},
		{"it knows no replay", &rtsptest.Recorder{Refuse: "551 Option not supported"}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{Code: rtsp.CodeReplayUnsupported}},
		{"it is busy", &rtsptest.Recorder{Refuse: "503 Service Unavailable"}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{Code: rtsp.CodeReplayRefused}},
		{"wrong password", &rtsptest.Recorder{User: "admin", Password: "x"}, rtsp.Past{From: at(0), To: at(10), Clock: true}, seen{Code: rtsp.CodePassword}},
		{"too much", &rtsptest.Recorder{}, rtsp.Past{From: at(0), To: at(50), Clock: true, Bytes: 100_000}, seen{-1, 0, 1, "", rtsp.CodeReplayLarge}},
		{"by address", &rtsptest.Recorder{Plain: true, Held: [][2]time.Time{{at(3), at(13)}}}, rtsp.Past{From: at(3), To: at(13)}, seen{150, 3 * time.Second, 1, "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.recorder.Held == nil {
				tt.recorder.Held = hour
			}
			cfg := rtsp.Config{}
			if tt.want.Cut == rtsp.CodeReplaySilent {
				cfg.Stall = 2 * time.Second // a busy machine must not look like a silent recorder
			}
			source, err := rtsp.Open(recorder(t, tt.recorder), cfg)
			if err != nil {
				t.Fatal(err)
			}
			var got seen
			var last *streams.Frame
			told, err := source.Replay(t.Context(), tt.past, func(f *streams.Frame) error {
				if got.Pictures++; got.Pictures == 1 {
					got.First = f.Taken.Sub(noon).Round(time.Millisecond)
					if !f.Key {
						t.Error("it does not begin with a key frame")
					}
				}
				if last != nil && f.Connection == last.Connection {
					if step := f.Taken.Sub(last.Taken).Round(time.Millisecond); step < 66*time.Millisecond || step > 68*time.Millisecond {
						t.Errorf("%v between two pictures", step)
					}
				}
				last, got.Connections = f, f.Connection
				return nil
			})
			got.Code = codeOf(err)
			got.Cut = codeOf(told.Cut)
			if tt.want.Pictures < 0 && got.Pictures > 10 {
				got.Pictures = -1
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if got.Pictures > 0 && told.Stamped == tt.recorder.Plain {
				t.Errorf("stamped: %v", told.Stamped)
			}
		})
	}
}

// codeOf names the Problem of an error, "" for none.
func codeOf(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestAReplayAsksAndEndsAsTheStandardSays(t *testing.T) {
	t.Parallel()
	r := &rtsptest.Recorder{Held: [][2]time.Time{{noon, noon.Add(time.Minute)}}, Endless: true, User: "admin", Password: "secret"}
	camera := recorder(t, r)
	camera.Username, camera.Password = "admin", "secret"
	source, err := rtsp.Open(camera, rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := source.Replay(t.Context(), rtsp.Past{From: noon.Add(1500 * time.Millisecond), To: noon.Add(3 * time.Second), Clock: true}, func(*streams.Frame) error { return nil }); err != nil {
		t.Fatal(err)
	}
	want := []string{"OPTIONS", "DESCRIBE", "DESCRIBE", "SETUP onvif-replay", "PLAY clock=20260301T040001.500Z-20260301T040003.000Z onvif-replay no", "TEARDOWN"}
	for deadline := time.Now().Add(5 * time.Second); len(r.Asked()) < len(want) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if diff := cmp.Diff(want, r.Asked()); diff != "" {
		t.Error(diff)
	}
}

func TestAReplayEndsWithWhoWantedIt(t *testing.T) {
	t.Parallel()
	r := &rtsptest.Recorder{Held: [][2]time.Time{{noon, noon.Add(time.Hour)}}}
	source, err := rtsp.Open(recorder(t, r), rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	past := rtsp.Past{From: noon, To: noon.Add(time.Hour), Clock: true}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := source.Replay(ctx, past, func(*streams.Frame) error { cancel(); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	full := errors.New("disk full")
	if _, err := source.Replay(t.Context(), past, func(*streams.Frame) error { return full }); !errors.Is(err, full) {
		t.Errorf("refused: %v", err)
	}
	if n := strings.Count(strings.Join(r.Asked(), "\n"), "PLAY"); n != 2 {
		t.Errorf("%d plays", n)
	}
}
