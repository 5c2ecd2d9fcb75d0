package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// quiet is a client that can do nothing but repeat.
func quiet(tell func(Report)) *Client {
	return &Client{cfg: Config{MaxPause: time.Minute, Log: slog.New(slog.DiscardHandler)}, reports: reports{tell: tell, now: time.Now}}
}

var down = &devices.Problem{Kind: devices.ErrUnavailable, Code: "platform_unreachable", ZH: "不可达", EN: "unreachable"}

func TestRepeatRestsAndPauses(t *testing.T) {
	tests := []struct {
		name    string
		answer  Answer
		rest    time.Duration
		woken   bool          // somebody wakes it all the time
		least   time.Duration // between two tries
		longest time.Duration
	}{
		{"done, rests", Answer{Class: Done}, 30 * time.Second, false, 30 * time.Second, 30 * time.Second},
		{"done, woken", Answer{Class: Done}, time.Hour, true, 0, time.Second},
		{"failed, pauses", Answer{Class: Retry, Problem: down}, 0, false, 1, time.Minute},
		{"failed, is not woken", Answer{Class: Retry, Problem: down, After: 20 * time.Second}, 0, true, 20 * time.Second, time.Minute},
		{"paused, asked to wait", Answer{Class: Pause, Problem: down, After: time.Hour}, 0, false, time.Hour, time.Hour},
		{"refused, pauses", Answer{Class: Refused, Problem: down}, 0, true, 1, time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				wake := make(chan struct{}, 1)
				if tt.woken {
					go func() {
						for ctx.Err() == nil {
							poke(wake)
							select {
							case <-time.After(time.Second):
							case <-ctx.Done():
							}
						}
					}()
				}
				var tries []time.Time
				told := 0
				err := quiet(func(Report) { told++ }).repeat(ctx, PartResources, wake, func(context.Context) (time.Duration, Answer) {
					if tries = append(tries, time.Now()); len(tries) == 10 {
						cancel()
					}
					return tt.rest, tt.answer
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("ended with %v", err)
				}
				for i := 1; i < len(tries); i++ {
					if d := tries[i].Sub(tries[i-1]); d < tt.least || d > tt.longest {
						t.Errorf("try %d came %v after the one before, want %v to %v", i, d, tt.least, tt.longest)
					}
				}
				if told != 1 {
					t.Errorf("told %d times, want one change", told)
				}
			})
		})
	}
}

func TestRepeatTellsNothingOfItsOwnEnd(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var told []Report
	c := quiet(func(r Report) { told = append(told, r) })
	_ = c.repeat(ctx, PartPlatform, nil, func(ctx context.Context) (time.Duration, Answer) {
		cancel()
		return 0, Answer{Class: Retry, Problem: unreachable(ctx.Err())}
	})
	if len(told) != 0 {
		t.Errorf("told %+v", told)
	}
}

func TestQueue(t *testing.T) {
	start := time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	values := map[string]time.Time{"a.x": start, "b.y": start}
	latest := func(points []string) (out []wire.Reading) {
		for _, id := range []string{"a.x", "b.y"} {
			if at := values[id]; points == nil || slices.Contains(points, id) {
				out = append(out, wire.Reading{Point: id, At: wire.At(at)})
			}
		}
		return out
	}
	items := func(list ...wire.SubscriptionItem) wire.Subscription { return wire.Subscription{Items: list} }
	every := func(seconds int, points ...string) wire.SubscriptionItem {
		return wire.SubscriptionItem{Points: points, EverySeconds: seconds}
	}
	q := queue{last: map[string]time.Time{}}
	steps := []struct {
		name string
		at   time.Duration
		sub  wire.Subscription
		move []string // points with a new value
		sent bool     // what waits is sent afterwards
		want []string // waiting
		next time.Duration
	}{
		{"nothing subscribed", 0, items(), nil, true, nil, -1},
		{"all values at first", 0, items(every(10, "*")), nil, true, []string{"a.x", "b.y"}, 10 * time.Second},
		{"not due", 4 * time.Second, items(every(10, "*")), []string{"a.x"}, true, nil, 6 * time.Second},
		{"what is new", 10 * time.Second, items(every(10, "*")), nil, true, []string{"a.x"}, 10 * time.Second},
		{"nothing new", 20 * time.Second, items(every(10, "*")), nil, true, nil, 10 * time.Second},
		{"late, no catching up", 57 * time.Second, items(every(10, "*")), []string{"b.y"}, false, []string{"b.y"}, 10 * time.Second},
		{"what was not sent waits", 67 * time.Second, items(every(10, "*")), []string{"a.x"}, true, []string{"b.y", "a.x"}, 10 * time.Second},
		{"another subscription begins anew", 68 * time.Second, items(every(60, "a.x"), every(5, "b.y")), nil, true, []string{"a.x", "b.y"}, 5 * time.Second},
		{"each item in its time", 73 * time.Second, items(every(60, "a.x"), every(5, "b.y")), []string{"a.x", "b.y"}, true, []string{"b.y"}, 5 * time.Second},
		{"an item without points", 74 * time.Second, items(every(5)), nil, true, nil, 5 * time.Second},
	}
	for i, s := range steps {
		for _, id := range s.move {
			values[id] = start.Add(time.Duration(i) * time.Second)
		}
		now := start.Add(s.at)
		q.collect(s.sub, now, latest)
		var got []string
		for _, r := range q.waiting {
			got = append(got, r.Point)
		}
		if diff := cmp.Diff(s.want, got); diff != "" {
			t.Errorf("%s: %s", s.name, diff)
		}
		if d := q.next(now); d != s.next {
			t.Errorf("%s: next in %v, want %v", s.name, d, s.next)
		}
		if s.sent {
			q.waiting = nil
		} else {
			q.keep()
			if !q.waiting[0].Resent {
				t.Errorf("%s: not marked as resent", s.name)
			}
		}
	}
	q.waiting = make([]wire.Reading, pendingMost+5)
	q.waiting[5].Point = "first that stays"
	if q.keep(); len(q.waiting) != pendingMost || q.waiting[0].Point != "first that stays" {
		t.Errorf("%d wait, first %q", len(q.waiting), q.waiting[0].Point)
	}
}

func TestDirectoryTellsNoAddresses(t *testing.T) {
	made := time.Date(2026, 2, 28, 16, 0, 0, 0, time.UTC)
	life := devices.Meta{Version: 3, Created: made, Updated: made}
	for _, thing := range []devices.Thing{
		&devices.Camera{
			ID: "cam-1", Site: "yard", Name: "大门", URL: "rtsp://10.0.0.7/s", SubURL: "rtsp://10.0.0.7/sub", StillURL: "http://10.0.0.7/still", ONVIF: "http://10.0.0.7/onvif",
			ReplayURL: "rtsp://10.0.0.7/tracks/101?starttime={from:unix}", Username: "admin", Password: "canary-1", Outlets: []string{"gate"}, Meta: life,
		},
		&devices.Device{ID: "plc-1", Site: "yard", Name: "PLC", Driver: "modbus", Endpoint: "modbus://10.0.0.8:502", Username: "admin", Password: "canary-1", Modbus: &devices.ModbusSettings{Unit: 1}, Meta: life},
	} {
		raw, err := DataOf(thing)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		if err := json.Unmarshal(raw, &fields); err != nil {
			t.Fatal(err)
		}
		if fields["id"] != thing.Key() || fields["site"] != "yard" || fields["created_at"] != "2026-03-01T00:00:00.000+08:00" {
			t.Errorf("%s", raw)
		}
		for _, secret := range []string{"10.0.0", "admin", "canary", "redacted"} {
			if strings.Contains(string(raw), secret) {
				t.Errorf("%s tells %q", raw, secret)
			}
		}
	}
}
