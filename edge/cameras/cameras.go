// Package cameras keeps the feed of every registered camera: its connection,
// its live picture, its stills and its clips come from here.
package cameras

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/streams"
	"offsite/streams/fmp4"
	"offsite/streams/rtsp"
	"offsite/streams/snapshot"
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
	Feed   streams.FeedConfig
	Taker  *snapshot.Taker
	Places devices.Places // where cameras may be, for probes
	Notes  notes
	Show   func(Status) // called with every change, one at a time; it must not call back
}

// Feeds keeps the feed of every registered camera. The field's agent runs one
// task for each, which is started again after a failure.
type Feeds struct {
	cfg Config

	mu   sync.Mutex
	list map[string]*camera
}

// New gives Feeds without a camera.
func New(cfg Config) *Feeds { return &Feeds{cfg: cfg, list: map[string]*camera{}} }

// camera is one camera's feed, which outlives its connections.
type camera struct {
	thing     devices.Camera
	feed      *streams.Feed
	live      *fmp4.Muxer
	connected bool   // as last told
	code      string // of the problem last told
	told      bool
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

// Task gives what is supervised for a camera: one connection.
func (f *Feeds) Task(thing devices.Camera) func(context.Context) error {
	f.mu.Lock()
	cam := f.list[thing.ID]
	if cam == nil {
		feed := streams.NewFeed(f.cfg.Feed)
		cam = &camera{feed: feed, live: fmp4.New(feed, fmp4.Config{})}
		f.list[thing.ID] = cam
	}
	cam.thing = thing
	f.mu.Unlock()
	return func(ctx context.Context) error {
		source, err := rtsp.Open(thing, f.cfg.RTSP)
		if err != nil {
			cam.feed.Disconnected(devices.AllProblems(err)[0])
			return err
		}
		return source.Run(ctx, cam.feed)
	}
}

// Keep drops the feeds of cameras that are no longer registered.
func (f *Feeds) Keep(s *registry.Snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, cam := range f.list {
		if s.Cameras[id] == nil {
			cam.feed.Close()
			f.cfg.Notes.End("camera/"+id, time.Now())
			delete(f.list, id)
		}
	}
}

// watchEvery is how often changes of the cameras' states are looked for.
const watchEvery = 500 * time.Millisecond

// Run tells watchers and the ledger when a camera comes or goes.
func (f *Feeds) Run(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if ctx.Err() == nil { // a camera that we leave has not gone away
				f.tellChanges()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *Feeds) tellChanges() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, cam := range f.list {
		st := cam.feed.State()
		code := ""
		switch {
		case !st.Connected && st.Problem == nil:
			continue // the first attempt is still under way
		case !st.Connected:
			code = st.Problem.Code
		}
		if cam.told && cam.connected == st.Connected && cam.code == code {
			continue
		}
		at := st.Since
		if cam.told && !cam.connected && !st.Connected { // away as before, for another reason
			at = time.Now()
		}
		cam.told, cam.connected, cam.code = true, st.Connected, code
		if st.Problem == nil {
			f.cfg.Notes.End("camera/"+id, at)
		} else {
			f.cfg.Notes.Miss("camera/"+id, at, st.Problem)
		}
		f.cfg.Show(Status{Camera: id, State: st})
	}
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

// Take takes a still by the ladder of streams/snapshot. Its error is a Problem
// that says why there is no picture.
func (f *Feeds) Take(ctx context.Context, id string) (streams.Still, error) {
	cam, err := f.of(id)
	if err != nil {
		return streams.Still{}, err
	}
	f.mu.Lock()
	thing := cam.thing
	f.mu.Unlock()
	still, err := f.cfg.Taker.Take(ctx, thing, cam.feed)
	if err != nil {
		return streams.Still{}, fmt.Errorf("camera %s: %w", id, err)
	}
	return still, nil
}

// View sends the live picture over conn until the viewer leaves or ctx ends.
func (f *Feeds) View(ctx context.Context, id string, conn *websocket.Conn) error {
	cam, err := f.of(id)
	if err != nil {
		return err
	}
	return cam.live.Serve(ctx, conn)
}
