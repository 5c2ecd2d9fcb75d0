package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/payload"
	"offsite/devices/networks"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/edge/alerts"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/cameras"
	"offsite/edge/dispatch"
	"offsite/edge/evidence"
	"offsite/edge/field"
	"offsite/edge/footage"
	"offsite/edge/health"
	"offsite/edge/history"
	"offsite/edge/intake"
	"offsite/edge/ledger"
	"offsite/edge/letters"
	"offsite/edge/memory"
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/edge/ptz"
	"offsite/edge/recorders"
	"offsite/edge/recordings"
	"offsite/edge/relay"
	"offsite/edge/scenes"
	"offsite/edge/upkeep"
	"offsite/streams"
	"offsite/streams/onvif"
	"offsite/streams/rtsp"
	"offsite/streams/snapshot"
	"offsite/streams/snapshot/decoder"
	"offsite/streams/whep"
	"offsite/timeseries/spool"
)

// Box is the whole site, composed: what the gateway serves to people and
// programs it reads here.
type Box struct {
	DB         *state.DB
	Registry   *registry.Registry
	Audit      *audit.Log
	Ledger     *ledger.Ledger
	Letters    *letters.Office
	Events     *breach.Engine
	Outbox     *outbox.Outbox
	Vault      *evidence.Vault
	Evidence   *evidence.Collector
	Broker     *broker.Broker
	Loggers    *hj212.Host // nil where none listens
	Pipeline   *intake.Pipeline
	History    *history.History
	Live       *Live
	Board      *field.Board
	Cameras    *cameras.Feeds
	PTZ        *ptz.Room
	Alerts     *alerts.Room
	Recordings *recordings.Recordings
	Recorders  *recorders.Recorders // what they keep of cameras
	Footage    *footage.Footage     // both, for who asks for an interval
	References *scenes.References   // what cameras ought to show
	WebRTC     *whep.Server

	cfg         Config
	version     string
	started     time.Time
	logger      *slog.Logger
	openers     map[string]devices.Opener
	formats     payload.Formats
	guard       *networks.Guard // of cameras
	disk        vfs.FS          // of the readings' store; nil is the machine's own, tests give others
	notices     *notice.Board
	clerk       *ledger.Clerk
	upkeep      *upkeep.Book
	health      *health.Tracker
	platform    *dispatch.Client
	relay       *relay.Relay                    // of pictures that go out
	hosts       *relay.Hosts                    // whereto
	memory      *memory.Watch                   // sends away who watches
	group       *memory.Group                   // that bounds the memory; nil: none does
	referred    chan struct{}                   // told of a reference that a person has set
	replaced    replaced                        // presets of cameras
	recording   chan struct{}                   // closed when the log can first be written
	undelivered atomic.Int32                    // tries to deliver since the last that succeeded
	contact     atomic.Pointer[dispatch.Report] // the platform's last coming or going
	clockSet    atomic.Pointer[time.Time]       // when the clock was set last; nil: never since the start
	readings    atomic.Pointer[openReadings]    // nil while the store is closed
}

// Parts is what the Box is given besides its configuration.
type Parts struct {
	Version string                    // of the program, for the platform
	Openers map[string]devices.Opener // by driver, those of the embedded broker apart
	Formats payload.Formats           // of MQTT payloads, besides JSON
	Guard   *networks.Guard           // opens the connections to cameras; nil lets them be anywhere
	Log     *slog.Logger
}

// Open opens the state in cfg.State and composes the site. Nothing runs, and
// nothing is dialled or listened to, before Run.
func Open(ctx context.Context, cfg Config, parts Parts) (_ *Box, err error) {
	if parts.Log == nil {
		parts.Log = slog.New(slog.DiscardHandler)
	}
	if parts.Guard == nil {
		if parts.Guard, err = networks.New(networks.Config{Allowed: networks.Everywhere}); err != nil {
			return nil, err
		}
	}
	b := &Box{
		cfg: cfg, version: parts.Version, started: time.Now(), logger: parts.Log, openers: parts.Openers, formats: parts.Formats, guard: parts.Guard,
		Live: newLive(), History: &history.History{}, recording: make(chan struct{}), referred: make(chan struct{}, 1),
	}
	b.group = memory.Around()
	b.notices = notice.NewBoard(func() { b.Live.Tell(Update{Notices: true}) })
	if b.DB, err = state.Open(ctx, state.Config{Dir: cfg.State, Log: b.logger, Remains: []string{"readings", "evidence", "recordings"}}); err != nil {
		return nil, err
	}
	if err := b.openState(ctx); err != nil {
		return nil, fmt.Errorf("open state in %s: %w", cfg.State, joinClose(err, b.DB))
	}
	if err := errors.Join(b.openRoads(ctx), b.tellRestored(ctx, time.Now())); err != nil {
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
	if b.Ledger, err = ledger.Open(ctx, b.DB); err != nil {
		return err
	}
	if b.health, err = health.Open(ctx, b.DB, b.logger); err != nil {
		return err
	}
	if b.upkeep, err = upkeep.Open(ctx, b.DB, b.lapsed); err != nil {
		return err
	}
	if b.Events, err = breach.Open(ctx, b.DB, breach.Config{Directory: directory{b.Registry, b.upkeep}}); err != nil {
		return err
	}
	if b.References, err = scenes.Open(ctx, b.DB); err != nil {
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
	b.Evidence, err = evidence.Open(ctx, b.DB, b.Vault, b.collection())
	return err
}

// openRoads composes the roads of readings and frames and the platform's client.
func (b *Box) openRoads(ctx context.Context) (err error) {
	b.Pipeline = intake.New(intake.Config{
		Tolerance: b.cfg.Clock.Tolerance.D(), Warn: b.clockWarned, Refresh: b.Live.Refresh,
		Point: func(id string) *devices.Point { return b.Registry.Snapshot().Points[id] },
	})
	b.clerk = ledger.NewClerk(b.Ledger, b.Pipeline.Stamp, b.logger)
	if b.Letters, err = letters.Open(ctx, b.DB, letters.Config{
		Registry: b.Registry, Formats: b.formats, Accept: b.Pipeline.Accept, History: b.History,
	}); err != nil {
		return err
	}
	b.Board = field.NewBoard(b.clerk, func(d field.Status) { b.Live.Tell(Update{Device: &d}) }, b.logger)
	b.WebRTC = whep.New(b.cfg.Video.WebRTC, b.logger)
	control := onvif.Config{Dial: b.guard.Dial}
	steering := ptz.By(b.DB, b.Registry, control, b.logger)
	steering.Replaced, steering.Settle = b.presetReplaced, b.cfg.Video.Watch.Settle.D()
	if b.PTZ, err = ptz.Open(ctx, steering); err != nil {
		return err
	}
	b.Alerts = alerts.New(alerts.Config{Book: recognised{b}, Registry: b.Registry, ONVIF: control, Changed: b.cameraChanged, Log: b.logger})
	b.Cameras = cameras.New(cameras.Config{
		ONVIF:  control,
		WebRTC: b.WebRTC,
		RTSP:   rtsp.Config{Log: b.logger, Dial: b.guard.Dial}, Feed: streams.FeedConfig{Ring: b.cfg.Video.Ring.D(), Spare: new(streams.Spare)},
		Taker: snapshot.New(snapshot.Config{
			FFmpeg: b.cfg.Video.FFmpeg, Decoder: b.cfg.Video.Decoder, Log: b.logger, Dial: b.guard.Dial,
			Module: decoder.Config{Module: b.cfg.Video.DecoderModule, Cache: filepath.Join(b.cfg.State, "decoder")},
		}),
		Places: devices.Places{Resolve: b.guard.Resolve, Allow: b.guard.Allow},
		Notes:  b.clerk, Show: func(c cameras.Status) { b.Live.Tell(Update{Camera: &c}) }, Log: b.logger,
	})
	if err = b.openRecordings(ctx); err != nil {
		return err
	}
	if err = b.openRecorders(ctx); err != nil {
		return err
	}
	if err = b.openFootage(ctx); err != nil {
		return err
	}
	if b.Broker, err = b.openBroker(); err != nil {
		return err
	}
	if err = b.openLoggers(); err != nil {
		return err
	}
	if err = b.openRelay(); err != nil {
		return err
	}
	b.memory = memory.New(memory.Config{
		Viewers: b.Cameras.Shed, Platform: b.relay.Shed, Notice: func(p *devices.Problem) { b.notices.Set(notice.Memory, p) }, Log: b.logger,
	})
	b.platform, err = b.openPlatform(ctx)
	return err
}

func joinClose(err error, db *state.DB) error {
	if closing := db.Close(); closing != nil {
		return fmt.Errorf("%w (and closing: %w)", err, closing)
	}
	return err
}

// Close closes the state. Run has returned.
func (b *Box) Close() error {
	return errors.Join(b.Recordings.Close(), b.Recorders.Close(), b.DB.Close())
}

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
	keep("backup", time.Hour, b.DB.KeepBackup)
	keep("evidence", 10*time.Second, func(ctx context.Context) error { return b.Evidence.Run(ctx, b.Cameras, b.tellEvidence) })
	keep("retention", 10*time.Minute, b.retainEvidence)
	keep("recordings", 30*time.Second, b.Recordings.Run)
	keep("recorders", 30*time.Second, b.Recorders.Run)
	keep("outbox", 10*time.Second, func(ctx context.Context) error { return b.Outbox.Run(ctx, b.deliver) })
	keep("relay", 5*time.Second, b.relay.Run)
	keep("platform", 30*time.Second, func(ctx context.Context) error { return b.platform.Run(ctx, platformSite{b}) })
	g.Go(func() error { return b.watchMachine(later) })
	if b.group != nil {
		g.Go(func() error { return b.memory.Run(later, b.group) })
	}
	g.Go(func() error { return b.clerk.Run(later) })
	g.Go(func() error { return b.health.Run(later) })
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
	into := sink{b, ctx}
	strays := field.NewStrays(b.clerk, b.Broker, nil)
	cfg := field.Config{
		Registry: b.Registry, Openers: b.openers, Broker: b.Broker, Cameras: b.Cameras, Sink: into, Board: b.Board, Changed: b.changed, Log: b.logger,
		Supervise: b.supervisor(time.Second, time.Minute),
	}
	g, ctx := errgroup.WithContext(ctx)
	listen := b.supervisor(time.Second, 30*time.Second)
	if b.Loggers != nil {
		cfg.Loggers, strays = b.Loggers, field.NewStrays(b.clerk, b.Broker, b.Loggers)
		g.Go(func() error { return listen(ctx, "hj212", b.runLoggers) })
	}
	g.Go(func() error { return listen(ctx, "broker", b.runBroker) })
	g.Go(func() error { return listen(ctx, "webrtc", b.runWebRTC) })
	g.Go(func() error { return b.watchClock(ctx) })
	g.Go(func() error { return field.NewAgent(cfg).Run(ctx) })
	g.Go(func() error { return b.Board.Run(ctx) })
	g.Go(func() error { return b.PTZ.Run(ctx) })
	g.Go(func() error { return listen(ctx, "alerts", b.Alerts.Run) })
	g.Go(func() error { return strays.Run(ctx) })
	g.Go(func() error { return b.watchHealth(ctx) })
	g.Go(func() error { return listen(ctx, "scenes", b.watchScenes) })
	return g.Wait()
}

// supervisor gives the Supervise of tasks that are named, with such a pause.
func (b *Box) supervisor(least, most time.Duration) func(ctx context.Context, name string, task func(context.Context) error) error {
	return func(ctx context.Context, name string, task func(context.Context) error) error {
		return Supervise(ctx, b.logger.With("task", name), BackOff(least, most), task)
	}
}

// changed shows watchers that the registry is not what it was.
func (b *Box) changed(s *registry.Snapshot) {
	b.Live.keep(s.Points)
	b.Live.Tell(Update{Changed: true})
}

// sink is where the drivers leave what they read.
type sink struct {
	*Box
	acquiring context.Context // ended: the gateway stops, and no device is to blame
}

func (s sink) Accept(d devices.Delivery, done func(error)) {
	s.Board.Heard(d.Origin.Device, d.Received)
	s.health.Delivered(&d)
	s.upkeep.Mark(&d)
	s.Pipeline.Accept(d, done)
}

func (s sink) Report(r devices.Report) {
	if s.acquiring.Err() == nil {
		s.Board.Report(r)
	}
}

func (s sink) Polled(p devices.Poll) { s.health.Polled(p) }

func (s sink) Answered(device string, took time.Duration) { s.health.Answered(device, took) }

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
	return b.Ledger.Add(ctx, ledger.Loss{
		Kind: ledger.LossBacklog, Subject: "store/history", Why: p, From: l.Since, To: l.Until, Count: int64(l.Readings),
		Detail: fmt.Sprintf("log sequences %d to %d", l.From, l.To),
	})
}

// clockWarned tells of readings that claimed a time in the future.
func (b *Box) clockWarned(device string, at time.Time, count int64, p *devices.Problem) {
	b.clerk.Tell(ledger.Loss{Kind: ledger.LossClock, Subject: "device/" + device, Why: p, From: at, To: at, Count: count})
}

// Notices gives what holds about the gateway itself, by name.
func (b *Box) Notices() []notice.Notice { return b.notices.List() }
