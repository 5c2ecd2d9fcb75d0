// Package snapshot makes stills by a ladder of ways, the first that works:
//
//	camera   the camera's own still address, a JPEG by HTTP
//	ffmpeg   the feed's newest key frame, decoded by an ffmpeg child
//	frame    the same key frame as it is, a one-frame MP4, where no ffmpeg works
//
// A key frame counts only while its source is connected and it is not older
// than five seconds or two key-frame intervals, whichever is more. A damaged
// key frame gives no picture at all: a decoder that conceals what is missing
// makes plausible half-grey pictures, and a still is evidence.
package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"log/slog"
	"net"
	"os/exec"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// The steps of the ladder, as a Still names them.
const (
	StepCamera = "camera"
	StepFFmpeg = "ffmpeg"
	StepFrame  = "frame"
)

// Codes of the Problems that say why there is no picture.
const (
	CodeSilent  = "no_picture_silent"  // the camera sends nothing
	CodeWaiting = "no_picture_waiting" // connected, but no key frame yet
	CodeStale   = "no_picture_stale"   // the newest key frame is too old
	CodeDamaged = "no_picture_damaged" // the key frame cannot be decoded
	CodeStill   = "no_picture_still"   // the camera's still address gave none, and there is no stream
)

const (
	leastAge    = 5 * time.Second // a key frame younger than this always counts
	maxPixels   = 64 << 20        // of a picture that is decoded here
	keepResults = time.Minute     // that a key frame's picture is remembered
)

// Config is what all cameras share.
type Config struct {
	Log     *slog.Logger
	FFmpeg  string        // path of ffmpeg; "" looks it up, "none" does without
	Limits  Limits        // of an ffmpeg child
	Timeout time.Duration // for the camera's still address; 5 s

	// Dial opens connections to still addresses; whoever bounds the reachable
	// networks gives it. It defaults to net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// children is how many ffmpeg children run at once: each takes a core.
const children = 2

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Timeout <= 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	switch c.FFmpeg {
	case "none":
		c.FFmpeg = ""
	case "":
		c.FFmpeg, _ = exec.LookPath("ffmpeg")
	}
	c.Limits.setDefaults()
}

// Taker takes stills. It is safe for use by several goroutines.
type Taker struct {
	cfg     Config
	decoder *decoder

	mu    sync.Mutex
	shots map[string]*shot // of each camera, by id
}

// shot is the picture of one key frame, being made or made.
type shot struct {
	frame *streams.Frame
	done  chan struct{}
	still streams.Still
	err   *devices.Problem
	made  time.Time
}

// New gives a taker.
func New(cfg Config) *Taker {
	cfg.setDefaults()
	return &Taker{cfg: cfg, decoder: newDecoder(cfg), shots: map[string]*shot{}}
}

// Take gives a picture of the camera as it is now. feed may be nil when the
// camera has no running source. The error is a *devices.Problem that says why
// there is no picture, or ctx's cause.
func (t *Taker) Take(ctx context.Context, camera devices.Camera, feed *streams.Feed) (streams.Still, error) {
	var refused error
	if camera.StillURL != "" {
		still, err := t.fetch(ctx, camera)
		if err == nil {
			return still, nil
		}
		if ctx.Err() != nil {
			return streams.Still{}, context.Cause(ctx)
		}
		refused = err
		t.cfg.Log.Warn("still address gave no picture", "camera", camera.ID, "err", err)
	}
	frame, why := current(feed, time.Now())
	if why != nil {
		if refused != nil && feed == nil {
			why = &devices.Problem{Kind: devices.ErrUnavailable, Code: CodeStill, Field: "still_url", ZH: "无图像：抓拍地址没有给出图片，请核对地址、用户名和密码", EN: "no picture: the still address gave none; check address, user name and password"}
		}
		why.Cause = errors.Join(why.Cause, refused)
		return streams.Still{}, why
	}
	still, err := t.shoot(ctx, camera.ID, frame)
	if err != nil {
		return streams.Still{}, err
	}
	return still, nil
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

// beijing is the zone of every time that people read (UTC+8, no daylight saving).
var beijing = time.FixedZone("", 8*60*60)

func clock(t time.Time) string { return t.In(beijing).Format("2006-01-02 15:04:05") }

// shoot gives the picture of the key frame, made once however many ask.
func (t *Taker) shoot(ctx context.Context, camera string, frame *streams.Frame) (streams.Still, error) {
	for {
		s, mine := t.claim(camera, frame)
		if mine {
			s.still, s.err = t.make(ctx, frame)
			aborted := ctx.Err() != nil
			t.settle(camera, s, aborted)
			if aborted {
				return streams.Still{}, context.Cause(ctx)
			}
			return s.result()
		}
		select {
		case <-s.done:
		case <-ctx.Done():
			return streams.Still{}, context.Cause(ctx)
		}
		if !s.made.IsZero() {
			return s.result()
		}
		// Whoever made it gave up; try again.
	}
}

func (s *shot) result() (streams.Still, error) {
	if s.err != nil {
		return streams.Still{}, s.err
	}
	return s.still, nil
}

// claim gives the shot of frame, and whether the caller has to make it.
func (t *Taker) claim(camera string, frame *streams.Frame) (s *shot, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, old := range t.shots { // so that retired cameras hold nothing
		if !old.made.IsZero() && time.Since(old.made) > keepResults {
			delete(t.shots, id)
		}
	}
	if s := t.shots[camera]; s != nil && s.frame == frame {
		return s, false
	}
	s = &shot{frame: frame, done: make(chan struct{})}
	t.shots[camera] = s
	return s, true
}

// settle publishes the shot to those who wait; an aborted one is forgotten.
func (t *Taker) settle(camera string, s *shot, aborted bool) {
	t.mu.Lock()
	if !aborted {
		s.made = time.Now()
	} else if t.shots[camera] == s {
		delete(t.shots, camera)
	}
	t.mu.Unlock()
	close(s.done)
}

// make decodes the frame, or packs it where nothing decodes.
func (t *Taker) make(ctx context.Context, frame *streams.Frame) (streams.Still, *devices.Problem) {
	still := streams.Still{At: frame.At, Width: frame.Params.Width, Height: frame.Params.Height}
	picture, err := t.decoder.jpeg(ctx, frame)
	if err == nil {
		err = check(picture, frame.Params)
	}
	if err == nil {
		still.JPEG, still.Step = picture, StepFFmpeg
		return still, nil
	}
	if errors.Is(err, errDamaged) {
		at := clock(frame.At)
		return streams.Still{}, none(CodeDamaged, at+" 的关键帧已损坏，无法解码；请检查摄像机与网络", "the key frame of "+at+" is damaged and cannot be decoded; check the camera and the network", err)
	}
	if ctx.Err() == nil && !errors.Is(err, errNoDecoder) {
		t.cfg.Log.Warn("decoder failed; the still is an undecoded frame", "err", err)
	}
	still.Frame, err = packFrame(frame)
	if err != nil {
		return streams.Still{}, none(CodeDamaged, "关键帧无法封装", "the key frame cannot be packed", err)
	}
	still.Step = StepFrame
	return still, nil
}

// check decodes the picture: what cannot be decoded, has another size than the
// stream says or holes is no evidence.
func check(picture []byte, want *streams.Parameters) error {
	img, err := decodeJPEG(picture)
	if err != nil {
		return fmt.Errorf("%w: %w", errDamaged, err)
	}
	if b := img.Bounds(); b.Dx() != want.Width || b.Dy() != want.Height {
		return fmt.Errorf("%w: picture of %dx%d, stream of %dx%d", errDamaged, b.Dx(), b.Dy(), want.Width, want.Height)
	}
	if at, found := hole(img); found {
		return fmt.Errorf("%w: nothing was decoded at %v", errDamaged, at)
	}
	return nil
}

// decodeJPEG decodes a JPEG whole, within bounds.
func decodeJPEG(picture []byte) (image.Image, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	if c.Width < 1 || c.Height < 1 || c.Width > maxPixels/c.Height {
		return nil, fmt.Errorf("read JPEG: picture of %dx%d", c.Width, c.Height)
	}
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	return img, nil
}

// hole finds a place that no slice covered. ffmpeg's H.265 decoder does not
// miss a slice that is missing whole, whatever -err_detect says (measured with
// 5.1): its blocks stay zero in brightness and both colours, which no real
// colour is, since black has its colours in the middle. Blocks have 16 pixels
// at least (H.265, 7.4.3.2.1).
func hole(img image.Image) (at image.Point, found bool) {
	const block, zero = 16, 12 // a JPEG's rounding leaves some noise
	p, ok := img.(*image.YCbCr)
	if !ok {
		return image.Point{}, false
	}
	for y := p.Rect.Min.Y + block/2; y < p.Rect.Max.Y; y += block {
		for x := p.Rect.Min.X + block/2; x < p.Rect.Max.X; x += block {
			c := p.COffset(x, y)
			if p.Y[p.YOffset(x, y)] <= zero && p.Cb[c] <= zero && p.Cr[c] <= zero {
				return image.Pt(x, y), true
			}
		}
	}
	return image.Point{}, false
}
