package memory

import (
	"context"
	"log/slog"
	"time"

	"offsite/devices"
)

const watchEvery = time.Second

// When live pictures go, of the memory that the group may take, and when they come
// back. Who watches at the site or by RTSP goes first: it is most of the viewers, each can
// come back by itself, and the notice on every page tells why. What the platform has
// ordered is an act of supervision with an officer and a purpose, four streams at most,
// whose end is told to the platform; it goes when the first was not enough.
const (
	viewersShort, viewersEased   = 0.90, 0.80
	platformShort, platformEased = 0.95, 0.85
)

var (
	viewersAway = &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "memory_short",
		ZH: "内存不足，实时画面与 RTSP 转发已暂停，读数、判定、证据与录像不受影响；内存恢复后可重新打开，请增加内存上限或减少摄像机缓存时长 video.ring",
		EN: "memory is short: live pictures and RTSP have stopped, so that readings, judgement, evidence and recordings do not suffer; they can be opened again when there is memory, give the gateway more of it or a shorter video.ring",
	}
	platformAway = &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "memory_short",
		ZH: "内存严重不足，实时画面、RTSP 转发与监管平台调阅均已暂停，读数、判定、证据与录像不受影响；内存恢复后可重新打开，请增加内存上限或减少摄像机缓存时长 video.ring",
		EN: "memory is very short: live pictures, RTSP and the platform's streams have stopped, so that readings, judgement, evidence and recordings do not suffer; they can be opened again when there is memory, give the gateway more of it or a shorter video.ring",
	}
)

// Config says who is sent away. Viewers and Platform send everybody of their kind away
// and let nobody in for the reason given, until they are called with nil.
type Config struct {
	Viewers  func(why *devices.Problem)
	Platform func(why *devices.Problem)
	Notice   func(why *devices.Problem) // tells everybody; nil: it is over
	Log      *slog.Logger
}

// Watch sends those away who can do without pictures before memory ends, so that
// readings, judgement and evidence have what there is.
type Watch struct {
	cfg   Config
	steps [2]step // the first that go first
}

// step is those who are sent away together.
type step struct {
	name         string
	short, eased float64
	why          *devices.Problem
	shed         func(why *devices.Problem)
	held         bool
}

// New gives a Watch that has sent nobody away.
func New(cfg Config) *Watch {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Watch{cfg: cfg, steps: [2]step{
		{name: "viewers", short: viewersShort, eased: viewersEased, why: viewersAway, shed: cfg.Viewers},
		{name: "platform", short: platformShort, eased: platformEased, why: platformAway, shed: cfg.Platform},
	}}
}

// Run looks at what the group takes once a second until ctx ends.
func (w *Watch) Run(ctx context.Context, group *Group) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if use, err := group.Use(); err == nil { // what cannot be measured sheds nothing
			w.Look(use.Share())
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Look does what is to be done where so much of the memory is in use. It is for one
// goroutine.
func (w *Watch) Look(used float64) {
	before := w.why()
	for i := range w.steps {
		s := &w.steps[i]
		switch {
		case !s.held && used >= s.short:
			s.held = true
			s.shed(s.why)
			w.cfg.Log.Warn("live pictures are shed: memory is short", "whose", s.name, "used", used)
		case s.held && used < s.eased:
			s.held = false
			s.shed(nil)
			w.cfg.Log.Info("live pictures may go on", "whose", s.name, "used", used)
		}
	}
	if now := w.why(); now != before {
		w.cfg.Notice(now)
	}
}

// why is the reason of the last step that holds, nil where none does.
func (w *Watch) why() (why *devices.Problem) {
	for _, s := range w.steps {
		if s.held {
			why = s.why
		}
	}
	return why
}
