package edge

import (
	"context"
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

// Key prefixes of the one Pebble store in the directory readings.
var (
	prefixLog   = []byte("log/")
	prefixLocal = []byte("history/")
)

// openReadings is one opening of the readings' store. A storage error ends it
// and everything that runs on it; then it is closed, opened anew and read again.
type openReadings struct {
	db      *pebble.DB
	log     *spool.Log
	history timeseries.Store
}

// openReadingsIn opens the log and the history.
func openReadingsIn(dir string, cfg Config, judged uint64, lost func(spool.Loss) error, logger *slog.Logger) (*openReadings, error) {
	dir = filepath.Join(dir, "readings")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make %s: %w", dir, err)
	}
	db, err := pebble.Open(dir, &pebble.Options{
		MemTableSize: 16 << 20, Logger: pebbleLog{logger}, FormatMajorVersion: pebble.FormatNewest,
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	r := &openReadings{db: db}
	remote := ""
	if cfg.History.Store == "influx" {
		remote = followHistory
	}
	r.log, err = spool.Open(db, prefixLog, spool.Config{
		Followers: []string{followHistory, followJudging}, Backlog: backlog(cfg, dir), Remote: remote, Lost: lost,
		Above: judged, Log: logger,
	})
	if err == nil {
		r.history, err = openHistory(db, cfg.History, logger)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return r, nil
}

func openHistory(db *pebble.DB, cfg HistoryConfig, logger *slog.Logger) (timeseries.Store, error) {
	if cfg.Store != "influx" {
		return local.Open(db, prefixLocal, local.Config{Log: logger})
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
// ctx ends or the storage fails.
func (b *Box) keepReadings(ctx context.Context) (err error) {
	r, err := openReadingsIn(b.cfg.State, b.cfg, b.Events.Cursor(), b.lost, b.logger)
	if err != nil {
		b.condition.set(noticeStorage, devices.AllProblems(err)[0])
		return err
	}
	defer func() {
		b.Pipeline.open(nil)
		b.readings.Store(nil)
		b.History.swap(nil)
		err = errors.Join(err, r.close())
	}()
	b.condition.set(noticeStorage, nil)
	b.History.swap(r.history)
	b.readings.Store(r)
	b.Pipeline.open(r.log)
	select {
	case <-b.recording:
	default:
		close(b.recording)
	}

	// The log outlives its followers' wish to stop, so that what was accepted
	// is written before the end.
	logCtx, stopLog := context.WithCancel(context.WithoutCancel(ctx))
	followCtx, stopFollowers := context.WithCancelCause(ctx)
	defer stopLog()
	defer stopFollowers(nil)
	var all errgroup.Group
	all.Go(func() error {
		err := r.log.Run(logCtx)
		stopFollowers(err)
		return err
	})
	all.Go(func() error {
		defer stopLog()
		g, ctx := errgroup.WithContext(followCtx)
		g.Go(func() error { return b.recorderOn(r).run(ctx) })
		g.Go(func() error { return b.judgeOn(r).run(ctx) })
		g.Go(func() error { return b.Live.follow(ctx, r.log) })
		return g.Wait()
	})
	err = all.Wait()
	if ctx.Err() == nil {
		b.condition.set(noticeStorage, devices.AllProblems(err)[0])
	}
	return err
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
		audit: b.Audit, live: b.Live, message: b.message, logger: b.logger, pause: BackOff(500*time.Millisecond, 10*time.Second),
	}
}
