package edge

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/letters"
	"offsite/edge/outbox"
	"offsite/edge/upkeep"
	"offsite/timeseries"
)

// saveEvery is how often the judging cursor is committed when nothing happens.
const saveEvery = time.Second

// judge is the follower that finds breaches. Whatever a batch of the log brings
// about is committed in one transaction: events, alarm states, outbox rows,
// evidence wanted, audit rows and the cursor. So are dead letters, which people
// must see even while a remote history is away.
type judge struct {
	log      follower
	db       *state.DB
	registry *registry.Registry
	engine   *breach.Engine
	outbox   *outbox.Outbox
	evidence *evidence.Collector
	ledger   *ledger.Ledger
	audit    *audit.Log
	letters  *letters.Office
	upkeep   *upkeep.Book // nil: nothing is ever under maintenance
	live     *Live
	message  func(breach.Transition) (outbox.Message, error) // the platform's form of a transition
	report   func(*devices.Problem)                          // why nothing can be judged; nil when it can again
	logger   *slog.Logger
	pause    Pause

	failures int // commits in a row that failed
}

// run follows the log until ctx ends or the log fails. A state database that
// cannot commit makes it wait and judge again from the last commit.
func (j *judge) run(ctx context.Context) error {
	wake, stop := j.registry.Watch()
	defer stop()
	at, err := j.reload(ctx)
	if err != nil {
		return err
	}
	committed, saved, looked := at, time.Now(), time.Time{}
	for {
		recs, err := j.log.Read(at)
		if err != nil {
			return err
		}
		var found []breach.Transition
		var dead []timeseries.Record
		rules := j.registry.Snapshot()
		for _, rec := range recs {
			if rec.Letter != nil {
				dead = append(dead, rec)
			}
			if j.upkeep != nil {
				rec.Readings = j.upkeep.Judged(rec.Origin.Device, rec.Readings)
			}
			found = append(found, j.engine.Observe(rec, rules)...)
			at = rec.Seq
		}
		if pending(wake) || time.Since(looked) >= reconcileEvery {
			looked = time.Now()
			found = append(found, j.reconcile()...)
		}
		if len(found) > 0 || len(dead) > 0 || (at > committed && time.Since(saved) >= saveEvery) {
			if err := j.commit(ctx, at, found, dead); err != nil {
				if at, err = j.restart(ctx, err); err != nil {
					return err
				}
				committed = at
				continue
			}
			saved, committed = time.Now(), at
		}
		if len(recs) == 0 {
			if err := j.log.Await(ctx, at, saveEvery/2); err != nil {
				return err
			}
		}
	}
}

// reconcileEvery bounds how long an alarm outlives its limit's validity or its
// point's binding, which end by the clock and not by a change of the registry.
const reconcileEvery = 10 * time.Second

// pending takes a waiting wake, if there is one.
func pending(wake <-chan struct{}) bool {
	select {
	case <-wake:
		return true
	default:
		return false
	}
}

// reconcile ends the alarms of limits and points that are gone.
func (j *judge) reconcile() []breach.Transition {
	return j.engine.Reconcile(j.registry.Snapshot(), time.Now().UTC())
}

// restart goes back to what is committed, after a pause that grows with every
// failure in a row.
func (j *judge) restart(ctx context.Context, why error) (uint64, error) {
	if err := j.wait(ctx, why); err != nil {
		return 0, err
	}
	return j.reload(ctx)
}

// reload reads the alarm states as they are committed, however often it takes.
func (j *judge) reload(ctx context.Context) (uint64, error) {
	for {
		err := j.engine.Reload(ctx)
		if err == nil {
			return j.engine.Cursor(), nil
		}
		if err = j.wait(ctx, err); err != nil {
			return 0, err
		}
	}
}

// wait tells why nothing can be judged and pauses. It returns an error when ctx
// ends.
func (j *judge) wait(ctx context.Context, why error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	j.logger.ErrorContext(ctx, "judgement not committed; will judge again", "err", why)
	j.report(devices.AllProblems(why)[0])
	pause := j.pause(j.failures)
	j.failures++
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// commit writes the one transaction of a judgement and then wakes those who
// carry it on.
func (j *judge) commit(ctx context.Context, at uint64, found []breach.Transition, dead []timeseries.Record) error {
	snapshot := j.registry.Snapshot()
	err := j.db.Update(ctx, func(tx *sql.Tx) error {
		if err := j.engine.Save(ctx, tx, at, found); err != nil {
			return err
		}
		fresh, err := j.letters.Bury(ctx, tx, dead)
		if err != nil {
			return err
		}
		if err := ledger.PutDead(ctx, tx, fresh); err != nil {
			return err
		}
		for _, t := range found {
			if err := j.handOn(ctx, tx, snapshot, t); err != nil {
				return fmt.Errorf("event %s: %w", t.Event.ID, err)
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("commit judgement: %w", err)
	}
	j.engine.Saved()
	j.ledger.Count(ledger.LossDeadLetter, int64(len(dead)))
	if j.failures > 0 {
		j.failures = 0
		j.report(nil)
	}
	if len(found) > 0 {
		j.outbox.Wake()
		j.evidence.Wake()
		for _, t := range found {
			j.logger.InfoContext(ctx, "alarm", "step", t.Step, "event", t.Event.ID, "point", t.Event.Point, "limit", t.Event.Limit)
			j.live.Tell(Update{Event: &t})
		}
	}
	return j.log.Advance(at)
}

// handOn queues a transition for the platform, wants its picture and audits it.
func (j *judge) handOn(ctx context.Context, tx *sql.Tx, snapshot *registry.Snapshot, t breach.Transition) error {
	m, err := j.message(t)
	if err != nil {
		return err
	}
	if err := j.outbox.Put(ctx, tx, m); err != nil {
		return err
	}
	if t.Step == "opened" {
		var cameras []string
		for _, c := range snapshot.CamerasOf(t.Event.Outlet) {
			cameras = append(cameras, c.ID)
		}
		began := t.Event.StartedAt
		if now := time.Now().UTC(); began.After(now) {
			began = now // a clock runs ahead or was set back: pictures are of the time in which they are taken
		}
		if err := j.evidence.Expect(ctx, tx, t.Event.ID, began, cameras); err != nil {
			return err
		}
	}
	return j.audit.Append(ctx, tx, audit.Entry{
		At: time.Now().UTC(), Who: "gateway", Act: "event." + t.Step, What: "event/" + t.Event.ID, Result: "ok",
	})
}
