package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"offsite/devices"
	"offsite/edge/history"
	"offsite/edge/intake"
	"offsite/edge/notice"
	"offsite/timeseries"
	"offsite/timeseries/spool"
)

// Key prefixes of the one Pebble store in the directory readings, and the key
// that each opening writes its time to.
var (
	prefixLog   = []byte("log/")
	prefixLocal = []byte("history/")
	keyOpened   = []byte("opened") // Unix milliseconds, big-endian
)

// openReadings is one opening of the readings' store. A storage error ends it
// and everything that runs on it; then it is closed, opened anew and read again.
type openReadings struct {
	db      *pebble.DB
	log     *spool.Log
	history timeseries.Store
}

// openReadings opens the log and the history.
func (b *Box) openReadings() (*openReadings, error) {
	dir := filepath.Join(b.cfg.State, "readings")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	db, err := pebble.Open(dir, &pebble.Options{
		FS: b.disk, MemTableSize: 16 << 20, Logger: pebbleLog{b.logger}, FormatMajorVersion: pebble.FormatNewest,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	r := &openReadings{db: db}
	remote := ""
	if b.cfg.History.Store == "influx" {
		remote = followHistory
	}
	r.log, err = spool.Open(db, prefixLog, spool.Config{
		Followers: []string{followHistory, followJudging}, Backlog: backlog(b.cfg, dir), Remote: remote, Lost: b.lost,
		Above: b.Events.Cursor(), Room: spool.DiskRoom(dir, 0), Log: b.logger,
	})
	if err == nil {
		r.history, err = b.cfg.History.OpenStore(db, prefixLocal, r.log.Commit, b.logger)
	}
	if err == nil {
		err = r.prove()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

// prove writes something small, so that a disk which is still full is found
// before anybody is told that readings are taken again.
func (r *openReadings) prove() error {
	b := r.db.NewBatch()
	if err := b.Set(keyOpened, binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli())), nil); err != nil {
		return errors.Join(err, b.Close())
	}
	return r.log.Commit(b)
}

// backlog is what may wait for a remote store: as configured, else half of
// what the disk has free besides the log, so that a start in the middle of an
// outage does not cut off what waits already.
func backlog(cfg Config, dir string) int64 {
	if cfg.Log.Backlog > 0 {
		return int64(cfg.Log.Backlog)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 1 << 30
	}
	room := int64(st.Bavail) * st.Bsize
	files, _ := os.ReadDir(dir) // what cannot be read counts as nothing
	for _, f := range files {
		if info, err := f.Info(); err == nil {
			room += info.Size()
		}
	}
	return max(64<<20, room/2)
}

func (r *openReadings) close() error {
	return errors.Join(r.history.Close(), r.db.Close())
}

// pebbleLog passes Pebble's words on. Fatalf must not return: what Pebble
// cannot survive (a manifest that cannot be written) ends the process with
// status 70, and the service manager starts it again.
type pebbleLog struct{ *slog.Logger }

func (l pebbleLog) Infof(format string, args ...any) {
	l.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.Error("pebble: " + fmt.Sprintf(format, args...))
}

func (l pebbleLog) Fatalf(format string, args ...any) {
	l.Error("pebble cannot go on: " + fmt.Sprintf(format, args...))
	os.Exit(70)
}

// keepReadings opens the store and runs the log and its followers on it until
// ctx ends or the storage fails. Each call is one epoch of the store: what it
// opened is closed when it returns, and nothing of it is used afterwards.
func (b *Box) keepReadings(ctx context.Context) (err error) {
	r, err := b.openReadings()
	if err != nil {
		b.notices.Set(notice.Storage, devices.AllProblems(err)[0])
		return err
	}
	defer func() {
		b.Pipeline.Open(nil)
		b.readings.Store(nil)
		b.History.Swap(nil) // waits for the queries that are under way
		err = errors.Join(err, r.close())
	}()
	if err = b.begin(ctx, r); err == nil {
		err = b.follow(ctx, r)
	}
	if ctx.Err() == nil {
		b.notices.Set(notice.Storage, devices.AllProblems(err)[0])
	}
	return err
}

// begin opens the road on r. Those who acquire wait for the first time.
func (b *Box) begin(ctx context.Context, r *openReadings) error {
	first := false
	select {
	case <-b.recording:
	default:
		first = true
	}
	if first {
		if err := b.resume(ctx, r); err != nil {
			return err
		}
	}
	b.Live.from(r.log.Durable())
	b.History.Swap(r.history)
	b.readings.Store(r)
	b.Pipeline.Open(r.log)
	b.notices.Set(notice.Storage, nil)
	if first {
		close(b.recording)
	}
	return nil
}

// resume takes up what the former run left: how long the gateway was away, and
// when each point was last heard, so that no reading is given a time before one
// that stands already, however the clock was set. A box without a clock of its own
// starts years back.
func (b *Box) resume(ctx context.Context, r *openReadings) error {
	heard, stamp, err := b.Pipeline.TakeUp(r.log, r.log.Durable())
	if err != nil {
		return err
	}
	if b.cfg.History.Store == "local" { // a remote store may be away or slow, and nothing is to wait for it
		b.primeFrom(ctx, r.history)
	}
	now := time.Now()
	past, err := b.Ledger.Resume(ctx, heard, now)
	if err != nil {
		return err
	}
	if past.Stamp.After(stamp) { // what was polled last may be long out of the log
		stamp = past.Stamp
	}
	b.Pipeline.GoOn(stamp, now)
	if step := now.Sub(past.Last); !past.Last.IsZero() && step < -intake.MostStep {
		b.clockStepped(ctx, step, now)
	}
	return nil
}

// primeTime is for reading the embedded history at start, to know when each point
// was last heard.
const primeTime = 3 * time.Second

func (b *Box) primeFrom(ctx context.Context, history timeseries.Store) {
	ctx, cancel := context.WithTimeout(ctx, primeTime)
	defer cancel()
	s := b.Registry.Snapshot()
	for id := range s.Points {
		if last, err := history.Last(ctx, timeseries.Series{Site: s.SiteOf(id), Point: id}); err == nil {
			b.Pipeline.Prime(id, last.At)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// follow runs the log and its followers until ctx ends or one of them fails.
// The log outlives its followers, so that what was accepted is written before
// the end.
func (b *Box) follow(ctx context.Context, r *openReadings) error {
	logCtx, stopLog := context.WithCancelCause(context.WithoutCancel(ctx))
	followCtx, stopFollowers := context.WithCancelCause(ctx)
	defer stopLog(nil)
	defer stopFollowers(nil)
	var all errgroup.Group
	all.Go(func() error {
		err := r.log.Run(logCtx)
		stopFollowers(err)
		return err
	})
	all.Go(func() error {
		g, ctx := errgroup.WithContext(followCtx)
		g.Go(func() error { return b.watchRoom(ctx, r) })
		g.Go(func() error { return b.recorderOn(r).Run(ctx) })
		g.Go(func() error { return b.judgeOn(r).run(ctx) })
		g.Go(func() error { return b.Live.follow(ctx, r.log) })
		err := g.Wait()
		stopLog(err) // the log then ends with the same error, whichever is seen first
		return err
	})
	return all.Wait()
}

// watchRoom shows within a second when the log takes nothing although it runs:
// the disk is nearly full, or stands still.
func (b *Box) watchRoom(ctx context.Context, r *openReadings) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		var why *devices.Problem
		if err := r.log.Refusing(); err != nil {
			why = devices.AllProblems(err)[0]
		}
		b.notices.Set(notice.Storage, why)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *Box) recorderOn(r *openReadings) *history.Recorder {
	return history.NewRecorder(history.RecorderConfig{
		Log: follower{r.log, followHistory}, Store: r.history, OnLog: b.cfg.History.Store != "influx", Ledger: b.Ledger, Flush: 5 * time.Second,
		Pause: BackOff(500*time.Millisecond, 30*time.Second), KeepFor: b.cfg.History.Retention.D(), Logger: b.logger,
		Report: func(p *devices.Problem) { b.notices.Set(notice.History, p) },
	})
}

func (b *Box) judgeOn(r *openReadings) *judge {
	return &judge{
		log: follower{r.log, followJudging}, db: b.DB, registry: b.Registry, engine: b.Events, outbox: b.Outbox, evidence: b.Evidence, ledger: b.Ledger,
		letters: b.Letters, audit: b.Audit, upkeep: b.upkeep, live: b.Live, message: b.message, logger: b.logger,
		pause: BackOff(500*time.Millisecond, 10*time.Second), report: func(p *devices.Problem) { b.notices.Set(notice.Judging, p) },
	}
}

// tail is the log as it is read from its end; see timeseries/spool.
type tail interface {
	Wait(ctx context.Context, after uint64) error
	Read(after uint64, most int) ([]timeseries.Record, error)
}

// cursors is the log as those who follow it use it.
type cursors interface {
	tail
	Cursor(follower string) uint64
	Advance(follower string, seq uint64) error
}

// The followers' names in the log.
const (
	followHistory = "history"
	followJudging = "judging"
)

// readAtOnce is how many deliveries are read from the log at once.
const readAtOnce = 2048

// follower is the log as one follower with a cursor uses it.
type follower struct {
	log  cursors
	name string
}

// Cursor is the sequence of the last record that the follower needs no more.
func (f follower) Cursor() uint64 { return f.log.Cursor(f.name) }

// Advance moves the cursor.
func (f follower) Advance(seq uint64) error { return f.log.Advance(f.name, seq) }

// Read gives the next records.
func (f follower) Read(after uint64) ([]timeseries.Record, error) {
	return f.log.Read(after, readAtOnce)
}

// Await waits for a record after that, but no longer than most.
func (f follower) Await(ctx context.Context, after uint64, most time.Duration) error {
	short, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	err := f.log.Wait(short, after)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		return nil
	}
	return err
}

// Condition tells how the gateway itself fares.
type Condition struct {
	Version       string
	Started       time.Time
	History       string // local or influx
	LogBytes      int64  // of the log of readings on disk
	HistoryBehind int64  // deliveries not yet in history
	JudgingBehind int64  // deliveries not yet judged
}

// Condition tells how the gateway itself fares.
func (b *Box) Condition() Condition {
	c := Condition{Version: b.version, Started: b.started.UTC(), History: b.cfg.History.Store}
	if r := b.readings.Load(); r != nil {
		end := r.log.Durable()
		c.LogBytes = r.log.Bytes()
		c.HistoryBehind = int64(end - min(end, r.log.Cursor(followHistory)))
		c.JudgingBehind = int64(end - min(end, r.log.Cursor(followJudging)))
	}
	return c
}

// refusing tells why no reading is taken now; nil while they are.
func (b *Box) refusing() *devices.Problem {
	r := b.readings.Load()
	if r == nil {
		if why := b.notices.Why(notice.Storage); why != nil {
			return why
		}
		return intake.ErrNoLog
	}
	if err := r.log.Refusing(); err != nil {
		return devices.AllProblems(err)[0]
	}
	return nil
}

// Ready tells what keeps the gateway from recording, all at once; nil if nothing.
func (b *Box) Ready() error {
	var ps devices.Problems
	ps.Add(b.refusing())
	if b.Broker.Addr() == nil {
		ps.Add(&devices.Problem{Kind: devices.ErrUnavailable, Code: "broker_closed", ZH: "内置 MQTT 代理尚未监听", EN: "the embedded broker does not listen yet"})
	}
	return ps.Err()
}
