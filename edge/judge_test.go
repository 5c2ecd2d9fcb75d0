package edge

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/letters"
	"offsite/edge/outbox"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

// court is a judge over real tables and a log in memory.
type court struct {
	t        *testing.T
	db       *state.DB
	registry *registry.Registry
	judge    *judge
	log      *logOf
	reports  []*devices.Problem
}

const judged = "stack.p"

func newCourt(t *testing.T, recs []timeseries.Record) *court {
	t.Helper()
	db := yardtest.OpenDB(t, t.TempDir())
	c := &court{t: t, db: db, registry: yardtest.OpenRegistry(t, db), log: &logOf{recs: recs, cursor: map[string]uint64{}}}
	yardtest.Register(t, c.registry, yardtest.Yard()...)
	yardtest.Register(t, c.registry, yardtest.ModbusDevice("p")...)
	yardtest.Register(t, c.registry, yardtest.HighLimit("high", judged, 100))
	c.open()
	return c
}

// open makes the judge as a start of the gateway does.
func (c *court) open() {
	ctx := c.t.Context()
	book, err := ledger.Open(ctx, c.db)
	trail, err2 := audit.Open(ctx, c.db)
	engine, err3 := breach.Open(ctx, c.db, breach.Config{Directory: directory{registry: c.registry}})
	box, err4 := outbox.Open(ctx, c.db, outbox.Config{})
	vault, err5 := evidence.OpenVault(c.t.TempDir())
	office, err6 := letters.Open(ctx, c.db, letters.Config{})
	if err := errors.Join(err, err2, err3, err4, err5, err6); err != nil {
		c.t.Fatal(err)
	}
	collector, err := evidence.Open(ctx, c.db, vault, evidence.Config{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.judge = &judge{
		log: follower{c.log, followJudging}, db: c.db, registry: c.registry, engine: engine, ledger: book, letters: office, outbox: box, evidence: collector, audit: trail, live: newLive(),
		message: func(t breach.Transition) (outbox.Message, error) {
			return outbox.Message{Key: fmt.Sprintf("%s:%d", t.Event.ID, t.Revision), Lane: t.Event.ID, Kind: messageEvent, Event: t.Event.ID}, nil
		},
		report: func(p *devices.Problem) { c.reports = append(c.reports, p) },
		logger: quiet, pause: func(int) time.Duration { return time.Millisecond },
	}
}

// run judges until the log is at its end and everything is committed.
func (c *court) run() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	c.log.idle = func() {
		if c.judge.engine.Cursor() >= c.log.Durable() {
			cancel()
		}
	}
	if err := c.judge.run(ctx); !errors.Is(err, context.Canceled) {
		c.t.Fatalf("the judge ended with %v", err)
	}
}

// standing is what the tables hold of a judgement.
type standing struct {
	Events   []string // step of the newest, by start
	Outbox   []string
	Audit    []string // acts, oldest first
	Evidence int
	Cursor   uint64
}

func (c *court) standing() standing {
	c.t.Helper()
	s := standing{Cursor: c.judge.engine.Cursor()}
	s.Events = c.column(`SELECT CASE WHEN ended_at IS NULL THEN 'open' ELSE 'closed' END FROM events ORDER BY started_at`)
	s.Outbox = c.column(`SELECT substr(key, instr(key, ':')) FROM outbox ORDER BY seq`)
	s.Audit = c.column(`SELECT act FROM audit WHERE act LIKE 'event.%' ORDER BY seq`)
	s.Evidence = len(c.column(`SELECT event FROM evidence`))
	return s
}

func (c *court) column(query string) []string {
	c.t.Helper()
	rows, err := c.db.Read().QueryContext(c.t.Context(), query)
	if err != nil {
		c.t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			c.t.Fatal(err)
		}
		list = append(list, v)
	}
	if err := rows.Err(); err != nil {
		c.t.Fatal(err)
	}
	return list
}

func (c *court) exec(statement string) {
	c.t.Helper()
	if err := c.db.Update(c.t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(statement); return err }); err != nil {
		c.t.Fatal(err)
	}
}

// judgedRecords are records of values at these milliseconds.
func judgedRecords(pairs ...[2]float64) []timeseries.Record {
	recs := records(pairs...)
	for i := range recs {
		recs[i].Readings[0].Site, recs[i].Readings[0].Point = "plant", judged
	}
	return recs
}

var twoAlarms = judgedRecords([2]float64{1, 50}, [2]float64{2, 150}, [2]float64{3, 50}, [2]float64{4, 160}, [2]float64{5, 170})

var twoAlarmsStanding = standing{
	Events: []string{"closed", "open"}, Outbox: []string{":1", ":2", ":1"},
	Audit: []string{"event.opened", "event.closed", "event.opened"}, Evidence: 2, Cursor: 5,
}

func TestJudgementIsOneTransaction(t *testing.T) {
	tests := []struct{ name, jam, free string }{
		{"outbox", `CREATE TRIGGER jam BEFORE INSERT ON outbox BEGIN SELECT RAISE(ABORT, 'jammed'); END`, `DROP TRIGGER jam`},
		{"evidence", `CREATE TRIGGER jam BEFORE INSERT ON evidence BEGIN SELECT RAISE(ABORT, 'jammed'); END`, `DROP TRIGGER jam`},
		{"audit", `CREATE TRIGGER jam BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'jammed'); END`, `DROP TRIGGER jam`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCourt(t, twoAlarms)
			c.exec(tt.jam)
			failures := 0
			c.judge.pause = func(int) time.Duration {
				if failures++; failures == 3 {
					if diff := cmp.Diff(standing{}, c.standing()); diff != "" {
						t.Errorf("of a judgement that failed there stands (-want +got):\n%s", diff)
					}
					c.exec(tt.free)
				}
				return time.Millisecond
			}
			c.run()
			if diff := cmp.Diff(twoAlarmsStanding, c.standing()); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
			if n := len(c.reports); n != 4 || c.reports[0] == nil || c.reports[n-1] != nil {
				t.Errorf("reports %v, want three of trouble and its end", c.reports)
			}
		})
	}
}

func TestJudgingAgainGivesTheSameEventsOnce(t *testing.T) {
	for cut := range len(twoAlarms) {
		t.Run(fmt.Sprintf("killed after record %d", cut), func(t *testing.T) {
			c := newCourt(t, twoAlarms)
			whole := c.log.recs
			c.log.recs = whole[:cut]
			c.run()
			c.log.recs = whole
			c.open() // what was not committed is judged again
			c.run()
			if diff := cmp.Diff(twoAlarmsStanding, c.standing()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("the log is read again from its beginning", func(t *testing.T) {
		c := newCourt(t, twoAlarms)
		c.run()
		keys := c.column(`SELECT key FROM outbox ORDER BY seq`)
		c.exec(`UPDATE judging_cursor SET seq = 0`)
		c.open()
		c.run()
		if diff := cmp.Diff(twoAlarmsStanding, c.standing()); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(keys, c.column(`SELECT key FROM outbox ORDER BY seq`)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestJudgeEndsAlarmsThatNothingFounds(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *court)
		reason string
	}{
		{"limit retired", func(c *court) { yardtest.Retire(c.t, c.registry, yardtest.HighLimit("high", judged, 100)) }, breach.EndLimitRetired},
		{"binding retired", func(c *court) { yardtest.Retire(c.t, c.registry, yardtest.ModbusDevice("p")[2]) }, breach.EndNotMeasured},
		{"limit's validity over", func(c *court) {
			l, over := yardtest.HighLimit("high", judged, 100), time.Now().Add(-time.Second)
			l.ValidTo = &over
			yardtest.Register(c.t, c.registry, l)
		}, breach.EndLimitExpired},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCourt(t, twoAlarms)
			c.run()
			tt.change(c)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			c.log.idle = cancel
			c.open()
			_ = c.judge.run(ctx)
			reasons := c.column(`SELECT end_reason FROM events ORDER BY started_at`)
			if diff := cmp.Diff([]string{breach.EndRecovered, tt.reason}, reasons); diff != "" {
				t.Error(diff)
			}
			if acts := c.standing().Audit; len(acts) != 4 || !slices.Equal(acts[3:], []string{"event.closed"}) {
				t.Errorf("audited %v", acts)
			}
		})
	}
}

func TestJudgeEndsWithItsLog(t *testing.T) {
	c := newCourt(t, nil)
	c.judge.log = follower{brokenLog{}, followJudging}
	if err := c.judge.run(t.Context()); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("ended with %v", err)
	}
}

func TestJudgeStopsQuietlyAmidACommit(t *testing.T) {
	c := newCourt(t, twoAlarms)
	ctx, cancel := context.WithCancel(t.Context())
	c.judge.message = func(breach.Transition) (outbox.Message, error) {
		cancel()
		return outbox.Message{}, context.Canceled
	}
	if err := c.judge.run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if len(c.reports) != 0 {
		t.Errorf("reported %v", c.reports)
	}
}

func TestJudgementIsNotHeldUpByOneWhoSendsOnlyRubbish(t *testing.T) {
	const rubbish = 3000
	recs := slices.Clone(twoAlarms)
	for i := range rubbish {
		recs = append(recs, timeseries.Record{Seq: uint64(len(recs) + 1), Delivery: devices.Delivery{
			Origin: devices.Origin{Device: "wild"}, Received: yardtest.After(i), Letter: &devices.DeadLetter{Topic: "t", Payload: make([]byte, 64<<10), Problem: yardtest.Trouble("not_json")},
		}})
	}
	c := newCourt(t, recs)
	c.run()
	s := c.standing()
	if s.Cursor != uint64(len(recs)) || len(s.Events) != 2 {
		t.Errorf("stands %+v", s)
	}
	if n := len(c.column(`SELECT seq FROM dead_letters`)); n == 0 || n > rubbish/10 {
		t.Errorf("%d letters kept", n)
	}
	if n := c.column(`SELECT max(length(payload)) FROM dead_letters`); n[0] != fmt.Sprint(devices.MaxPayload) {
		t.Errorf("the longest kept has %s bytes", n)
	}
	rows, err := c.judge.ledger.Losses(t.Context(), ledger.Filter{Max: 10})
	if err != nil || len(rows) != 1 || rows[0].Count != rubbish || rows[0].To.Sub(rows[0].From) != (rubbish-1)*time.Millisecond {
		t.Errorf("told as %+v, %v", rows, err)
	}
	if got := c.judge.ledger.LossCounts()[ledger.LossDeadLetter]; got != rubbish {
		t.Errorf("counted %d", got)
	}
}
