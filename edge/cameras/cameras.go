// Package cameras keeps the feed of every registered camera: its connection,
// its live picture, its stills and its clips come from here.
package cameras

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/streams"
	"offsite/streams/fmp4"
	"offsite/streams/hls"
	"offsite/streams/onvif"
	"offsite/streams/rtsp"
	"offsite/streams/snapshot"
	"offsite/streams/whep"
)

// Status tells how a camera fares.
type Status struct {
	Camera string // camera id
	streams.State
}

// notes is the ledger of losses as this room needs it; nothing of it waits for
// a disk. See edge/ledger.
type notes interface {
	Miss(subject string, at time.Time, why *devices.Problem)
	End(subject string, at time.Time)
}

// Config of the Feeds.
type Config struct {
	RTSP   rtsp.Config
	ONVIF  onvif.Config
	Feed   streams.FeedConfig
	HLS    hls.Config
	WebRTC *whep.Server
	Taker  *snapshot.Taker
	Places devices.Places // where cameras may be, for probes
	Notes  notes
	Show   func(Status)                     // called with every change, one at a time; it must not call back
	Pause  func(failures int) time.Duration // before a camera is tried again; 1 s doubling to 1 min, drawn from the upper half
	Grace  time.Duration                    // that a camera is still pulled for after the last viewer has left; 30 s
	Log    *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Pause == nil {
		c.Pause = func(failures int) time.Duration {
			d := min(time.Minute, time.Second<<min(failures, 6))
			return d/2 + rand.N(d/2+1)
		}
	}
	if c.Grace <= 0 {
		c.Grace = 30 * time.Second
	}
	if c.Taker == nil {
		c.Taker = snapshot.New(snapshot.Config{Log: c.Log})
	}
	if c.WebRTC == nil {
		c.WebRTC = whep.New(whep.Config{}, nil) // it does not run
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Feeds keeps the feed of every registered camera. The field's agent runs one
// task for each, which is started again after a failure.
type Feeds struct {
	cfg Config

	mu      sync.Mutex
	list    map[string]*camera
	short   *devices.Problem                      // why nobody may watch live; nil: everybody may
	viewers map[uint64]func(why *devices.Problem) // send them away
	viewed  uint64                                // viewers so far
}

// New gives Feeds without a camera.
func New(cfg Config) *Feeds {
	cfg.setDefaults()
	return &Feeds{cfg: cfg, list: map[string]*camera{}, viewers: map[uint64]func(*devices.Problem){}}
}

// camera is one camera's feeds, which outlive their connections.
type camera struct {
	thing  devices.Camera
	stream         // the main one
	sub    *stream // another one once its address has been taken away
	hold   func()  // ends the hold on the main stream that is always pulled; nil: on demand
	told   string  // what was shown last
	shows  string  // address that the main stream's frames are of
}

// stream is a feed and its live picture.
type stream struct {
	feed  *streams.Feed
	live  *fmp4.Muxer
	hls   *hls.Muxer
	track *whep.Track
	retry chan struct{} // asks for an attempt now; has room for one
}

func newStream(cfg streams.FeedConfig, segments hls.Config) stream {
	feed := streams.NewFeed(cfg)
	return stream{feed, fmp4.New(feed, fmp4.Config{}), hls.New(feed, segments), whep.NewTrack(feed), make(chan struct{}, 1)}
}

// subRing is the ring of a sub-stream, from which no evidence is taken.
const subRing = 2 * time.Second

// in gives the stream of a profile: the main one where there is no other.
func (c *camera) in(p devices.Profile) *stream {
	if p == devices.SubProfile && c.thing.SubURL != "" {
		return c.sub
	}
	return &c.stream
}

// of gives the camera with this id.
func (f *Feeds) of(id string) (*camera, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	cam := f.list[id]
	if cam == nil {
		return nil, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "no_camera", ZH: "没有编号为 " + id + " 的摄像机", EN: "there is no camera " + id,
		}
	}
	return cam, nil
}

// Task gives what is supervised for a camera: it pulls its streams as they are
// wanted until ctx ends. Who views a sub-stream that the camera has no longer is
// sent away, and finds the main one when they come again.
func (f *Feeds) Task(thing devices.Camera) func(context.Context) error {
	f.mu.Lock()
	cam := f.list[thing.ID]
	if cam == nil {
		cam = &camera{stream: newStream(f.cfg.Feed, f.cfg.HLS), sub: f.newSub()}
		f.list[thing.ID] = cam
	}
	if thing.SubURL == "" && cam.thing.SubURL != "" {
		cam.sub.feed.Close()
		cam.sub = f.newSub()
	}
	cam.thing = thing
	sub := cam.sub
	f.mu.Unlock()
	return func(ctx context.Context) error { return f.run(ctx, cam, sub, thing) }
}

func (f *Feeds) newSub() *stream {
	small := f.cfg.Feed
	small.Ring = subRing
	s := newStream(small, f.cfg.HLS)
	return &s
}

// Keep drops the feeds of cameras that are no longer registered, holds those
// that are always pulled, and takes over what has changed of an entry whose streams
// are pulled as before.
func (f *Feeds) Keep(s *registry.Snapshot) {
	limited := map[string]bool{} // outlets that have limits
	for id, point := range s.Points {
		limited[point.Outlet()] = limited[point.Outlet()] || len(s.LimitsOf(id)) > 0
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, cam := range f.list {
		thing := s.Cameras[id]
		if thing == nil {
			cam.feed.Close()
			cam.sub.feed.Close()
			f.cfg.Notes.End("camera/"+id, time.Now())
			f.cfg.Taker.AskAgain(id)
			delete(f.list, id)
			continue
		}
		cam.thing = *thing
		switch always := pulledAlways(thing, limited); {
		case always && cam.hold == nil:
			cam.hold = cam.feed.Hold()
		case !always && cam.hold != nil:
			cam.hold()
			cam.hold = nil
		}
	}
}

// pulledAlways says whether the camera's pictures may be wanted as evidence of
// what has been already.
func pulledAlways(cam *devices.Camera, limited map[string]bool) bool {
	if cam.Pull != "" {
		return cam.Pull == devices.PullAlways
	}
	return slices.ContainsFunc(cam.Outlets, func(outlet string) bool { return limited[outlet] })
}

// tell shows how the camera fares, and notes it in the ledger, where that has
// changed.
func (f *Feeds) tell(cam *camera) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := cam.thing.ID
	st := cam.feed.State()
	if f.list[id] != cam || (!st.Connected && !st.Idle && st.Problem == nil) {
		return // retired, or the first attempt is still under way
	}
	now := fmt.Sprint(st.Connected, st.Idle, st.Halted, codes(st))
	if now == cam.told {
		return
	}
	at := st.Since
	if cam.told != "" && !st.Connected { // away as before, for another reason
		at = time.Now()
	}
	cam.told = now
	if st.Problem == nil {
		f.cfg.Notes.End("camera/"+id, at)
	} else {
		f.cfg.Notes.Miss("camera/"+id, at, st.Problem)
	}
	f.cfg.Show(Status{Camera: id, State: st})
}

// codes names what is wrong.
func codes(st streams.State) []string {
	var list []string
	if st.Problem != nil {
		list = append(list, st.Problem.Code)
	}
	for _, w := range st.Warnings {
		list = append(list, w.Code)
	}
	return list
}

// Status gives every camera's status, by id.
func (f *Feeds) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Status, 0, len(f.list))
	for id, cam := range f.list {
		list = append(list, Status{Camera: id, State: cam.feed.State()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Camera < list[j].Camera })
	return list
}

// RingBytes is what the rings of all cameras hold.
func (f *Feeds) RingBytes() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	var n int64
	for _, cam := range f.list {
		n += cam.feed.State().RingBytes + cam.sub.feed.State().RingBytes
	}
	return n
}

// Take takes a still by the ladder of streams/snapshot. Its error is a Problem
// that says why there is no picture.
func (f *Feeds) Take(ctx context.Context, id string) (streams.Still, error) {
	return f.taken(ctx, id, f.cfg.Taker.Take)
}

// TakeSized is Take for a screen: a still at least width pixels wide where the
// camera's is, and not much wider; zero is the whole still. What a still address
// gave serves all screens for a while.
func (f *Feeds) TakeSized(ctx context.Context, id string, width int) (streams.Still, error) {
	return f.taken(ctx, id, func(ctx context.Context, thing devices.Camera, feed *streams.Feed) (streams.Still, error) {
		return f.cfg.Taker.TakeSized(ctx, thing, feed, width)
	})
}

func (f *Feeds) taken(ctx context.Context, id string, take func(context.Context, devices.Camera, *streams.Feed) (streams.Still, error)) (streams.Still, error) {
	cam, err := f.of(id)
	if err != nil {
		return streams.Still{}, err
	}
	f.mu.Lock()
	thing := cam.thing
	f.mu.Unlock()
	if thing.StillURL == "" {
		defer cam.feed.Hold()()
		await(ctx, cam.feed)
	}
	still, err := take(ctx, thing, cam.feed)
	if err != nil {
		return streams.Still{}, fmt.Errorf("camera %s: %w", id, err)
	}
	return still, nil
}

// Decoder gives the rung of streams/snapshot that decodes H.264 and H.265 now, and why
// it is not a higher one.
func (f *Feeds) Decoder() (step string, why error) { return f.cfg.Taker.Rung() }

// firstPicture is how long a camera that nobody watched is waited for.
const firstPicture = 8 * time.Second

// await waits for the first picture of a feed that rested. Without one the
// ladder says why.
func await(ctx context.Context, feed *streams.Feed) {
	if st := feed.State(); st.Connected || !st.Idle {
		return
	}
	r := feed.Subscribe()
	defer r.Close()
	ctx, cancel := context.WithTimeout(ctx, firstPicture)
	defer cancel()
	_, _ = r.Next(ctx)
}

// View sends the live picture of a profile over conn until the viewer leaves or
// ctx ends.
func (f *Feeds) View(ctx context.Context, id string, p devices.Profile, conn *websocket.Conn) error {
	cam, err := f.of(id)
	if err != nil {
		return err
	}
	f.mu.Lock()
	s := cam.in(p)
	f.mu.Unlock()
	return f.watching(ctx, func(ctx context.Context) error { return s.live.Serve(ctx, conn) })
}

// HLS answers with one file of a profile's Low-Latency HLS, as streams/hls says.
func (f *Feeds) HLS(w http.ResponseWriter, r *http.Request, id string, p devices.Profile, name string) error {
	if err := f.Admitted(); err != nil {
		return err
	}
	cam, err := f.of(id)
	if err != nil {
		return err
	}
	f.mu.Lock()
	s := cam.in(p)
	f.mu.Unlock()
	return s.hls.Serve(w, r, name)
}

// WHEP answers a viewer's WebRTC offer for a profile, as streams/whep says.
func (f *Feeds) WHEP(ctx context.Context, id string, p devices.Profile, v whep.Viewing) (whep.Answer, error) {
	if err := f.Admitted(); err != nil {
		return whep.Answer{}, err
	}
	cam, err := f.of(id)
	if err != nil {
		return whep.Answer{}, err
	}
	f.mu.Lock()
	v.Track = cam.in(p).track
	f.mu.Unlock()
	return f.cfg.WebRTC.Open(ctx, v)
}

// Feed gives the feed of a profile, the main one where there is no other.
// Reading from it is the demand for it.
func (f *Feeds) Feed(id string, p devices.Profile) (*streams.Feed, error) {
	cam, err := f.of(id)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return cam.in(p).feed, nil
}

// Retry tries a camera at once that waits, for its pause or for a person.
func (f *Feeds) Retry(id string) error {
	cam, err := f.of(id)
	if err != nil {
		return err
	}
	f.mu.Lock()
	sub := cam.sub
	f.mu.Unlock()
	for _, s := range []*stream{&cam.stream, sub} {
		select {
		case s.retry <- struct{}{}:
		default:
		}
	}
	f.cfg.Taker.AskAgain(id)
	return nil
}
