package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
)

// message gives one event message as an outbox holds it.
func message(id string, step wire.EventStep, revision int, evidence wire.Evidence) (key string, body []byte) {
	e := wire.Event{
		Step: step, ID: id, Revision: revision, Kind: wire.EventKindAlarm, USCC: "91320100MA1ABCDE2X", RegionCode: "320104",
		Site: "yard", Outlet: "gate", Point: "gate.pm10", Factor: "a34002", Value: 163.5, Unit: "ug/m3", Averaging: "instant",
		Limit: 150, LimitID: "pm10-h", Level: wire.EventLevelH, RuleVersion: 1, StartedAt: wire.At(time.Now()), Evidence: evidence,
	}
	body, err := json.Marshal(e)
	if err != nil {
		panic(err)
	}
	if step == wire.EventStepEvidence {
		return "gw:" + id + ":evidence", body
	}
	return fmt.Sprintf("gw:%s:%d", id, revision), body
}

func pending() wire.Evidence { return wire.Evidence{State: wire.EvidenceStatePending} }

func blobOf(content []byte) func() (dispatch.Blob, error) {
	return func() (dispatch.Blob, error) {
		return dispatch.Blob{ReadCloser: io.NopCloser(bytes.NewReader(content)), Size: int64(len(content)), MediaType: "image/jpeg"}, nil
	}
}

func TestFaultsOfThePlatform(t *testing.T) {
	tests := []struct {
		fault     platformtest.Fault
		want      dispatch.Class
		after     time.Duration
		committed bool // the message took effect although it was not confirmed
	}{
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 500}, want: dispatch.Retry},
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 503, After: 7 * time.Second}, want: dispatch.Retry, after: 7 * time.Second},
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 429, After: 3 * time.Second}, want: dispatch.Retry, after: 3 * time.Second},
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 401}, want: dispatch.Pause},
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 404}, want: dispatch.Pause},
		{fault: platformtest.Fault{Kind: platformtest.Status, Status: 422}, want: dispatch.Refused},
		{fault: platformtest.Fault{Kind: platformtest.Redirect}, want: dispatch.Pause},
		{fault: platformtest.Fault{Kind: platformtest.Slow, After: 50 * time.Millisecond}, want: dispatch.Done, committed: true},
		{fault: platformtest.Fault{Kind: platformtest.Hang}, want: dispatch.Retry},
		{fault: platformtest.Fault{Kind: platformtest.Reset}, want: dispatch.Retry},
		{fault: platformtest.Fault{Kind: platformtest.Garbage}, want: dispatch.Retry},
		{fault: platformtest.Fault{Kind: platformtest.Half}, want: dispatch.Retry, committed: true},
		{fault: platformtest.Fault{Kind: platformtest.CommitReset}, want: dispatch.Retry, committed: true},
		{fault: platformtest.Fault{Kind: platformtest.CommitGarbage}, want: dispatch.Retry, committed: true},
		{fault: platformtest.Fault{Kind: platformtest.CommitError}, want: dispatch.Retry, committed: true},
		{fault: platformtest.Fault{Kind: platformtest.CommitHang}, want: dispatch.Retry, committed: true},
	}
	for _, conflict := range []bool{false, true} {
		p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1", "code-2"}, Conflict: conflict})
		patient := open(t, t.TempDir(), url, "code-1")
		hasty := open(t, t.TempDir(), url, "code-2", func(c *dispatch.Config) { c.Timeouts = quick })
		for i, tt := range tests {
			g := patient
			if tt.fault.Kind == platformtest.Hang || tt.fault.Kind == platformtest.CommitHang {
				g = hasty
			}
			t.Run(fmt.Sprintf("%s %d, repeated key answered 409 %v", tt.fault.Kind, tt.fault.Status, conflict), func(t *testing.T) {
				id := fmt.Sprintf("ev-%d", i)
				key, body := message(id, wire.EventStepOpened, 1, pending())
				heal := p.Inject(tt.fault)
				a := g.PostEvent(t.Context(), key, body)
				heal()
				if a.Class != tt.want || a.After != tt.after || (a.Class != dispatch.Done) != (a.Problem != nil) {
					t.Errorf("got %+v, want %v after %v", a, tt.want, tt.after)
				}
				if took := effects(p, id) == 1; took != tt.committed {
					t.Errorf("took effect: %v", took)
				}
				for range 2 {
					if err := insist(id, func() dispatch.Answer { return g.PostEvent(t.Context(), key, body) }); err != nil {
						t.Errorf("after the fault: %v", err)
					}
				}
				if n := effects(p, id); n != 1 {
					t.Errorf("took effect %d times", n)
				}
			})
		}
		noViolations(t, p)
	}
}

func effects(p *platformtest.Platform, id string) (n int) {
	for what, times := range p.Effects() {
		if strings.Contains(what, ":"+id+":") {
			n += times
		}
	}
	return n
}

func TestPlatformGoneAndBack(t *testing.T) {
	cfg := platformtest.Config{Codes: []string{"code-1"}, Dir: t.TempDir()}
	_, url, stop := serve(t, cfg)
	g := open(t, t.TempDir(), url, "code-1")
	key, body := message("ev-1", wire.EventStepOpened, 1, pending())
	if a := g.PostEvent(t.Context(), key, body); a.Class != dispatch.Done {
		t.Fatalf("%+v", a)
	}
	stop()
	if a := g.PostEvent(t.Context(), key, body); a.Class != dispatch.Retry || a.Problem.Code != "platform_unreachable" {
		t.Errorf("%+v", a)
	}
	again, err := platformtest.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	serveAt(t, again, strings.TrimPrefix(url, "http://"))
	if a := g.PostEvent(t.Context(), key, body); a.Class != dispatch.Done {
		t.Errorf("%+v", a)
	}
	if n := effects(again, "ev-1"); n != 1 || len(again.Events()) != 1 {
		t.Errorf("took effect %d times", n)
	}
	g.run(t, newSite())
	eventually(t, "presence at the platform that came back", func() bool { return len(again.Heartbeats()) == 1 && len(again.Readings()) == 2 })
	noViolations(t, again)
}

func TestIdleConnectionThatThePlatformClosedCostsNothing(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g := open(t, t.TempDir(), url, "code-1")
	p.Inject(platformtest.Fault{Kind: platformtest.Reset, Times: 1, Route: "postEvent"}) // the first use of the connection that enrolment left idle
	key, body := message("ev-1", wire.EventStepOpened, 1, pending())
	if a := g.PostEvent(t.Context(), key, body); a.Class != dispatch.Done {
		t.Errorf("%+v", a)
	}
	noViolations(t, p)
}

func TestBlobs(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g := open(t, t.TempDir(), url, "code-1")
	sum := hashOf(picture)
	opened := 0
	content := func() (dispatch.Blob, error) { opened++; return blobOf(picture)() }
	if a := g.PutBlob(t.Context(), sum, content); a.Class != dispatch.Done || !bytes.Equal(p.Blob(sum), picture) {
		t.Fatalf("%+v", a)
	}
	if a := g.PutBlob(t.Context(), sum, content); a.Class != dispatch.Done || opened != 2 {
		t.Errorf("again: %+v", a)
	}
	if a := g.PutBlob(t.Context(), strings.Repeat("0", 64), blobOf(picture)); a.Class == dispatch.Done {
		t.Errorf("a damaged file was taken: %+v", a)
	}
	if a := g.PutBlob(t.Context(), sum, func() (dispatch.Blob, error) { return dispatch.Blob{}, io.ErrUnexpectedEOF }); a.Class != dispatch.Refused || a.Problem.Code != "blob_unreadable" {
		t.Errorf("an unreadable file: %+v", a)
	}
}

func TestEvidenceWaitsForItsBlobAndNothingElse(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g := open(t, t.TempDir(), url, "code-1")
	sum := hashOf(picture)
	distance := int64(-120)
	attached := wire.Evidence{State: wire.EvidenceStateAttached, Items: []wire.EvidenceItem{{
		Camera: "cam-1", SHA256: sum, MediaType: "image/jpeg", CapturedAt: wire.At(time.Now()), DistanceMS: &distance,
	}}}
	post := func(step wire.EventStep, revision int, e wire.Evidence) dispatch.Answer {
		key, body := message("ev-1", step, revision, e)
		return g.PostEvent(t.Context(), key, body)
	}
	if a := post(wire.EventStepEvidence, 1, attached); a.Class != dispatch.Retry || a.Status != 425 {
		t.Errorf("evidence before opened: %+v", a)
	}
	if a := post(wire.EventStepClosed, 2, pending()); a.Class != dispatch.Retry {
		t.Errorf("closed before opened: %+v", a)
	}
	if a := post(wire.EventStepOpened, 1, pending()); a.Class != dispatch.Done {
		t.Fatalf("opened: %+v", a)
	}
	if a := post(wire.EventStepEvidence, 1, attached); a.Class != dispatch.Retry || a.Problem.Code != "platform_blob_missing" {
		t.Errorf("evidence before its blob: %+v", a)
	}
	if a := post(wire.EventStepClosed, 2, pending()); a.Class != dispatch.Done {
		t.Errorf("closed: %+v", a)
	}
	if a := g.PutBlob(t.Context(), sum, blobOf(picture)); a.Class != dispatch.Done {
		t.Fatalf("blob: %+v", a)
	}
	if a := post(wire.EventStepEvidence, 1, attached); a.Class != dispatch.Done {
		t.Errorf("evidence: %+v", a)
	}
	if v := p.Violations(); len(v) != 3 {
		t.Errorf("want the three messages that came too early, got %q", v)
	}
}

// TestEffectsAreOnePerKey sends alarms as the outbox does, each in order and
// many at a time, to a platform that fails at random, until all is confirmed.
func TestEffectsAreOnePerKey(t *testing.T) {
	kinds := []platformtest.Fault{
		{Kind: platformtest.Status, Status: 500},
		{Kind: platformtest.Status, Status: 429},
		{Kind: platformtest.Reset},
		{Kind: platformtest.Garbage},
		{Kind: platformtest.Half},
		{Kind: platformtest.CommitReset},
		{Kind: platformtest.CommitReset},
		{Kind: platformtest.CommitGarbage},
		{Kind: platformtest.CommitError},
		{Kind: platformtest.CommitHang},
	}
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Conflict: seed%2 == 1})
			g := open(t, t.TempDir(), url, "code-1", func(c *dispatch.Config) { c.Timeouts = quick })
			for range 60 {
				f := kinds[rng.IntN(len(kinds))]
				f.Times, f.Route = 1+rng.IntN(2), []string{"postEvent", "postEvent", "putBlob"}[rng.IntN(3)]
				p.Inject(f)
			}
			const alarms = 25
			var lanes errgroup.Group
			lanes.SetLimit(6)
			for i := range alarms {
				lanes.Go(func() error {
					return sendAlarm(t.Context(), g, fmt.Sprintf("ev-%d", i), []byte(fmt.Sprintf("picture %d %d", seed, i)))
				})
			}
			if err := lanes.Wait(); err != nil {
				t.Fatal(err)
			}
			got := p.Effects()
			for what, n := range got {
				if n != 1 {
					t.Errorf("%s took effect %d times", what, n)
				}
			}
			if len(got) != alarms*4 || len(p.Blobs()) != alarms {
				t.Errorf("%d effects and %d blobs", len(got), len(p.Blobs()))
			}
			noViolations(t, p)
		})
	}
}

// insist sends until that is confirmed, as an outbox does without its pauses.
func insist(id string, send func() dispatch.Answer) error {
	for range 1000 {
		switch a := send(); a.Class {
		case dispatch.Done:
			return nil
		case dispatch.Retry:
		default:
			return fmt.Errorf("%s: %v %w", id, a.Class, a.Problem)
		}
	}
	return fmt.Errorf("%s: never confirmed", id)
}

// sendAlarm sends opened, updated, closed and evidence, each until confirmed.
func sendAlarm(ctx context.Context, g *gateway, id string, picture []byte) error {
	event := func(step wire.EventStep, revision int, e wire.Evidence) error {
		key, body := message(id, step, revision, e)
		return insist(id, func() dispatch.Answer { return g.PostEvent(ctx, key, body) })
	}
	for i, step := range []wire.EventStep{wire.EventStepOpened, wire.EventStepUpdated, wire.EventStepClosed} {
		if err := event(step, i+1, pending()); err != nil {
			return err
		}
	}
	sum := hashOf(picture)
	if err := insist(id, func() dispatch.Answer { return g.PutBlob(ctx, sum, blobOf(picture)) }); err != nil {
		return err
	}
	return event(wire.EventStepEvidence, 1, wire.Evidence{
		State: wire.EvidenceStateAttached, Items: []wire.EvidenceItem{{Camera: "cam-1", SHA256: sum, MediaType: "image/jpeg"}},
	})
}

// TestCommandsUnderFaults asks for readings while everything fails at random.
func TestCommandsUnderFaults(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Redeliver: 200 * time.Millisecond})
	g, s := open(t, t.TempDir(), url, "code-1", func(c *dispatch.Config) { c.Timeouts, c.PollWait = quick, time.Second }), newSite()
	g.run(t, s)
	for _, f := range []platformtest.Fault{
		{Kind: platformtest.CommitReset, Route: "pollCommands", Times: 2},
		{Kind: platformtest.Half, Route: "pollCommands", Times: 2},
		{Kind: platformtest.Garbage, Route: "pollCommands", Times: 1},
		{Kind: platformtest.CommitReset, Route: "commandResult", Times: 2},
		{Kind: platformtest.CommitError, Route: "commandResult", Times: 1},
		{Kind: platformtest.Reset, Route: "putBlob", Times: 2},
	} {
		p.Inject(f)
	}
	for range 5 {
		result, err := p.Command(within(t, 20*time.Second), command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`))
		if err != nil || result.Status != wire.ResultStatusDone || s.runs(result.Command) != 1 {
			t.Fatalf("%v %+v", err, result)
		}
	}
	noViolations(t, p)
}

func BenchmarkPostEvent(b *testing.B) {
	p, err := platformtest.Open(platformtest.Config{Codes: []string{"code-1"}})
	if err != nil {
		b.Fatal(err)
	}
	c, _ := benchClient(b, p)
	for i := 0; b.Loop(); i++ {
		key, body := message(fmt.Sprintf("ev-%d", i), wire.EventStepOpened, 1, pending())
		if a := c.PostEvent(b.Context(), key, body); a.Class != dispatch.Done {
			b.Fatalf("%+v", a)
		}
	}
}

// TestLossesAreToldUntilTheyArrive checks that a heartbeat which may not have arrived
// does not count as told.
func TestLossesAreToldUntilTheyArrive(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	heal := p.Inject(platformtest.Fault{Kind: platformtest.CommitReset, Route: "heartbeat"})
	g.run(t, s)
	eventually(t, "the first row at the platform", func() bool { return len(p.Losses()) == 1 })
	if n := s.told.Load(); n != 0 {
		t.Errorf("%d heartbeats count as taken, whose answers were lost", n)
	}
	heal()
	eventually(t, "the next row", func() bool { return len(p.Losses()) > 1 })
	if l := p.Losses()[0]; l.ID != 1 || l.What != "gap device/pm-1" || l.Count != 3 || l.Gateway == "" {
		t.Errorf("%+v", l)
	}
	noViolations(t, p)
}
