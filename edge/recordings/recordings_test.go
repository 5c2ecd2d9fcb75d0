package recordings

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/streams"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is what the room is told and what it tells.
type site struct {
	feed *streams.Feed

	mu      sync.Mutex
	events  []Happening
	reasons []Reason
	deleted []Deletion
	missed  []string
	over    []string // subjects whose gaps ended
	notice  *devices.Problem
	used    float64
}

func (s *site) Feed(string, devices.Profile) (*streams.Feed, error) { return s.feed, nil }

func (s *site) Miss(subject string, _ time.Time, why *devices.Problem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.missed = append(s.missed, subject+" "+why.Code)
}

func (s *site) End(subject string, _ time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = append(s.over, subject)
}

func (s *site) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *site) code() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.notice == nil {
		return ""
	}
	return s.notice.Code
}

// open gives a room that records camera "cam" of a kitchen.
func open(t *testing.T, cam devices.Camera, change func(*Config)) (*Recordings, *site) {
	t.Helper()
	s := &site{feed: streams.NewFeed(streams.FeedConfig{Ring: time.Minute})}
	db := yardtest.OpenDB(t, t.TempDir())
	reg := yardtest.OpenRegistry(t, db)
	cam.ID, cam.Site, cam.Name, cam.URL = "cam", "k", "Cam", "rtsp://127.0.0.1/cam"
	list := []devices.Thing{&devices.Site{ID: "k", Name: "K", SiteKind: "kitchen"}, &devices.Outlet{ID: "stove", Site: "k", Name: "S", OutletKind: "other"}}
	yardtest.Register(t, reg, append(list, &cam)...)
	cfg := Config{
		Dir: t.TempDir(), Registry: reg, Feeds: s, Notes: s,
		Happened: func(_ context.Context, since time.Time, going []string) ([]Happening, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return slices.DeleteFunc(slices.Clone(s.events), func(h Happening) bool { return h.From.Before(since) && !slices.Contains(going, h.Event) }), nil
		},
		Reasons: func(context.Context, string, time.Time, time.Time) ([]Reason, error) { return s.reasons, nil },
		Deleted: func(d Deletion) { s.set(func() { s.deleted = append(s.deleted, d) }) },
		Notice:  func(p *devices.Problem) { s.set(func() { s.notice = p }) },
		Used: func() (float64, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.used, nil
		},
		Supervise: func(ctx context.Context, _ string, task func(context.Context) error) error { return task(ctx) },
	}
	if change != nil {
		change(&cfg)
	}
	r, err := Open(t.Context(), db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r, s
}

// run runs the room while the test does something.
func run(t *testing.T, r *Recordings, do func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	do()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

const every = 200 * time.Millisecond // between two pictures; a key frame each second

// film shows pictures until length has passed.
func film(t *testing.T, feed *streams.Feed, length time.Duration) {
	t.Helper()
	data, err := os.ReadFile("../../streams/rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	units := streams.CutUnits(streams.H264, streams.SplitAnnexB(data))
	began := time.Now()
	for i := 0; time.Since(began) < length; i++ {
		f, err := a.Frame(units[i%len(units)], time.Duration(time.Now().UnixMilli())*time.Millisecond, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		f.At = time.Now()
		feed.Publish(f)
		time.Sleep(every)
	}
}

// told writes stretches and gaps in seconds since zero.
func told(tl Timeline, zero time.Time) []string {
	var out []string
	at := func(x time.Time) int64 { return int64(x.Sub(zero).Round(time.Second) / time.Second) }
	for _, s := range tl.Recorded {
		out = append(out, fmt.Sprintf("%d-%d", at(s.From), at(s.To)))
	}
	for _, g := range tl.Gaps {
		out = append(out, fmt.Sprintf("%d-%d %s", at(g.From), at(g.To), g.Why.Code))
	}
	return out
}

func timeline(t *testing.T, r *Recordings, from, to time.Time) Timeline {
	t.Helper()
	tl, err := r.Timeline(t.Context(), "cam", from, to)
	if err != nil {
		t.Fatal(err)
	}
	return tl
}

func TestEventsAreRecordedFromBeforeToAfterThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordEvents, Outlets: []string{"stove"}}, nil)
		s.feed.Connected()
		zero := time.Now()
		run(t, r, func() {
			film(t, s.feed, 60*time.Second)
			if !s.feed.Wanted() {
				t.Error("the camera is not pulled before the event")
			}
			s.set(func() { s.events = []Happening{{Event: "e1", Outlet: "stove", From: zero.Add(58 * time.Second)}} })
			film(t, s.feed, 100*time.Second)
			s.set(func() { s.events[0].To = zero.Add(150 * time.Second) })
			film(t, s.feed, 100*time.Second)
		})
		tl := timeline(t, r, zero, zero.Add(250*time.Second))
		want := []string{"28-210", "0-28 recording_no_event", "210-250 recording_no_event"}
		if diff := cmp.Diff(want, told(tl, zero)); diff != "" {
			t.Error(diff)
		}
		if len(tl.Marks) != 1 || tl.Marks[0].Event != "e1" || !tl.Marks[0].From.Equal(zero.Add(58*time.Second)) {
			t.Errorf("%+v", tl.Marks)
		}
	})
}

// TestMarksStandInOrder hears of events as a restart does, in no order.
func TestMarksStandInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordEvents, Outlets: []string{"stove"}}, nil)
		zero := time.Now()
		run(t, r, func() {
			s.set(func() {
				for _, name := range []string{"e3", "e1", "e4", "e2"} {
					at := zero.Add(time.Duration(name[1]-'0') * 10 * time.Second)
					s.events = append(s.events, Happening{Event: name, Outlet: "stove", From: at, To: at.Add(time.Second)})
				}
			})
			film(t, s.feed, 100*time.Second)
		})
		var got []string
		for _, m := range timeline(t, r, zero, zero.Add(time.Minute)).Marks {
			got = append(got, m.Event)
		}
		if diff := cmp.Diff([]string{"e1", "e2", "e3", "e4"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// TestACameraThatSeesMotionIsRecorded has a camera without an outlet find something
// by itself; what happens so often must not be kept from being deleted.
func TestACameraThatSeesMotionIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordEvents}, nil)
		s.feed.Connected()
		zero := time.Now()
		run(t, r, func() {
			film(t, s.feed, 60*time.Second)
			s.set(func() {
				s.events = []Happening{{Event: "m", Camera: "cam", Often: true, From: zero.Add(58 * time.Second), To: zero.Add(59 * time.Second)}}
			})
			film(t, s.feed, 100*time.Second)
		})
		if got := told(timeline(t, r, zero, zero.Add(150*time.Second)), zero); len(got) == 0 || got[0] != "28-119" {
			t.Errorf("recorded %v", got)
		}
		if r.kept("cam", zero, zero.Add(time.Hour)) {
			t.Error("motion keeps its recording")
		}
	})
}

func TestGapsBearTheirReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		zero := time.Now()
		lost := &devices.Problem{Code: "camera_silent"}
		run(t, r, func() {
			s.feed.Connected()
			film(t, s.feed, 20*time.Second)
			s.feed.Disconnected(lost)
			time.Sleep(30 * time.Second)
			s.feed.Connected()
			film(t, s.feed, 20*time.Second)
		})
		s.reasons = []Reason{{zero.Add(20 * time.Second), zero.Add(50 * time.Second), lost}, {zero.Add(48 * time.Second), zero.Add(51 * time.Second), &devices.Problem{Code: "other"}}}
		tl := timeline(t, r, zero.Add(-10*time.Second), zero.Add(time.Hour))
		want := []string{"0-20", "50-70", "-10-0 recording_off", "20-50 camera_silent"}
		if diff := cmp.Diff(want, told(tl, zero)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestADiskThatFillsStopsRecordingAndLetsItGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		s.feed.Connected()
		zero := time.Now()
		run(t, r, func() {
			film(t, s.feed, 20*time.Second)
			s.set(func() { s.used = 0.91 })
			film(t, s.feed, 20*time.Second)
			if s.code() != "recording_stopped" || s.feed.Wanted() {
				t.Errorf("notice %q, wanted %v", s.code(), s.feed.Wanted())
			}
			s.set(func() { s.used = 0.89 })
			film(t, s.feed, 20*time.Second)
			if s.code() != "recording_stopped" {
				t.Errorf("notice %q", s.code())
			}
			s.set(func() { s.used = 0.5 })
			film(t, s.feed, 20*time.Second)
			if !s.feed.Wanted() {
				t.Error("recording does not go on")
			}
		})
		if !slices.Contains(s.missed, "recording/cam recording_stopped") {
			t.Errorf("%q", s.missed)
		}
		if tl := timeline(t, r, zero, zero.Add(80*time.Second)); len(tl.Recorded) == 0 {
			t.Errorf("%+v", tl)
		}
	})
}

// A start on a full disk records nothing, and what it tells of that is not ended by
// a recorder that was about to begin.
func TestADiskThatIsFullAtTheStartIsToldUntilItHasRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		s.feed.Connected()
		s.used = 0.91
		run(t, r, func() {
			film(t, s.feed, 10*time.Second)
			r.begin("cam")
			if len(s.missed) != 1 || len(s.over) > 0 || s.feed.Wanted() || r.Usage()["cam"].Bytes > 0 {
				t.Errorf("missed %q, over %q, wanted %v, usage %v", s.missed, s.over, s.feed.Wanted(), r.Usage())
			}
			s.set(func() { s.used = 0.5 })
			film(t, s.feed, 10*time.Second)
			if !slices.Contains(s.over, "recording/cam") || !s.feed.Wanted() {
				t.Errorf("over %q, wanted %v", s.over, s.feed.Wanted())
			}
		})
	})
}

// lay puts a segment of a minute and a thousand bytes where a camera's
// recordings are, for each of these times.
func lay(t *testing.T, r *Recordings, times ...time.Time) {
	t.Helper()
	for _, at := range times {
		at = at.UTC()
		dir := filepath.Join(r.cfg.Dir, "cam", at.Format("20060102"))
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, at.Format("150405.000")+"_60000_1000.mp4"), make([]byte, 1000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatGoesAndWhatStays(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		name   string
		cam    devices.Camera
		change func(*Config)
		used   float64
		ages   []time.Duration // of segments
		held   time.Duration   // age of what is held; 0: nothing is
		want   []time.Duration
		told   string // code and number of what went early
	}{
		{name: "a kitchen's days", ages: []time.Duration{16 * day, 15*day + time.Hour, 14 * day}, want: []time.Duration{14 * day}},
		{name: "days of its own", cam: devices.Camera{RecordDays: 3}, ages: []time.Duration{4 * day, 2 * day}, want: []time.Duration{2 * day}},
		{name: "what is held stays", ages: []time.Duration{40 * day, 20 * day, day}, held: 40 * day, want: []time.Duration{40 * day, day}},
		{
			name: "bound of the camera", change: func(c *Config) { c.PerCamera = 2500 }, ages: []time.Duration{4 * day, 3 * day, 2 * day, day}, held: 4 * day,
			want: []time.Duration{4 * day, day}, told: "recording_deleted_camera 1 recording_deleted_camera 1", // what lies between the two was never there
		},
		{name: "bound of all", change: func(c *Config) { c.Total = 1000 }, ages: []time.Duration{2 * day, day}, want: []time.Duration{day}, told: "recording_deleted_total 1"},
		{name: "disk", used: 0.86, ages: []time.Duration{3 * day, 2 * day, time.Hour}, want: []time.Duration{2 * day, time.Hour}, told: "recording_deleted_disk 1"},
		{name: "disk, newest alone", used: 0.86, ages: []time.Duration{time.Hour}, want: []time.Duration{time.Hour}},
		{name: "disk too full", used: 0.92, ages: []time.Duration{time.Hour}, told: "recording_deleted_disk 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, s := open(t, tt.cam, tt.change)
			now := time.Now().UTC().Truncate(time.Second)
			for _, age := range tt.ages {
				lay(t, r, now.Add(-age))
			}
			if tt.held > 0 {
				at := now.Add(-tt.held)
				if err := r.put(t.Context(), "cam", hold{holdEvent, "e", at, at.Add(time.Second), now.Add(day)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.archive.Load(); err != nil {
				t.Fatal(err)
			}
			if err := r.tidy(t.Context(), now, tt.used); err != nil {
				t.Fatal(err)
			}
			list, err := r.archive.Segments("cam", now.Add(-100*day), now)
			if err != nil {
				t.Fatal(err)
			}
			var left []time.Duration
			for _, seg := range list {
				left = append(left, now.Sub(seg.From))
			}
			if diff := cmp.Diff(tt.want, left); diff != "" {
				t.Error(diff)
			}
			early := ""
			for _, d := range s.deleted {
				early = strings.TrimSpace(fmt.Sprintf("%s %s %d", early, d.Why.Code, d.Segments))
			}
			if early != tt.told {
				t.Errorf("told %q, want %q", early, tt.told)
			}
		})
	}
}

// export takes a clip out, in a transaction whose trail gives that error.
func export(t *testing.T, r *Recordings, from, to time.Time, trail error) (*Taken, error) {
	t.Helper()
	e, err := r.Take(t.Context(), "cam", from, to)
	if err != nil {
		return nil, err
	}
	err = r.db.Update(t.Context(), func(tx *sql.Tx) error { return errors.Join(e.Hold(t.Context(), tx), trail) })
	if err == nil {
		e.Held()
	}
	return e, err
}

func TestExportIsHashedHeldAndWrittenIntoTheTrail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		s.feed.Connected()
		zero := time.Now()
		run(t, r, func() { film(t, s.feed, 20*time.Second) })
		refuse := errors.New("no trail")
		_, err := export(t, r, zero, zero.Add(15*time.Second), refuse)
		if !errors.Is(err, refuse) || len(r.held("cam", zero, zero.Add(time.Hour))) > 0 {
			t.Fatalf("held without a trail: %v", err)
		}
		e, err := export(t, r, zero, zero.Add(15*time.Second), nil)
		if err != nil || len(e.SHA256) != 64 || len(r.held("cam", zero, zero.Add(time.Hour))) != 1 {
			t.Fatalf("%+v %v", e, err)
		}
		again, err := r.Clip(t.Context(), "cam", zero, zero.Add(15*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		sum, err := again.SHA256(t.Context())
		if err != nil || sum != e.SHA256 {
			t.Errorf("%s is not %s: %v", sum, e.SHA256, err)
		}
		if err := r.openHolds(t.Context()); err != nil { // as a start does
			t.Fatal(err)
		}
		taken, err := r.Exported(t.Context(), e.SHA256)
		if err != nil || taken.Tag != e.Tag {
			t.Errorf("taken out again: %v", err)
		}
		if _, err := r.Exported(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, devices.ErrNotFound) {
			t.Errorf("what was never exported: %v", err)
		}
		in := again.Open()
		defer in.Close()
		var b strings.Builder
		if n, err := io.Copy(&b, in); err != nil || n != e.Size {
			t.Error(n, err)
		}
	})
}

// TestAnExportOfWhatIsNotOverStaysTheSame has more recorded of an interval after it
// was exported.
func TestAnExportOfWhatIsNotOverStaysTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		s.feed.Connected()
		zero := time.Now()
		run(t, r, func() {
			film(t, s.feed, 20*time.Second+100*time.Millisecond)
			e, err := export(t, r, zero.Add(5*time.Second), zero.Add(time.Hour), nil)
			if err != nil {
				t.Fatal(err)
			}
			film(t, s.feed, 70*time.Second)
			again, err := r.Clip(t.Context(), "cam", e.From, e.To)
			if err != nil {
				t.Fatal(err)
			}
			if sum, err := again.SHA256(t.Context()); err != nil || sum != e.SHA256 {
				t.Errorf("%s to %s of %d bytes became %s to %s of %d: %v", e.From, e.To, e.Size, again.From, again.To, again.Size, err)
			}
		})
	})
}
