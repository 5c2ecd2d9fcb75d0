package cameras

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
)

// Times of a probe.
const (
	probeWatch = 8 * time.Second // for two distances of key frames
	probeLeast = 2 * time.Second // of pictures, for a frame rate
	probeLook  = 100 * time.Millisecond
	probeStill = 7 * time.Second // kept free for the still
)

// Probe tries a camera that need not be registered, and tells step by step what
// it saw: resolve, address, connect, describe, video and still. A camera that is
// pulled already is not connected to again: some allow one connection only. The
// error is about the form, Problems.
func (f *Feeds) Probe(ctx context.Context, cam devices.Camera) (*streams.Trial, error) {
	for _, field := range []*string{&cam.ID, &cam.Site, &cam.Name} {
		if *field == "" {
			*field = "unsaved"
		}
	}
	if err := cam.Check(); err != nil {
		return nil, err
	}
	p := &probe{feeds: f, camera: cam}
	if feed := f.pulled(&cam); feed != nil {
		p.add(devices.GoodStep("connect", 0, "网关已在取这路视频，测试用的就是这路，不再另连摄像机", "the gateway pulls this camera already; the test looks at that and does not connect again"))
		p.watch(ctx, feed, nil)
		p.still(ctx, feed)
		return &p.report, nil
	}
	if err := p.pull(ctx); err != nil {
		return nil, err
	}
	return &p.report, nil
}

// pulled gives the feed of a registered camera that is connected to the same
// address as the same user. Whoever has another password does not get to see its
// pictures by it.
func (f *Feeds) pulled(cam *devices.Camera) *streams.Feed {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.list {
		same := c.thing.URL == cam.URL && c.thing.Username == cam.Username && c.thing.Password == cam.Password
		if same && c.feed.State().Connected {
			return c.feed
		}
	}
	return nil
}

// probe is one probe under way.
type probe struct {
	feeds  *Feeds
	camera devices.Camera
	report streams.Trial
}

func (p *probe) add(s devices.Step) { p.report.Steps = append(p.report.Steps, s) }

// pull connects, watches and takes a still.
func (p *probe) pull(ctx context.Context) error {
	where := p.feeds.cfg.Places
	steps, ok := where.Locate(ctx, hostPort(p.camera.URL))
	for i := range steps {
		p.add(steps[i])
	}
	if !ok {
		return nil
	}
	dialled := make(chan dialled, 1)
	cfg := p.feeds.cfg.RTSP
	cfg.Dial = timed(cfg.Dial, dialled)
	source, err := rtsp.Open(p.camera, cfg)
	if err != nil {
		return err
	}
	feed := streams.NewFeed(p.feeds.cfg.Feed)
	defer feed.Close()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	var pulling sync.WaitGroup
	defer pulling.Wait()
	defer stop()
	pulling.Go(func() { ended <- source.Run(running, feed) })
	if p.connect(ctx, feed, dialled, ended) {
		p.watch(ctx, feed, ended)
		p.still(ctx, feed)
	}
	return nil
}

// dialled is how a connection went.
type dialled struct {
	took time.Duration
	err  error
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// timed tells the first connection that dial makes.
func timed(dial dialer, tell chan<- dialled) dialer {
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		began := time.Now()
		conn, err := dial(ctx, network, address)
		select {
		case tell <- dialled{time.Since(began), err}:
		default:
		}
		return conn, err
	}
}

// connect takes the steps connect and describe.
func (p *probe) connect(ctx context.Context, feed *streams.Feed, dials <-chan dialled, ended chan error) bool {
	began := time.Now()
	var d dialled
	select {
	case d = <-dials:
	case err := <-ended:
		select {
		case d = <-dials: // both came since this was looked at
			ended <- err
		default: // before it dialled
			p.add(failed("connect", time.Since(began), devices.AllProblems(err)[0]))
			return false
		}
	}
	at := hostPort(p.camera.URL)
	if d.err == nil {
		p.add(devices.GoodStep("connect", d.took, "已连接 "+at, "connected to "+at))
	}
	began = time.Now()
	again := time.NewTicker(probeLook)
	defer again.Stop()
	for !feed.State().Connected {
		select {
		case err := <-ended:
			name := "describe"
			if d.err != nil {
				name, began = "connect", time.Now().Add(-d.took)
			}
			p.add(failed(name, time.Since(began), whyEnded(ctx, err)))
			return false
		case <-again.C:
		}
	}
	p.add(devices.GoodStep("describe", time.Since(began), "摄像机给出了视频（RTSP 应答 200）", "the camera offers video (RTSP answer 200)"))
	return true
}

// failed is the step that p ended. Problems of cameras have their Chinese cure
// behind a comma.
func failed(name string, took time.Duration, p *devices.Problem) devices.Step {
	s := devices.StepOf(name, took, p)
	if s.CureZH == "" {
		if saw, cure, ok := strings.Cut(s.ZH, "，请"); ok {
			s.ZH, s.CureZH = saw, "请"+cure
		}
	}
	return s
}

func whyEnded(ctx context.Context, err error) *devices.Problem {
	if ctx.Err() != nil {
		return &devices.Problem{Code: "out_of_time", ZH: "测试时间已到；请检查摄像机与网络后再试", EN: "the probe ran out of time; check the camera and the network and try again"}
	}
	return devices.AllProblems(err)[0]
}

// watch looks at the pictures for a while. ended tells, if it is not nil, when
// the source ends.
func (p *probe) watch(ctx context.Context, feed *streams.Feed, ended <-chan error) {
	limit := probeWatch
	if end, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(end)-probeStill)
	}
	end, again := time.NewTimer(limit), time.NewTicker(probeLook)
	defer end.Stop()
	defer again.Stop()
	began, first := time.Now(), feed.State()
	var since time.Time // of the first picture
	for waiting := true; waiting; {
		select {
		case <-again.C:
		case <-end.C:
			waiting = false
		case <-ctx.Done():
			waiting = false
		case err := <-ended:
			p.add(failed("video", time.Since(began), whyEnded(ctx, err)))
			return
		}
		now := feed.State()
		if since.IsZero() && now.Frames > first.Frames {
			since, first = time.Now(), now
		}
		if now.KeyInterval > 0 && !since.IsZero() && time.Since(since) >= probeLeast {
			waiting = false
		}
	}
	now := feed.State()
	if since.IsZero() || now.Params == nil {
		p.add(devices.StepOf("video", time.Since(began), &devices.Problem{
			Code: "no_picture", ZH: "摄像机已连接，但没有画面；请检查摄像机，用 UDP 时请检查防火墙或改用 TCP",
			EN: "the camera is connected but sends no picture; check the camera, and with UDP the firewall, or choose TCP",
		}))
		return
	}
	p.report.Video = streams.VideoOf(&first, &now, time.Since(since))
	p.add(p.report.Video.Step(time.Since(began)))
}

// still takes a picture by the ladder of streams/snapshot.
func (p *probe) still(ctx context.Context, feed *streams.Feed) {
	began := time.Now()
	cam := p.camera
	if cam.StillURL != "" {
		if steps, ok := p.feeds.cfg.Places.Locate(ctx, hostPort(cam.StillURL)); !ok {
			last := steps[len(steps)-1]
			last.Name = "still_address"
			p.add(last)
			cam.StillURL = ""
		}
	}
	p.feeds.cfg.Taker.AskAgain(cam.ID) // a person tries it
	still, err := p.feeds.cfg.Taker.Take(ctx, cam, feed)
	switch {
	case err != nil:
		p.add(failed("still", time.Since(began), whyEnded(ctx, err)))
		return
	case still.JPEG == nil:
		p.add(devices.Step{Name: "still", Skipped: true, ZH: "关键帧已收到，但本机无法解码成图片", EN: "a key frame came, but nothing here decodes it"})
		return
	case cam.StillURL != "" && still.Step != "camera":
		p.add(devices.StepOf("still_address", time.Since(began), &devices.Problem{
			Code: "no_still", Field: "still_url", ZH: "抓拍地址没有给出图片，已改从视频抓拍；请核对抓拍地址、用户名和密码，或将其留空",
			EN: "the still address gave no picture and one was taken from the video; check address, user name and password, or leave it empty",
		}))
	}
	p.report.Still = &still
	p.add(devices.GoodStep("still", time.Since(began), fmt.Sprintf("已抓拍 %d×%d", still.Width, still.Height), fmt.Sprintf("a picture of %d×%d", still.Width, still.Height)))
}

// hostPort gives the host and port of an address, with the scheme's own port.
func hostPort(address string) string {
	u, err := url.Parse(address)
	if err != nil { // Check has read it
		return ""
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"rtsp": "554", "rtsps": "322", "http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
