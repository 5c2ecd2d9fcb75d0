// Package snapshot makes stills by a ladder of ways, the first that works:
//
//	camera   the camera's own still address, a JPEG by HTTP
//	mjpeg    the feed's newest picture, where the camera sends JPEGs
//	ffmpeg   the feed's newest key frame, decoded by an ffmpeg child
//	sandbox  the same key frame, decoded by libavcodec as a WebAssembly module
//	frame    the same key frame as it is, a one-frame MP4, where nothing decodes
//
// By configuration ffmpeg is left out: the module costs no process, needs nothing
// installed and nothing can break out of it. ffmpeg children are confined by
// what the system offers; confine_linux.go names it.
//
// [Taker.Moment] gives the picture of a moment that has been, from what the feed
// still holds. Where the nearest key frame is far, all from the one before the moment
// is decoded, to the very frame or as near as there is time for; a still's own time
// tells how near that is. Where a frame on the way is damaged or was lost ([streams.Frame], Broken)
// the last one before it is taken, or the next key frame where that is nearer, and the still says why.
//
// A still address is asked once however many want its picture at the same time. One
// that refuses user and password is not asked again before they change or
// [Taker.AskAgain], for cameras lock accounts; the ladder goes on below.
//
// A key frame counts only while its source is connected and it is not older
// than five seconds or two key-frame intervals, whichever is more. A damaged
// key frame gives no picture at all: a decoder that conceals what is missing
// makes plausible half-grey pictures, and a still is evidence.
package snapshot

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot/decoder"
)

// The steps of the ladder, as a Still names them.
const (
	StepCamera  = "camera"
	StepMJPEG   = "mjpeg"
	StepFFmpeg  = "ffmpeg"
	StepSandbox = "sandbox"
	StepFrame   = "frame"
)

// Codes of the Problems that say why there is no picture.
const (
	CodeSilent   = "no_picture_silent"   // the camera sends nothing
	CodeWaiting  = "no_picture_waiting"  // connected, but no key frame yet
	CodeStale    = "no_picture_stale"    // the newest key frame is too old
	CodeDamaged  = "no_picture_damaged"  // the key frame cannot be decoded
	CodeRefused  = "no_picture_refused"  // the picture is too large, or of a format that nothing here decodes
	CodeDecoder  = "no_picture_decoder"  // the decoder failed: its time or memory ran out, or a fault of its own
	CodePassword = "no_picture_password" // the camera's still address refused the password, and there is no stream
	CodeStill    = "no_picture_still"    // the camera's still address gave none, and there is no stream
)

const (
	leastAge    = 5 * time.Second // a key frame younger than this always counts
	keepResults = time.Minute     // that a key frame's picture is remembered
	keepFetched = 2 * time.Second // that a still address's picture serves screens
	atOnce      = 2               // pictures decoded at once: each takes a core
)

// Which decoders are used.
const (
	Auto    = "auto"    // an ffmpeg child where ffmpeg is found, else the module
	Sandbox = "sandbox" // the module alone
)

// Config is what all cameras share.
type Config struct {
	Log     *slog.Logger
	Decoder string         // Auto, the default, or Sandbox
	FFmpeg  string         // path of ffmpeg; "" looks it up, "none" does without
	Limits  Limits         // of an ffmpeg child
	Module  decoder.Config // the embedded decoder's bounds, its cache, and another file for it
	Timeout time.Duration  // for the camera's still address; 5 s

	// Patience is how long the turn and the decoding of a group may take before a key frame
	// has to do; 5 s.
	Patience time.Duration

	// Dial opens connections to still addresses; whoever bounds the reachable
	// networks gives it. It defaults to net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Patience <= 0 {
		c.Patience = 5 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	switch {
	case c.FFmpeg == "none" || c.Decoder == Sandbox:
		c.FFmpeg = ""
	case c.FFmpeg == "":
		c.FFmpeg, _ = exec.LookPath("ffmpeg")
	}
	c.Limits.setDefaults()
}

// Taker takes stills. It is safe for use by several goroutines.
type Taker struct {
	cfg    Config
	ffmpeg *child // nil without ffmpeg
	module *decoder.Decoder
	turn   *semaphore.Weighted // of those who decode
	group  *semaphore.Weighted // of those of them who decode more than a key frame

	mu      sync.Mutex
	shots   map[view]*shot
	refused map[string]showing // by camera: what its still address refused last
	hurt    error              // of the ffmpeg child that failed by itself, until one works
}

// New gives a taker.
func New(cfg Config) *Taker {
	cfg.setDefaults()
	t := &Taker{
		cfg: cfg, module: decoder.New(cfg.Module), turn: semaphore.NewWeighted(atOnce), group: semaphore.NewWeighted(1), shots: map[view]*shot{}, refused: map[string]showing{},
	}
	if cfg.FFmpeg != "" {
		t.ffmpeg = &child{path: cfg.FFmpeg, limits: cfg.Limits, log: cfg.Log}
	}
	return t
}

// Rung gives the step that decodes H.264 and H.265 now, StepFFmpeg, StepSandbox or
// StepFrame, and why it is not a higher one; nil when that is as configured.
func (t *Taker) Rung() (step string, why error) {
	t.mu.Lock()
	hurt := t.hurt
	t.mu.Unlock()
	if t.ffmpeg != nil && hurt == nil {
		return StepFFmpeg, nil
	}
	if err := t.module.Usable(); err != nil {
		return StepFrame, errors.Join(hurt, err)
	}
	return StepSandbox, hurt
}

// Take gives a picture of the camera as it is now. feed may be nil when the
// camera has no running source. The error is a *devices.Problem that says why
// there is no picture, or ctx's cause.
func (t *Taker) Take(ctx context.Context, camera devices.Camera, feed *streams.Feed) (streams.Still, error) {
	return t.take(ctx, camera, feed, 0, 0)
}

// TakeSized is Take for a screen: a picture is made smaller to the next of a few
// widths that is at least width pixels, zero is the whole picture, and what a
// still address gave serves all screens for two seconds.
func (t *Taker) TakeSized(ctx context.Context, camera devices.Camera, feed *streams.Feed, width int) (streams.Still, error) {
	return t.take(ctx, camera, feed, keepFetched, width)
}

func (t *Taker) take(ctx context.Context, camera devices.Camera, feed *streams.Feed, life time.Duration, width int) (streams.Still, error) {
	var refused error
	if camera.StillURL != "" {
		still, err := t.fetched(ctx, camera, life, width)
		if err == nil {
			return still, nil
		}
		if ctx.Err() != nil {
			return streams.Still{}, context.Cause(ctx)
		}
		refused = err
	}
	frame, why := current(feed, time.Now())
	if why != nil {
		if refused != nil && feed == nil {
			why = noStill(refused)
		}
		why.Cause = errors.Join(why.Cause, refused)
		return streams.Still{}, why
	}
	still, err := t.shoot(ctx, view{camera.ID, frame.Params}, frame, width)
	still.Clock = feed.State().Clock
	return still, err
}

// noStill says what the still address was asked in vain for.
func noStill(refused error) *devices.Problem {
	if errors.Is(refused, errPassword) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: CodePassword, Field: "password",
			ZH: "无图像：抓拍地址拒绝了用户名或密码；为免锁定摄像机账号，已停止询问，请修改用户名和密码，或改好摄像机后点“重试”",
			EN: "no picture: the still address refused user name or password; it is not asked again, so that the camera does not lock the account, until they are changed or the camera is retried",
		}
	}
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: CodeStill, Field: "still_url", ZH: "无图像：抓拍地址没有给出图片，请核对地址、用户名和密码", EN: "no picture: the still address gave none; check address, user name and password"}
}

// current gives the key frame that shows the camera as it is at now, or says
// why there is none.
func current(feed *streams.Feed, now time.Time) (*streams.Frame, *devices.Problem) {
	if feed == nil {
		return nil, none(CodeSilent, "摄像机未启用", "the camera is not in use", nil)
	}
	s := feed.State()
	if !s.Connected {
		since, cause := s.LastFrame, error(nil)
		if since.IsZero() {
			since = feed.Opened()
		}
		zh, en := "摄像机自 "+clock(since)+" 起无信号", "camera silent since "+clock(since)
		if s.Problem != nil {
			zh, en, cause = zh+"（"+s.Problem.ZH+"）", en+" ("+s.Problem.EN+")", s.Problem
		}
		return nil, none(CodeSilent, zh, en, cause)
	}
	key := feed.Key()
	if key == nil || key.Connection != s.Connections {
		return nil, none(CodeWaiting, "摄像机刚连接，尚未收到关键帧，请稍后再试", "the camera has just connected and sent no key frame yet; try again soon", nil)
	}
	if age := now.Sub(key.At); age > max(leastAge, 2*s.KeyInterval) {
		at := clock(key.At)
		return nil, none(CodeStale, "最近的关键帧在 "+at+"，已过时；请缩短摄像机的关键帧间隔", "the newest key frame is of "+at+" and too old; shorten the camera's key frame interval", nil)
	}
	return key, nil
}

func none(code, zh, en string, cause error) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrUnavailable, Code: code, ZH: "无图像：" + zh, EN: "no picture: " + en, Cause: cause}
}

func clock(t time.Time) string { return t.In(devices.Beijing).Format("2006-01-02 15:04:05") }
