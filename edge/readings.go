package edge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"offsite/devices"
	"offsite/timeseries"
	"offsite/timeseries/influx"
	"offsite/timeseries/local"
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
		Above: b.Events.Cursor(), Log: b.logger,
	})
	if err == nil {
		r.history, err = openHistory(db, b.cfg.History, r.log.Commit, b.logger)
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

// openHistory opens the store of history. The embedded one writes by commit,
// the log's: no write may follow one that failed.
func openHistory(db *pebble.DB, cfg HistoryConfig, commit func(*pebble.Batch) error, logger *slog.Logger) (timeseries.Store, error) {
	if cfg.Store != "influx" {
		return local.Open(db, prefixLocal, local.Config{Commit: commit, Log: logger})
	}
	c := cfg.Influx
	return influx.Open(influx.Config{
		URL: c.URL, Org: c.Org, Bucket: c.Bucket, Token: c.Token,
		Database: c.Database, Username: c.Username, Password: c.Password, Log: logger,
	})
}

// backlog is what may wait for a remote store: as configured, else half of
// what the disk has free now.
func backlog(cfg Config, dir string) int64 {
	if cfg.Log.Backlog > 0 {
		return int64(cfg.Log.Backlog)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 1 << 30
	}
	return max(64<<20, int64(st.Bavail)*st.Bsize/2)
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

// History gives the readings of the past. While the store is being opened
// again every call answers a Problem of kind ErrUnavailable.
type History struct {
	mu    sync.RWMutex // held for reading during a query, so that nothing closes under it
	store timeseries.Store
}

var errHistoryClosed = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "history_closed", ZH: "历史库正在重新打开，请稍候重试", EN: "the history is being opened again; try again shortly",
}

func (h *History) swap(store timeseries.Store) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store = store
}

// ask runs query on the store, if it is open.
func ask[T any](h *History, query func(timeseries.Store) (T, error)) (T, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.store == nil {
		var none T
		return none, errHistoryClosed
	}
	return query(h.store)
}

// Range is that of [timeseries.Store].
func (h *History) Range(ctx context.Context, s timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error) {
	return ask(h, func(st timeseries.Store) ([]timeseries.Sample, error) { return st.Range(ctx, s, from, to, most) })
}

// Windows is that of [timeseries.Store].
func (h *History) Windows(ctx context.Context, s timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error) {
	return ask(h, func(st timeseries.Store) ([]timeseries.Window, error) { return st.Windows(ctx, s, from, to, every) })
}

// Last is that of [timeseries.Store].
func (h *History) Last(ctx context.Context, s timeseries.Series) (timeseries.Sample, error) {
	return ask(h, func(st timeseries.Store) (timeseries.Sample, error) { return st.Last(ctx, s) })
}

// keepReadings opens the store and runs the log and its followers on it until
// ctx ends or the storage fails. Each call is one epoch of the store: what it
// opened is closed when it returns, and nothing of it is used afterwards.
func (b *Box) keepReadings(ctx context.Context) (err error) {
	r, err := b.openReadings()
	if err != nil {
		b.condition.set(noticeStorage, devices.AllProblems(err)[0])
		return err
	}
	defer func() {
		b.Pipeline.open(nil)
		b.readings.Store(nil)
		b.History.swap(nil) // waits for the queries that are under way
		err = errors.Join(err, r.close())
	}()
	if err = b.begin(ctx, r); err == nil {
		err = b.follow(ctx, r)
	}
	if ctx.Err() == nil {
		b.condition.set(noticeStorage, devices.AllProblems(err)[0])
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
	b.History.swap(r.history)
	b.readings.Store(r)
	b.Pipeline.open(r.log)
	b.condition.set(noticeStorage, nil)
	if first {
		close(b.recording)
	}
	return nil
}

// resume takes up what the former run left: how long the gateway was away, and
// when each point was last heard, so that no reading is given a time before one
// that stands already. A box without a clock of its own starts years back.
func (b *Box) resume(ctx context.Context, r *openReadings) error {
	var heard time.Time
	end := r.log.Durable()
	for at := end - min(end, primeRecords); at < end; {
		recs, err := r.log.Read(at, readAtOnce)
		if err != nil {
			return err
		}
		if len(recs) == 0 {
			break
		}
		for i := range recs {
			at, heard = recs[i].Seq, recs[i].Received
			for _, rd := range recs[i].Readings {
				if rd.Quality != devices.BadClock {
					b.Pipeline.prime(rd.Point, rd.At)
				}
			}
		}
	}
	if b.cfg.History.Store == "local" { // a remote store may be away or slow, and nothing is to wait for it
		b.primeFrom(ctx, r.history)
	}
	return b.Ledger.Resume(ctx, heard, time.Now())
}

// What is read at start to know when each point was last heard.
const (
	primeRecords = 16384           // of the log's end
	primeTime    = 3 * time.Second // for the embedded history
)

func (b *Box) primeFrom(ctx context.Context, history timeseries.Store) {
	ctx, cancel := context.WithTimeout(ctx, primeTime)
	defer cancel()
	s := b.Registry.Snapshot()
	for id := range s.Points {
		if last, err := history.Last(ctx, timeseries.Series{Site: s.SiteOf(id), Point: id}); err == nil {
			b.Pipeline.prime(id, last.At)
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
		g.Go(func() error { return b.recorderOn(r).run(ctx) })
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
		b.condition.set(noticeStorage, why)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *Box) recorderOn(r *openReadings) *recorder {
	return &recorder{
		log: r.log, store: r.history, onLog: b.cfg.History.Store != "influx", ledger: b.Ledger, logger: b.logger, flush: 5 * time.Second,
		pause: BackOff(500*time.Millisecond, 30*time.Second), keepFor: b.cfg.History.Retention.D(),
		report: func(p *devices.Problem) { b.condition.set(noticeHistory, p) },
	}
}

func (b *Box) judgeOn(r *openReadings) *judge {
	return &judge{
		log: r.log, db: b.DB, registry: b.Registry, engine: b.Events, outbox: b.Outbox, evidence: b.Evidence, ledger: b.Ledger,
		audit: b.Audit, upkeep: b.Upkeep, live: b.Live, message: b.message, logger: b.logger, pause: BackOff(500*time.Millisecond, 10*time.Second),
		report: func(p *devices.Problem) { b.condition.set(noticeJudging, p) },
	}
}
