package edge

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/edge/intake"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

// keptLog is a log in memory.
type keptLog struct{ recs []timeseries.Record }

func (l *keptLog) Read(after uint64, most int) ([]timeseries.Record, error) {
	rest := l.recs[after:]
	return rest[:min(most, len(rest))], nil
}

func (l *keptLog) Append(d devices.Delivery, done func(error)) {
	l.recs = append(l.recs, timeseries.Record{Seq: uint64(len(l.recs)) + 1, Delivery: d})
	done(nil)
}

// TestAClockThatIsSetLosesNoJudgement reads an instrument without a clock of its own once
// a second, for hours in which the gateway's is set, and judges what was kept.
func TestAClockThatIsSetLosesNoJudgement(t *testing.T) {
	const (
		set      = 20 * time.Minute // after the beginning
		begins   = 25 * time.Minute // the breach
		ends     = 35 * time.Minute
		together = 4 * time.Hour
	)
	for _, tt := range []struct {
		name string
		step time.Duration
	}{
		{"back by an hour", -time.Hour},
		{"back by three seconds", -3 * time.Second},
		{"forward by an hour", time.Hour},
		{"not at all", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log, told := &keptLog{}, []time.Duration(nil)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				wall := func() time.Time {
					now := time.Now()
					if now.Sub(began) >= set {
						return now.Add(tt.step)
					}
					return now
				}
				p := intake.New(intake.Config{
					Tolerance: time.Minute, Point: func(string) *devices.Point { return nil },
					Warn: func(string, time.Time, int64, *devices.Problem) {}, Refresh: func([]devices.Reading) {},
				})
				p.Open(log)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				clock := intake.NewClock(func() (time.Time, time.Duration) { return wall(), time.Since(began) })
				go func() { _ = p.Watch(ctx, clock, func(step time.Duration) { told = append(told, step) }) }()
				for passed := time.Duration(0); passed < together; passed += time.Second {
					second(p, wall(), passed >= begins && passed < ends)
				}
				if last := log.recs[len(log.recs)-1].Readings[0].At; wall().Sub(last) > 2*time.Second || last.After(wall()) {
					t.Errorf("at the end the newest reading is of %v at %v", last, wall())
				}
			})
			for i := range log.recs[1:] {
				if !log.recs[i+1].Readings[0].At.After(log.recs[i].Readings[0].At) {
					t.Fatalf("reading %d is not newer than the one before", i+1)
				}
			}
			if want := tt.step != 0; len(told) != 1 && want || want && told[0] != tt.step {
				t.Errorf("told %v", told)
			}
			judgesOneAlarm(t, log.recs)
		})
	}
}

// second has a reading received, high in a breach, and lets a second of the bubble pass.
func second(p *intake.Pipeline, received time.Time, breach bool) {
	v := 50.0
	if breach {
		v = 150
	}
	p.Accept(devices.Delivery{Received: received, Readings: []devices.Reading{{Site: "plant", Point: judged, Value: v, At: received, Stamped: true}}}, func(error) {})
	time.Sleep(time.Second)
	synctest.Wait()
}

// judgesOneAlarm judges the log by a limit that must be breached for a minute.
func judgesOneAlarm(t *testing.T, recs []timeseries.Record) {
	t.Helper()
	c := newCourt(t, recs)
	limit := yardtest.HighLimit("high", judged, 100)
	limit.OnDelay = devices.Duration(time.Minute)
	yardtest.Register(t, c.registry, limit)
	c.run()
	if got := strings.Join(c.standing().Audit, " "); got != "event.opened event.closed" {
		t.Errorf("judged: %q, want one alarm with its end", got)
	}
}

// TestARestartWhileReceiptsLeadLosesNoJudgement sets the clock back by an hour, begins
// anew, once or twice, before the times of receipt are together with it again, and judges
// a breach of ten minutes after that.
func TestARestartWhileReceiptsLeadLosesNoJudgement(t *testing.T) {
	const (
		set    = 20 * time.Minute // after the beginning
		step   = -time.Hour
		begins = 40 * time.Minute // the breach
		ends   = 50 * time.Minute
	)
	for _, tt := range []struct {
		name  string
		after []time.Duration // the beginning, the gateway begins anew
		known func(logged, noted time.Time) time.Time
	}{
		{"by what the log holds", []time.Duration{30 * time.Minute}, func(logged, _ time.Time) time.Time { return logged }},
		{"by what was noted last", []time.Duration{30 * time.Minute}, func(_, noted time.Time) time.Time { return noted }},
		{"while it was away the clock was set", []time.Duration{set}, func(logged, _ time.Time) time.Time { return logged }},
		{"in the middle of the breach", []time.Duration{45 * time.Minute}, func(logged, _ time.Time) time.Time { return logged }},
		{"twice", []time.Duration{30 * time.Minute, 44 * time.Minute}, func(logged, _ time.Time) time.Time { return logged }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			log := &keptLog{}
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				wall := func() time.Time {
					now := time.Now()
					if now.Sub(began) >= set {
						return now.Add(step)
					}
					return now
				}
				begin := func(noted time.Time) (p *intake.Pipeline, end func()) {
					p = intake.New(intake.Config{Tolerance: time.Minute, Point: func(string) *devices.Point { return nil }, Warn: func(string, time.Time, int64, *devices.Problem) {}})
					_, logged, err := p.TakeUp(log, uint64(len(log.recs)))
					if err != nil {
						t.Fatal(err)
					}
					p.GoOn(tt.known(logged, noted), wall())
					p.Open(log)
					ctx, cancel := context.WithCancel(t.Context())
					clock := intake.NewClock(func() (time.Time, time.Duration) { return wall(), time.Since(began) })
					go func() { _ = p.Watch(ctx, clock, func(time.Duration) {}) }()
					synctest.Wait()
					return p, cancel
				}
				p, end := begin(time.Time{})
				for passed := time.Duration(0); passed < time.Hour; passed += time.Second {
					if slices.Contains(tt.after, passed) {
						end()
						p, end = begin(p.Stamp(wall().Add(-10 * time.Second))) // it is noted that often
					}
					second(p, wall(), passed >= begins && passed < ends)
				}
				end()
			})
			first, last := time.Time{}, time.Time{}
			for i, rec := range log.recs {
				if i > 0 && !rec.Readings[0].At.After(log.recs[i-1].Readings[0].At) {
					t.Fatalf("reading %d is not newer than the one before", i)
				}
				if last = rec.Readings[0].At; rec.Readings[0].Value > 100 && first.IsZero() {
					first = last
				}
			}
			if lasts := last.Sub(first); lasts < (time.Hour-begins)/2-15*time.Second {
				t.Errorf("by the readings %v passed, in truth %v", lasts, time.Hour-begins)
			}
			judgesOneAlarm(t, log.recs)
		})
	}
}

func TestAStepOfTheClockIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		step time.Duration
		code string
		word string
	}{{time.Hour, "clock_set_forward", "1h0m0s"}, {-3 * time.Second, "clock_set_back", "3s"}} {
		t.Run(tt.code, func(t *testing.T) {
			b := idleLookout(t).Box
			b.clockStepped(t.Context(), tt.step, time.Now())
			if p := b.notices.Why(notice.Clock); p == nil || p.Code != tt.code || !strings.Contains(p.ZH, tt.word) || !strings.Contains(p.EN, tt.word) {
				t.Errorf("notice %+v", p)
			}
			rows, err := b.Audit.List(t.Context(), 0, 1)
			if err != nil || len(rows) != 1 || rows[0].Act != "clock.step" || rows[0].Detail != tt.step.String() {
				t.Errorf("the trail: %+v, %v", rows, err)
			}
			beside(t, b.clerk.Run)
			eventually(t, "no row of it", func() bool {
				list, err := b.Ledger.Losses(t.Context(), ledger.Filter{Max: 1})
				return err == nil && len(list) == 1 && list[0].Kind == ledger.LossClock && list[0].Subject == ledger.Gateway && list[0].To.Sub(list[0].From) == tt.step.Abs()
			})
		})
	}
}

// TestADiskThatFillsUpIsToldInTime fills it and gives room back.
func TestADiskThatFillsUpIsToldInTime(t *testing.T) {
	b := idleLookout(t).Box
	for _, step := range []struct {
		used float64
		told string // in the notice
	}{{0.79, ""}, {0.80, "80%"}, {0.91, "91%"}, {0.79, "91%"}, {0.77, ""}} {
		b.lookAtDisk(step.used, nil)
		if p := b.notices.Why(notice.Disk); (p != nil) != (step.told != "") || p != nil && (!strings.Contains(p.ZH, step.told) || !strings.Contains(p.EN, step.told)) {
			t.Errorf("%.0f %% in use: %+v", 100*step.used, p)
		}
	}
}

// TestARestoredStateIsTold spoils the database behind a backup, starts, and starts once
// more.
func TestARestoredStateIsTold(t *testing.T) {
	for _, tt := range []struct {
		name   string
		spoil  func(database string) error
		zh, en string // of the notice
	}{
		{"damaged", func(database string) error { return os.Truncate(database, 5000) }, "damaged-", "was damaged"},
		{"gone", os.Remove, "丢失", "was gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Defaults()
			cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = t.TempDir(), "127.0.0.1:0", "none"
			open := func() *Box {
				t.Helper()
				b, err := Open(t.Context(), cfg, Parts{})
				if err != nil {
					t.Fatal(err)
				}
				return b
			}
			end := func(b *Box) {
				t.Helper()
				if err := b.Close(); err != nil {
					t.Fatal(err)
				}
			}
			b := open()
			yardtest.Register(t, b.Registry, yardtest.Yard()...)
			if err := b.DB.Backup(t.Context()); err != nil {
				t.Fatal(err)
			}
			yardtest.Register(t, b.Registry, &devices.Outlet{ID: "later", Site: "plant", Name: "后来", OutletKind: "other"})
			end(b)
			if err := tt.spoil(filepath.Join(cfg.State, "offsite.db")); err != nil {
				t.Fatal(err)
			}
			b = open()
			if s := b.Registry.Snapshot(); s.Sites["plant"] == nil || s.Outlets["later"] != nil {
				t.Errorf("restored: %v, %v", s.Sites, s.Outlets)
			}
			if p := b.notices.Why(notice.State); p == nil || p.Code != "state_restored" || !strings.Contains(p.ZH, tt.zh) || !strings.Contains(p.EN, tt.en) || !strings.Contains(p.EN, "tokens") {
				t.Errorf("notice %+v", p)
			}
			if rows, err := b.Audit.List(t.Context(), 0, 1); err != nil || len(rows) != 1 || rows[0].Act != "state.restored" {
				t.Errorf("the trail: %+v, %v", rows, err)
			}
			if list, err := b.Ledger.Losses(t.Context(), ledger.Filter{Max: 1}); err != nil || len(list) != 1 || list[0].Kind != ledger.LossState || !list[0].To.After(list[0].From) {
				t.Errorf("losses: %+v, %v", list, err)
			}
			end(b)
			b = open()
			defer end(b)
			if p := b.notices.Why(notice.State); p != nil {
				t.Errorf("the start after that: %+v", p)
			}
		})
	}
}

// TestAStateThatIsGoneBeginsNoNewLife takes the database and its backup from a gateway
// that has run.
func TestAStateThatIsGoneBeginsNoNewLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := startBox(t, dir, nil)
	b.stop()
	left, err := filepath.Glob(filepath.Join(dir, "offsite.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = dir, "127.0.0.1:0", "none"
	_, err = Open(t.Context(), cfg, Parts{})
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != "state_lost" || !strings.Contains(p.ZH, "readings") || !strings.Contains(p.EN, "readings") {
		t.Errorf("got %v", err)
	}
}
