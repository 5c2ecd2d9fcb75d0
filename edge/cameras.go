package edge

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

// CameraStatus tells how a camera fares.
type CameraStatus struct {
	Camera string // camera id
	streams.State
}

// Cameras keeps the feed of every registered camera. The Agent runs one task
// for each, which Supervise starts again after a failure. The lock of Board may
// be taken while mu is held, never the reverse.
type Cameras struct {
	rtsp  rtsp.Config
	feed  streams.FeedConfig
	taker *snapshot.Taker
	live  *Live
	board *Board

	mu   sync.Mutex
	list map[string]*camera
}

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
func (c *Cameras) of(id string) (*camera, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cam := c.list[id]
	if cam == nil {
		return nil, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "no_camera", ZH: "没有编号为 " + id + " 的摄像机", EN: "there is no camera " + id,
		}
	}
	return cam, nil
}

// task gives what the Agent supervises for cam: one connection.
func (c *Cameras) task(thing devices.Camera) func(context.Context) error {
	c.mu.Lock()
	cam := c.list[thing.ID]
	if cam == nil {
		feed := streams.NewFeed(c.feed)
		cam = &camera{feed: feed, live: fmp4.New(feed, fmp4.Config{})}
		c.list[thing.ID] = cam
	}
	cam.thing = thing
	c.mu.Unlock()
	return func(ctx context.Context) error {
		source, err := rtsp.Open(thing, c.rtsp)
		if err != nil {
			cam.feed.Disconnected(devices.AllProblems(err)[0])
			return err
		}
		return source.Run(ctx, cam.feed)
	}
}

// keep drops the feeds of cameras that are no longer registered.
func (c *Cameras) keep(s *registry.Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, cam := range c.list {
		if s.Cameras[id] == nil {
			cam.feed.Close()
			c.board.cameraGone(id)
			delete(c.list, id)
		}
	}
}

// watchEvery is how often changes of the cameras' states are looked for.
const watchEvery = 500 * time.Millisecond

// run tells watchers and the ledger when a camera comes or goes.
func (c *Cameras) run(ctx context.Context) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if ctx.Err() == nil { // a camera that we leave has not gone away
				c.tellChanges()
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (c *Cameras) tellChanges() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, cam := range c.list {
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
		c.board.cameraChanged(id, at, st.Problem)
		c.live.Tell(Update{Camera: &CameraStatus{Camera: id, State: st}})
	}
}

// Status gives every camera's status, by id.
func (c *Cameras) Status() []CameraStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]CameraStatus, 0, len(c.list))
	for id, cam := range c.list {
		list = append(list, CameraStatus{Camera: id, State: cam.feed.State()})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Camera < list[j].Camera })
	return list
}

// Take takes a still by the ladder of streams/snapshot. Its error is a Problem
// that says why there is no picture.
func (c *Cameras) Take(ctx context.Context, id string) (streams.Still, error) {
	cam, err := c.of(id)
	if err != nil {
		return streams.Still{}, err
	}
	c.mu.Lock()
	thing := cam.thing
	c.mu.Unlock()
	still, err := c.taker.Take(ctx, thing, cam.feed)
	if err != nil {
		return streams.Still{}, fmt.Errorf("camera %s: %w", id, err)
	}
	return still, nil
}

// View sends the live picture over conn until the viewer leaves or ctx ends.
func (c *Cameras) View(ctx context.Context, id string, conn *websocket.Conn) error {
	cam, err := c.of(id)
	if err != nil {
		return err
	}
	return cam.live.Serve(ctx, conn)
}
