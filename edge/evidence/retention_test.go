package evidence

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams"
)

// court tells what of its events may be deleted, and notes what was.
type court struct {
	ended   map[string]time.Time // zero: it goes on; absent: nobody knows it
	noticed map[string]bool
	unsent  map[string]bool
	told    []Deletion
	fails   error
}

func (c *court) Over(_ context.Context, event string) (time.Time, bool, error) {
	at, known := c.ended[event]
	if !known {
		return at, false, devices.ErrNotFound
	}
	return at, c.noticed[event], nil
}

func (c *court) Unsent(context.Context) (map[string]bool, error) { return c.unsent, nil }

func (c *court) Deleted(_ context.Context, _ *sql.Tx, d Deletion) error {
	if c.fails == nil {
		c.told = append(c.told, d)
	}
	return c.fails
}

// sums are what was told, without the times.
func (c *court) sums() (list []string) {
	for _, d := range c.told {
		list = append(list, fmt.Sprintf("%s %d events %d files", d.Why, d.Events, d.Files))
	}
	return list
}

// retain deletes what is over for a span of time, or until it fails.
func (b *bench) retain(span time.Duration, r Retention) error {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), span)
	defer cancel()
	return b.c.Retain(ctx, r)
}

// files gives how many files the vault holds, and sees to it that each one is there that an
// event still has.
func (b *bench) files(events ...string) int {
	b.t.Helper()
	for _, event := range events {
		r, err := b.c.Of(b.t.Context(), event)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, it := range r.Items {
			if it.State == Attached && it.DeletedAt.IsZero() {
				b.read(it.SHA256)
			}
		}
		if r.Manifest != "" {
			b.read(r.Manifest)
		}
	}
	list, err := os.ReadDir(b.dir + "/evidence")
	if err != nil {
		b.t.Fatal(err)
	}
	return len(list)
}

// filed has the evidence of an event taken: a still of its own, a clip and a manifest.
func (b *bench) filed(event string) {
	b.t.Helper()
	var clips []string
	b.expect(event, time.Now(), "a")
	b.see(time.Minute, lenses{clip: films(&clips), moment: func(string, time.Time) (streams.Still, error) {
		return streams.Still{JPEG: []byte("\xff\xd8\xff" + event), At: time.Now()}, nil
	}})
}

const day = 24 * time.Hour

func TestWhatIsDeleted(t *testing.T) {
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	over := map[string]time.Time{"al-1": began.Add(time.Hour)}
	quiet := func() (float64, error) { return 0.5, nil }
	tests := []struct {
		name  string
		court court
		keep  time.Duration
		after time.Duration
		used  func() (float64, error)
		hold  bool
		want  []string // what the trail is told
		left  string   // of the event's pieces
	}{
		{"within its time", court{ended: over}, 200 * day, 199 * day, quiet, false, nil, "still clip"},
		{"over", court{ended: over}, 200 * day, 201 * day, quiet, false, []string{"age 1 events 2 files"}, ""},
		{"of an event that nobody knows", court{}, 200 * day, 201 * day, quiet, false, []string{"age 1 events 2 files"}, ""},
		{"for ever", court{ended: over}, 0, 9000 * day, quiet, false, nil, "still clip"},
		{"it goes on", court{ended: map[string]time.Time{"al-1": {}}}, 200 * day, 999 * day, quiet, false, nil, "still clip"},
		{"it ended late", court{ended: map[string]time.Time{"al-1": began.Add(900 * day)}}, 200 * day, 999 * day, quiet, false, nil, "still clip"},
		{"the platform has not got it", court{ended: over, unsent: map[string]bool{"al-1": true}}, 200 * day, 999 * day, quiet, false, nil, "still clip"},
		{"somebody holds it", court{ended: over}, 200 * day, 999 * day, quiet, true, nil, "still clip"},
		{"a disk that is nearly full", court{ended: over, noticed: map[string]bool{"al-1": true}}, 0, 8 * day, func() func() (float64, error) {
			used := 0.95
			return func() (float64, error) { used -= 0.02 / 61; return used, nil } // below 0.93 after the first part
		}(), false, []string{"disk 1 events 1 files"}, "still"},
		{"a disk that is full", court{ended: over, noticed: map[string]bool{"al-1": true}}, 0, 8 * day, func() (float64, error) { return 0.99, nil }, false, []string{"disk 1 events 1 files", "disk 1 events 1 files"}, ""},
		{"a full disk, and nobody has looked at it yet", court{ended: over}, 0, 8 * day, func() (float64, error) { return 0.99, nil }, false, nil, "still clip"},
		{"a full disk, and it is of this week", court{ended: over, noticed: map[string]bool{"al-1": true}}, 0, 6 * day, func() (float64, error) { return 0.99, nil }, false, nil, "still clip"},
		{"a full disk, and it is held", court{ended: over, noticed: map[string]bool{"al-1": true}}, 0, 8 * day, func() (float64, error) { return 0.99, nil }, true, nil, "still clip"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with(t, Config{Moments: []time.Duration{0}}, func(t *testing.T, b *bench) {
				b.filed("al-1")
				if tt.hold {
					b.change(func(tx *sql.Tx) error { return b.c.Hold(t.Context(), tx, "al-1", Hold{By: "li", Reason: "诉讼"}) })
				}
				time.Sleep(tt.after)
				if err := b.retain(2*time.Hour, Retention{Keep: tt.keep, Events: &tt.court, Used: tt.used}); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, tt.court.sums()); diff != "" {
					t.Error(diff)
				}
				r, err := b.c.Of(t.Context(), "al-1")
				if err != nil || r.Manifest == "" || len(r.Items) != 2 {
					t.Fatalf("%+v, %v", r, err)
				}
				var left []string
				for _, it := range r.Items {
					f, err := b.c.ByHash(t.Context(), it.SHA256)
					gone := ""
					if f.Deleted != nil {
						gone = f.Deleted.Code
					}
					switch {
					case err != nil || len(f.Events) != 1:
						t.Errorf("%+v, %v", f, err)
					case gone == "" && it.DeletedAt.IsZero():
						left = append(left, it.Kind)
					case !strings.HasPrefix(gone, "evidence_deleted") || code(it.Problem) != gone || !strings.Contains(it.Problem.EN, it.DeletedAt.In(devices.Beijing).Format("2006-01-02")):
						t.Errorf("%+v: %v", it, f.Deleted)
					}
				}
				if got := strings.Join(left, " "); got != tt.left {
					t.Errorf("left %q, want %q", got, tt.left)
				}
				if n := b.files("al-1"); n != len(left)+1 {
					t.Errorf("%d files, want %d and the manifest", n, len(left))
				}
			})
		})
	}
}

func (b *bench) change(do func(tx *sql.Tx) error) {
	b.t.Helper()
	if err := b.db.Update(b.t.Context(), do); err != nil {
		b.t.Fatal(err)
	}
}

// TestFilesOfNoEvent keeps what the platform asked for, for its hours, and on a full disk for
// one.
func TestFilesOfNoEvent(t *testing.T) {
	tests := []struct {
		name string
		used float64
		want []int // files after each of three steps of two hours
	}{
		{"a disk with room", 0.5, []int{4, 4, 2}},
		{"a disk that fills", 0.8, []int{2, 2, 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with(t, Config{Moments: []time.Duration{0}, After: -1}, func(t *testing.T, b *bench) {
				b.filed("al-1") // a still and its manifest
				var c court
				for _, text := range []string{"a snapshot", "another"} {
					if _, err := b.vault.Put([]byte(text)); err != nil {
						t.Fatal(err)
					}
				}
				var got []int
				for range tt.want {
					_ = b.retain(2*time.Hour, Retention{Loose: 5 * time.Hour, Events: &c, Used: func() (float64, error) { return tt.used, nil }})
					got = append(got, b.files("al-1"))
				}
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]string{"loose 0 events 2 files"}, c.sums()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestWhatIsPutAgainStays has an event take the very picture that is about to be deleted,
// before and after it is.
func TestWhatIsPutAgainStays(t *testing.T) {
	with(t, Config{Moments: []time.Duration{0}, After: -1}, func(t *testing.T, b *bench) {
		data := []byte("\xff\xd8\xffal-1")
		sha, err := b.vault.Put(data)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(day)
		if _, err := b.vault.Put(data); err != nil { // its row is not committed yet
			t.Fatal(err)
		}
		if removed, err := b.vault.remove(sha, time.Now().Add(-justPut)); removed || err != nil {
			t.Errorf("removed %v: %v", removed, err)
		}
		time.Sleep(day)
		if removed, err := b.vault.remove(sha, time.Now().Add(-justPut)); !removed || err != nil {
			t.Errorf("removed %v: %v", removed, err)
		}
		b.filed("al-1")
		b.files("al-1")

		// Two events of one picture: it stays until both are over.
		b.expect("al-2", time.Now(), "a")
		b.see(time.Minute, lenses{moment: func(string, time.Time) (streams.Still, error) { return streams.Still{JPEG: data, At: time.Now()}, nil }})
		time.Sleep(300 * day)
		c := court{ended: map[string]time.Time{"al-1": time.Now().Add(-300 * day), "al-2": {}}}
		r := Retention{Keep: 200 * day, Events: &c, Used: func() (float64, error) { return 0.5, nil }}
		_ = b.retain(2*time.Hour, r)
		if n := b.files("al-1", "al-2"); n != 3 {
			t.Errorf("%d files", n)
		}
		c.ended["al-2"] = c.ended["al-1"]
		_ = b.retain(2*time.Hour, r)
		if n := b.files("al-1", "al-2"); n != 2 {
			t.Errorf("%d files, want the manifests", n)
		}
	})
}

// TestACrashWhileDeleting ends the process before and after the rows say that files are
// deleted: no row that says that a file is there is ever wrong, and no file stays for ever.
func TestACrashWhileDeleting(t *testing.T) {
	crash := errors.New("killed")
	tests := []struct {
		name    string
		before  bool // the commit
		deleted bool // as the rows say after the crash
	}{
		{"before the commit", true, false},
		{"between the commit and the first file", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			with(t, Config{Moments: []time.Duration{0}}, func(t *testing.T, b *bench) {
				b.filed("al-1")
				b.close()
				ctx, cancel := context.WithCancelCause(t.Context())
				b.cfg.Told = func([]string) { cancel(crash) }
				b.open()
				time.Sleep(201 * day)
				var c court
				if tt.before {
					c.fails = crash
				}
				r := Retention{Keep: 200 * day, Events: &c, Used: func() (float64, error) { return 0.5, nil }}
				if err := b.c.Retain(ctx, r); !errors.Is(err, crash) && !errors.Is(err, context.Canceled) {
					t.Fatal(err)
				}
				b.close()
				b.open()
				if n := b.files("al-1"); n != 3 {
					t.Errorf("%d files after the crash", n)
				}
				got, err := b.c.Of(t.Context(), "al-1")
				if err != nil || slices.ContainsFunc(got.Items, func(it Item) bool { return it.DeletedAt.IsZero() == tt.deleted }) {
					t.Errorf("%+v, %v", got, err)
				}
				c.fails = nil
				_ = b.retain(2*time.Hour, r)
				if n := b.files("al-1"); n != 1 {
					t.Errorf("%d files at last", n)
				}
			})
		})
	}
}

// TestAClockThatJumpsDeletesNothing has a wall clock that is ten days ahead of the time that
// has passed: everything seems old.
func TestAClockThatJumpsDeletesNothing(t *testing.T) {
	with(t, Config{Moments: []time.Duration{0}}, func(t *testing.T, b *bench) {
		b.filed("al-1")
		time.Sleep(195 * day)
		r := Retention{Keep: 200 * day, Events: &court{}, Used: func() (float64, error) { return 0.5, nil }}
		r.setDefaults()
		s := &sweeper{Collector: b.c, Retention: r, began: time.Now().Add(-2 * steady)}
		jumped := time.Now().Round(0).Add(10 * day)
		if err := s.sweep(t.Context(), jumped); err != nil {
			t.Fatal(err)
		}
		if n := b.files("al-1"); n != 3 {
			t.Errorf("%d files", n)
		}
		time.Sleep(10 * day)
		if err := s.sweep(t.Context(), time.Now()); err != nil { // they have passed now
			t.Fatal(err)
		}
		if n := b.files("al-1"); n != 1 {
			t.Errorf("%d files", n)
		}
	})
}

func TestHolds(t *testing.T) {
	bubble(t, func(t *testing.T, b *bench) {
		held := func() string {
			h, err := b.c.Held(t.Context(), "al-1")
			if err != nil {
				t.Fatal(err)
			}
			if h == nil {
				return ""
			}
			return h.By + " " + h.Reason + " " + h.At.Format(time.DateOnly)
		}
		steps := []struct {
			name string
			do   func(tx *sql.Tx) error
			want string
			code string
		}{
			{"nobody", func(*sql.Tx) error { return nil }, "", ""},
			{"nothing to release", func(tx *sql.Tx) error { return b.c.Release(t.Context(), tx, "al-1") }, "", "not_held"},
			{"without a reason", func(tx *sql.Tx) error { return b.c.Hold(t.Context(), tx, "al-1", Hold{By: "li", Reason: " "}) }, "", "missing"},
			{"held", func(tx *sql.Tx) error { return b.c.Hold(t.Context(), tx, "al-1", Hold{By: "li", Reason: "诉讼"}) }, "li 诉讼 2000-01-01", ""},
			{"held again", func(tx *sql.Tx) error { return b.c.Hold(t.Context(), tx, "al-1", Hold{By: "wang", Reason: "复议"}) }, "wang 复议 2000-01-01", ""},
			{"released", func(tx *sql.Tx) error { return b.c.Release(t.Context(), tx, "al-1") }, "", ""},
		}
		for _, step := range steps {
			if err := b.db.Update(t.Context(), step.do); code(err) != step.code {
				t.Errorf("%s: %v", step.name, err)
			}
			if got := held(); got != step.want {
				t.Errorf("%s: %q", step.name, got)
			}
		}
	})
}
