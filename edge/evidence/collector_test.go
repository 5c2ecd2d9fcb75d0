package evidence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/streams"
	"offsite/streams/clip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cameras are what each camera does when asked for a picture.
type cameras map[string]func(ctx context.Context, try int) (streams.Still, error)

// bench is a collector inside a synctest bubble, with what was told.
type bench struct {
	t     *testing.T
	dir   string
	cfg   Config
	db    *state.DB
	vault *Vault
	c     *Collector

	mu    sync.Mutex
	tries map[string]int
	told  []Result
	at    []time.Duration // when it was told, since Run
}

// bubble runs f in a synctest bubble with a collector of its own that wants a
// still of the breach and no more.
func bubble(t *testing.T, f func(t *testing.T, b *bench)) {
	t.Helper()
	with(t, Config{Moments: []time.Duration{0}, After: -1}, f)
}

// with is bubble with another configuration.
func with(t *testing.T, cfg Config, f func(t *testing.T, b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, cfg: cfg, dir: t.TempDir(), tries: map[string]int{}}
		b.open()
		defer b.close()
		f(t, b)
	})
}

func (b *bench) open() {
	b.t.Helper()
	var err error
	if b.db, err = state.Open(context.Background(), state.Config{Dir: b.dir}); err != nil {
		b.t.Fatal(err)
	}
	if b.vault, err = OpenVault(b.dir + "/evidence"); err != nil {
		b.t.Fatal(err)
	}
	if b.c, err = Open(b.t.Context(), b.db, b.vault, b.cfg); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := errors.Join(b.db.Close(), b.vault.Close()); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) expect(event string, breach time.Time, cams ...string) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *sql.Tx) error {
		return b.c.Expect(b.t.Context(), tx, event, breach, cams)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.c.Wake()
}

// lenses are cameras of which nothing is held and no clip can be had, unless they
// are given.
type lenses struct {
	take   func(ctx context.Context, camera string) (streams.Still, error)
	moment func(camera string, at time.Time) (streams.Still, error)
	clip   func(ctx context.Context, camera string, from, to time.Time, out io.WriteSeeker, cfg clip.Config) (clip.Clip, error)
}

func (l lenses) Take(ctx context.Context, camera string) (streams.Still, error) {
	return l.take(ctx, camera)
}

func (l lenses) Moment(_ context.Context, camera string, at time.Time) (streams.Still, error) {
	if l.moment == nil {
		return streams.Still{}, silent
	}
	return l.moment(camera, at)
}

func (l lenses) Clip(ctx context.Context, camera string, from, to time.Time, out io.WriteSeeker, cfg clip.Config) (clip.Clip, error) {
	if l.clip == nil {
		return clip.Clip{}, clip.ErrEmpty
	}
	return l.clip(ctx, camera, from, to, out, cfg)
}

// run collects for a span of time.
func (b *bench) run(span time.Duration, cams cameras) {
	b.t.Helper()
	b.see(span, lenses{take: b.counted(cams)})
}

// see is run with cameras that can do more.
func (b *bench) see(span time.Duration, cams Cameras) {
	b.t.Helper()
	start := time.Now()
	err := b.try(span, cams, func(_ context.Context, _ *sql.Tx, r Result) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told, b.at = append(b.told, r), append(b.at, time.Since(start))
		return nil
	})
	if !errors.Is(err, context.DeadlineExceeded) {
		b.t.Fatalf("Run: %v", err)
	}
}

func (b *bench) try(span time.Duration, cams Cameras, tell Tell) error {
	ctx, cancel := context.WithTimeout(b.t.Context(), span)
	defer cancel()
	return b.c.Run(ctx, cams, tell)
}

// counted counts the tries.
func (b *bench) counted(cams cameras) func(ctx context.Context, camera string) (streams.Still, error) {
	return func(ctx context.Context, camera string) (streams.Still, error) {
		b.mu.Lock()
		b.tries[camera]++
		n := b.tries[camera]
		b.mu.Unlock()
		return cams[camera](ctx, n)
	}
}

func still(text string, at time.Time) streams.Still {
	return streams.Still{JPEG: []byte("\xff\xd8\xff" + text), At: at, Width: 1920, Height: 1080, Step: "ffmpeg"}
}

func works(text string) func(context.Context, int) (streams.Still, error) {
	return func(context.Context, int) (streams.Still, error) { return still(text, time.Now()), nil }
}

var inside = cmp.AllowUnexported(Item{})

var silent = &devices.Problem{Kind: devices.ErrUnavailable, Code: "no_picture_silent", ZH: "没有图像：摄像机无信号", EN: "no picture: camera silent"}

func broken(context.Context, int) (streams.Still, error) { return streams.Still{}, silent }

func hangs(ctx context.Context, _ int) (streams.Still, error) {
	<-ctx.Done()
	return streams.Still{}, context.Cause(ctx)
}

// summary is a result in few words.
func summary(r Result) []string {
	out := []string{r.Event + " " + r.State}
	for _, it := range r.Items {
		text := it.Camera + " " + it.State
		if it.Problem != nil {
			text += " " + it.Problem.Code
		} else {
			text += fmt.Sprint(" ", it.Distance)
		}
		out = append(out, text)
	}
	if r.Problem != nil {
		out = append(out, r.Problem.Code)
	}
	return out
}

func summaries(rs []Result) [][]string {
	var out [][]string
	for _, r := range rs {
		out = append(out, summary(r))
	}
	return out
}

func TestAPictureIsTakenAtOnceAndToldWhole(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		breach := time.Now().Add(-1500 * time.Millisecond).UTC()
		b.expect("al-1", breach, "cam-1")
		b.run(time.Minute, cameras{"cam-1": works("one")})
		if len(b.told) != 1 || b.at[0] != 0 {
			t.Fatalf("told %v at %v", b.told, b.at)
		}
		it := b.told[0].Items[0]
		want := Item{
			Event: "al-1", Camera: "cam-1", Kind: Still, State: Attached, SHA256: it.SHA256,
			CapturedAt: breach.Add(1500 * time.Millisecond), Distance: 1500 * time.Millisecond,
			details: details{MediaType: "image/jpeg", Size: 6, TimeSource: streams.ArrivalTime, Step: "ffmpeg", Width: 1920, Height: 1080},
		}
		whole := Result{Event: "al-1", State: Attached, Complete: true, Items: []Item{want}, Manifest: b.told[0].Manifest, Size: b.told[0].Size}
		if diff := cmp.Diff(whole, b.told[0], inside); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{it.SHA256, whole.Manifest}, b.told[0].Blobs()); diff != "" {
			t.Error(diff)
		}
		f, err := b.vault.Open(it.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		kept, err := b.c.Of(t.Context(), "al-1")
		if diff := cmp.Diff(whole, kept, inside); diff != "" || err != nil {
			t.Error(diff, err)
		}
		for sha, media := range map[string]string{it.SHA256: "image/jpeg", whole.Manifest: "application/json"} {
			f, err := b.c.ByHash(t.Context(), sha)
			if err != nil || !slices.Equal(f.Events, []string{"al-1"}) || f.MediaType != media {
				t.Error(f, err)
			}
		}
		if r, err := b.c.Of(t.Context(), "al-2"); r.State != "" || err != nil {
			t.Error(r, err)
		}
	})
}

func TestOutcomes(t *testing.T) {
	tests := []struct {
		name    string
		cameras cameras
		want    []string
		after   time.Duration
		tries   map[string]int
	}{
		{"no camera", cameras{}, []string{"al-1 none", "no_picture_no_camera"}, 0, map[string]int{}},
		{
			"the third try works",
			cameras{"a": func(ctx context.Context, try int) (streams.Still, error) {
				if try < 3 {
					return broken(ctx, try)
				}
				return still("x", time.Now()), nil
			}},
			[]string{"al-1 attached", "a attached 1.5s"},
			1500 * time.Millisecond,
			map[string]int{"a": 3},
		},
		{"silent to the deadline", cameras{"a": broken}, []string{"al-1 none", "a none no_picture_silent", "no_picture_silent"}, 15 * time.Second, map[string]int{"a": 5}},
		{"hangs", cameras{"a": hangs}, []string{"al-1 none", "a none no_picture_timeout", "no_picture_timeout"}, 15 * time.Second, map[string]int{"a": 3}},
		{
			"its own reason says more than a time-out",
			cameras{"a": func(ctx context.Context, try int) (streams.Still, error) {
				if try == 1 {
					return broken(ctx, try)
				}
				return hangs(ctx, try)
			}},
			[]string{"al-1 none", "a none no_picture_silent", "no_picture_silent"},
			15 * time.Second,
			map[string]int{"a": 3},
		},
		{
			"not registered any more",
			cameras{"a": func(context.Context, int) (streams.Still, error) {
				return streams.Still{}, &devices.Problem{Kind: devices.ErrNotFound, Code: "camera_not_found", ZH: "没有该摄像机", EN: "there is no such camera"}
			}},
			[]string{"al-1 none", "a none camera_not_found", "camera_not_found"},
			0,
			map[string]int{"a": 1},
		},
		{"an error without words", cameras{"a": func(context.Context, int) (streams.Still, error) {
			return streams.Still{}, errors.New("boom")
		}}, []string{"al-1 none", "a none internal", "internal"}, 15 * time.Second, map[string]int{"a": 5}},
		{"an empty still", cameras{"a": func(context.Context, int) (streams.Still, error) {
			return streams.Still{}, nil
		}}, []string{"al-1 none", "a none no_picture_empty", "no_picture_empty"}, 15 * time.Second, map[string]int{"a": 5}},
		{
			"one of two is enough, and both are told",
			cameras{"a": broken, "b": works("b")},
			[]string{"al-1 attached", "a none no_picture_silent", "b attached 0s"},
			15 * time.Second,
			map[string]int{"a": 5, "b": 1},
		},
		{
			"a picture from before the breach",
			cameras{"a": func(context.Context, int) (streams.Still, error) {
				return still("x", time.Now().Add(-2*time.Second)), nil
			}},
			[]string{"al-1 attached", "a attached -2s"},
			0,
			map[string]int{"a": 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, b *bench) {
				b.expect("al-1", time.Now(), slices.Sorted(maps.Keys(tt.cameras))...)
				b.run(time.Minute, tt.cameras)
				if diff := cmp.Diff([][]string{tt.want}, summaries(b.told)); diff != "" {
					t.Fatal(diff)
				}
				if b.at[0] != tt.after {
					t.Errorf("told after %s, want %s", b.at[0], tt.after)
				}
				if diff := cmp.Diff(tt.tries, b.tries); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestAFrameThatCouldNotBeDecodedIsEvidenceToo(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.expect("al-1", time.Now(), "a")
		b.run(time.Minute, cameras{"a": func(context.Context, int) (streams.Still, error) {
			return streams.Still{Frame: []byte("\x00\x00\x00\x20ftypisom"), At: time.Now(), Step: "frame"}, nil
		}})
		if it := b.told[0].Items[0]; it.MediaType != "video/mp4" || it.Step != "frame" || b.c.MediaType(it.SHA256) != "video/mp4" {
			t.Errorf("got %+v", it)
		}
	})
}

func TestNoCameraWaitsForAnother(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.expect("al-1", time.Now(), "dead")
		b.expect("al-2", time.Now(), "a")
		go func() {
			time.Sleep(3 * time.Second)
			b.expect("al-3", time.Now(), "a")
		}()
		b.run(time.Minute, cameras{"dead": hangs, "a": works("a")})
		got := map[string]time.Duration{}
		for i, r := range b.told {
			got[r.Event] = b.at[i]
		}
		if diff := cmp.Diff(map[string]time.Duration{"al-1": 15 * time.Second, "al-2": 0, "al-3": 3 * time.Second}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestManyEventsShareOneShot(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		start := time.Now()
		for i := range 250 {
			b.expect(fmt.Sprintf("al-%d", i), start.Add(-time.Duration(i)*time.Second), "a")
		}
		b.run(time.Minute, cameras{"a": works("a")})
		if b.tries["a"] != 1 || len(b.told) != 250 {
			t.Errorf("%d shots, %d told", b.tries["a"], len(b.told))
		}
		for _, r := range b.told {
			if got := fmt.Sprint("al-", int(r.Items[0].Distance/time.Second)); got != r.Event {
				t.Fatalf("event %s: distance %s", r.Event, r.Items[0].Distance)
			}
		}
	})
}

func TestARestartTakesUpWhatIsPending(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		breach := time.Now()
		b.expect("al-old", breach, "a", "b")
		b.run(time.Second, cameras{"a": works("a"), "b": hangs}) // a is kept, b is not
		if len(b.told) != 0 {
			t.Fatalf("told too early: %v", summaries(b.told))
		}
		if r, err := b.c.Of(t.Context(), "al-old"); err != nil || r.Complete || r.Items[0].State != Attached || r.Items[1].State != Pending {
			t.Fatal(r, err)
		}
		time.Sleep(5 * time.Minute)
		b.close()
		b.open()
		b.run(time.Minute, cameras{"a": broken, "b": works("b")})
		want := [][]string{{"al-old attached", "a attached 0s", "b attached 5m1s"}}
		if diff := cmp.Diff(want, summaries(b.told)); diff != "" {
			t.Error(diff)
		}
		if b.tries["a"] != 1 {
			t.Errorf("a was asked %d times", b.tries["a"])
		}
	})
}

func TestWhatIsTooOldEndsWithoutAPicture(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.expect("al-1", time.Now(), "a")
		time.Sleep(11 * time.Minute)
		b.expect("al-2", time.Now().Add(-3*time.Hour), "a") // judged late, wanted now
		b.run(time.Minute, cameras{"a": works("a")})
		want := [][]string{
			{"al-1 none", "a none no_picture_gateway_down", "no_picture_gateway_down"},
			{"al-2 attached", "a attached 3h0m0s"},
		}
		if diff := cmp.Diff(want, summaries(b.told), cmpopts.SortSlices(func(a, b []string) bool { return a[0] < b[0] })); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRowAndMessageAreOneTransaction(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.expect("al-1", time.Now(), "a")
		full := errors.New("the outbox could not take the message")
		err := b.try(time.Minute, lenses{take: b.counted(cameras{"a": works("a")})}, func(context.Context, *sql.Tx, Result) error { return full })
		if !errors.Is(err, full) {
			t.Fatalf("Run: %v", err)
		}
		if r, err := b.c.Of(t.Context(), "al-1"); r.Manifest != "" || err != nil {
			t.Fatal(r, err)
		}
		b.run(time.Minute, cameras{"a": works("b")})
		if len(b.told) != 1 {
			t.Errorf("told %v", summaries(b.told))
		}
		b.expect("al-1", time.Now(), "a") // judged again
		b.run(time.Minute, cameras{"a": works("c")})
		if len(b.told) != 1 {
			t.Errorf("told twice: %v", summaries(b.told))
		}
	})
}

func TestAPictureThatCannotBeKeptIsNone(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		b.expect("al-1", time.Now(), "a")
		b.run(time.Minute, cameras{"a": func(context.Context, int) (streams.Still, error) {
			return streams.Still{JPEG: make([]byte, LargestFile+1), At: time.Now()}, nil
		}})
		want := [][]string{{"al-1 none", "a none evidence_too_large", "evidence_too_large"}}
		if diff := cmp.Diff(want, summaries(b.told)); diff != "" {
			t.Error(diff)
		}
	})
}
