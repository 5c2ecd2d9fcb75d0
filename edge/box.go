package edge

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/broker"
	"offsite/devices/hj212"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/dispatch"
	"offsite/edge/evidence"
	"offsite/edge/outbox"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/snapshot"
	"offsite/timeseries/spool"
)

// Box is the whole site, composed: what the gateway serves to people and
// programs it reads here.
type Box struct {
	DB       *state.DB
	Registry *registry.Registry
	Audit    *audit.Log
	Ledger   *Ledger
	Events   *breach.Engine
	Outbox   *outbox.Outbox
	Vault    *evidence.Vault
	Evidence *evidence.Collector
	Platform *dispatch.Client
	Broker   *broker.Broker
	Loggers  *hj212.Host // nil where none listens
	Pipeline *Pipeline
	History  *History
	Live     *Live
	Board    *Board
	Upkeep   *Upkeep
	Health   *Health
	Cameras  *Cameras

	id          string // of this installation
	cfg         Config
	version     string
	started     time.Time
	logger      *slog.Logger
	openers     map[string]devices.Opener
	formats     devices.Formats
	disk        vfs.FS // of the readings' store; nil is the machine's own, tests give others
	condition   *condition
	recording   chan struct{}                   // closed when the log can first be written
	undelivered atomic.Int32                    // tries to deliver since the last that succeeded
	contact     atomic.Pointer[dispatch.Report] // the platform's last coming or going
	readings    atomic.Pointer[openReadings]    // nil while the store is closed
}

// Parts is what the Box is given besides its configuration.
type Parts struct {
	Version string                    // of the program, for the platform
	Openers map[string]devices.Opener // by driver, those of the embedded broker apart
	Formats devices.Formats           // of MQTT payloads, besides JSON
	Log     *slog.Logger
}

// Open opens the state in cfg.State and composes the site. Nothing runs, and
// nothing is dialled or listened to, before Run.
func Open(ctx context.Context, cfg Config, parts Parts) (_ *Box, err error) {
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	b := &Box{cfg: cfg, version: parts.Version, started: time.Now(), logger: parts.Log, openers: parts.Openers, formats: parts.Formats, Live: newLive(), Health: newHealth(), History: &History{}, recording: make(chan struct{})}
	b.condition = newCondition(b.Live)
	if b.DB, err = state.Open(ctx, state.Config{Dir: cfg.State, Log: b.logger}); err != nil {
		return nil, err
	}
	if err := b.openState(ctx); err != nil {
		return nil, fmt.Errorf("open state in %s: %w", cfg.State, joinClose(err, b.DB))
	}
	if err := b.openRoads(ctx); err != nil {
		return nil, joinClose(err, b.DB)
	}
	return b, nil
}

// openState opens all that lives in offsite.db and beside it.
func (b *Box) openState(ctx context.Context) (err error) {
	if b.Registry, err = registry.Open(ctx, b.DB); err != nil {
		return err
	}
	if b.Audit, err = audit.Open(ctx, b.DB); err != nil {
		return err
	}
	if b.Ledger, err = OpenLedger(ctx, b.DB); err != nil {
		return err
	}
	if b.Upkeep, err = openUpkeep(ctx, b.DB, b.Audit); err != nil {
		return err
	}
	if b.id, err = installation(ctx, b.DB); err != nil {
		return err
	}
	if b.Events, err = breach.Open(ctx, b.DB, breach.Config{Directory: directory{b.Registry, b.Upkeep}}); err != nil {
		return err
	}
	if b.Outbox, err = outbox.Open(ctx, b.DB, outbox.Config{
		Log: b.logger, Spread: b.cfg.Platform.StartDelay.D(), Report: b.outboxPaused, Buried: b.buried,
	}); err != nil {
		return err
	}
	if b.Vault, err = evidence.OpenVault(filepath.Join(b.cfg.State, "evidence")); err != nil {
		return err
	}
	b.Evidence, err = evidence.Open(ctx, b.DB, b.Vault, evidence.Config{Told: b.pictured, Log: b.logger})
	return err
}

// openRoads composes the roads of readings and frames and the platform's client.
func (b *Box) openRoads(ctx context.Context) (err error) {
	b.Board = newBoard(b.Ledger, b.Live, b.logger)
	b.Pipeline = newPipeline(b.cfg.Clock.Tolerance.D(),
		func(id string) *devices.Point { return b.Registry.Snapshot().Points[id] }, b.Board.warn, b.Live.Refresh)
	b.Cameras = &Cameras{
		rtsp: rtsp.Config{Log: b.logger}, feed: streams.FeedConfig{Ring: b.cfg.Video.Ring.D()},
		taker: snapshot.New(snapshot.Config{FFmpeg: b.cfg.Video.FFmpeg, Log: b.logger}),
		live:  b.Live, board: b.Board, list: map[string]*camera{},
	}
	if b.Broker, err = b.openBroker(); err != nil {
		return err
	}
	if err = b.openLoggers(); err != nil {
		return err
	}
	b.Platform, err = b.openPlatform(ctx)
	return err
}

func joinClose(err error, db *state.DB) error {
	if closing := db.Close(); closing != nil {
		return fmt.Errorf("%w (and closing: %w)", err, closing)
	}
	return err
}

// Close closes the state. Run has returned.
func (b *Box) Close() error { return b.DB.Close() }

// Run runs the site until ctx ends. What acquires stops first, so that all it
// took is recorded and judged before the end.
func (b *Box) Run(ctx context.Context) error {
	later, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var g errgroup.Group
	g.Go(func() error {
		err := b.acquire(ctx)
		stop(err) // the others then end with the same error, whichever is seen first
		return err
	})
	keep := func(name string, most time.Duration, task func(context.Context) error) {
		g.Go(func() error {
			return Supervise(later, b.logger.With("task", name), BackOff(250*time.Millisecond, most), task)
		})
	}
	keep("readings", 5*time.Second, b.keepReadings)
	keep("evidence", 10*time.Second, func(ctx context.Context) error { return b.Evidence.Run(ctx, b.Cameras, b.tellEvidence) })
	keep("outbox", 10*time.Second, func(ctx context.Context) error { return b.Outbox.Run(ctx, b.deliver) })
	keep("platform", 30*time.Second, func(ctx context.Context) error { return b.Platform.Run(ctx, platformSite{b}) })
	g.Go(func() error { return b.Board.run(later) })
	if err := g.Wait(); ctx.Err() == nil {
		return err
	}
	return context.Cause(ctx)
}

// acquire runs what brings readings and pictures, once the log can take them.
func (b *Box) acquire(ctx context.Context) error {
	select {
	case <-b.recording:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	agent := &Agent{
		registry: b.Registry, openers: b.openers, broker: b.Broker, cameras: b.Cameras, sink: sink{b, ctx},
		board: b.Board, live: b.Live, log: b.logger, pause: BackOff(time.Second, time.Minute),
	}
	g, ctx := errgroup.WithContext(ctx)
	if b.Loggers != nil {
		agent.loggers = b.Loggers
		g.Go(func() error { return b.tellLoggers(ctx) })
		g.Go(func() error {
			return Supervise(ctx, b.logger.With("task", "hj212"), BackOff(time.Second, 30*time.Second), b.runLoggers)
		})
	}
	g.Go(func() error { return agent.Run(ctx) })
	g.Go(func() error { return b.Cameras.run(ctx) })
	g.Go(func() error { return b.tellUnbound(ctx) })
	g.Go(func() error { return b.watchHealth(ctx) })
	g.Go(func() error {
		return Supervise(ctx, b.logger.With("task", "broker"), BackOff(time.Second, 30*time.Second), b.runBroker)
	})
	return g.Wait()
}

// sink is where the drivers leave what they read.
type sink struct {
	*Box
	acquiring context.Context // ended: the gateway stops, and no device is to blame
}

func (s sink) Accept(d devices.Delivery, done func(error)) {
	s.Board.heard(d.Origin.Device, d.Received)
	s.Health.delivered(&d)
	s.Upkeep.mark(&d)
	s.Pipeline.Accept(d, done)
}

func (s sink) Report(r devices.Report) {
	if s.acquiring.Err() == nil {
		s.Board.Report(r)
	}
}

func (s sink) Polled(p devices.Poll) { s.Health.Polled(p) }

var (
	_ devices.Sink  = sink{}
	_ devices.Meter = sink{}
)

// lost writes what fell out of the log before a remote store could take it.
func (b *Box) lost(l spool.Loss) error {
	p := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "backlog_full", Field: "readings_log.backlog",
		ZH: "历史库离线时间超过积压上限，最旧的读数未能写入历史库（判定不受影响）；请恢复 InfluxDB 或加大 readings_log.backlog",
		EN: "the history store was away for longer than the backlog holds; its oldest readings never reached it (judging is not affected); bring InfluxDB back or raise readings_log.backlog",
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return b.Ledger.Add(ctx, Loss{
		Kind: LossBacklog, Subject: "store/history", Why: p, From: l.Since, To: l.Until, Count: int64(l.Readings),
		Detail: fmt.Sprintf("log sequences %d to %d", l.From, l.To),
	})
}
