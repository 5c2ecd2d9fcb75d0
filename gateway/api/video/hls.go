package video

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

const (
	playbackIdle  = 30 * time.Second // without a request, after which a playback has ended
	playbackSweep = 5 * time.Second
)

// playback is one viewer's reading of a camera's HLS, from the opening until the
// player asks no more. Its secret in the address stands for the one who opened it.
type playback struct {
	who     request.Principal
	camera  string
	profile devices.Profile
	began   time.Time

	// Guarded by playbacks.mu.
	used    time.Time
	pending int // requests under way
	bytes   int64
}

// playbacks are kept by the hash of their secret.
type playbacks struct {
	mu   sync.Mutex
	list map[[sha256.Size]byte]*playback
}

func newPlaybacks() *playbacks { return &playbacks{list: map[[sha256.Size]byte]*playback{}} }

// open keeps p and gives its secret; false when who has too many.
func (l *playbacks) open(p *playback) (secret string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	mine := 0
	for _, other := range l.list {
		if other.who.ID == p.who.ID {
			mine++
		}
	}
	if mine >= liveOfOne {
		return "", false
	}
	secret = rand.Text()
	l.list[sha256.Sum256([]byte(secret))] = p
	return secret, true
}

// enter gives the playback of a secret and notes a request; nil if there is none.
func (l *playbacks) enter(secret, camera string) *playback {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.list[sha256.Sum256([]byte(secret))]
	if p == nil || p.camera != camera {
		return nil
	}
	p.pending++
	return p
}

// leave notes the end of a request that gave n bytes.
func (l *playbacks) leave(p *playback, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.pending--
	p.bytes += n
	p.used = time.Now()
}

// all gives a copy of each, by key.
func (l *playbacks) all() map[[sha256.Size]byte]playback {
	l.mu.Lock()
	defer l.mu.Unlock()
	copies := make(map[[sha256.Size]byte]playback, len(l.list))
	for key, p := range l.list {
		copies[key] = *p
	}
	return copies
}

// end takes one out and gives its last state; false when it is gone already.
func (l *playbacks) end(key [sha256.Size]byte) (playback, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.list[key]
	if p == nil {
		return playback{}, false
	}
	delete(l.list, key)
	return *p, true
}

func (a *API) openHLS(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	now := time.Now()
	p := &playback{who: request.Who(c), camera: t.Key(), profile: profileOf(c), began: now, used: now}
	if err := a.desk.Record(c, audit.Entry{Act: "live.hls", What: "camera/" + t.Key(), Detail: string(p.profile)}); err != nil {
		return err
	}
	secret, ok := a.playbacks.open(p)
	if !ok {
		a.ended(p.who, "live.hls.end", p.camera, "not begun: too_many_playbacks")
		return tooMany("您打开的 HLS 播放过多，请先关闭一些，30 秒后再试", "you have too many HLS playbacks open; close some and try again in 30 s")
	}
	// Relative, so that it holds behind a proxy that serves us under another path.
	c.Response().Header().Set(echo.HeaderLocation, secret+"/index.m3u8")
	return c.NoContent(http.StatusTemporaryRedirect)
}

// profileOf is the stream that a viewer asks for.
func profileOf(c echo.Context) devices.Profile {
	if c.QueryParam("profile") == string(devices.SubProfile) {
		return devices.SubProfile
	}
	return devices.MainProfile
}

func (a *API) getHLS(c echo.Context) error {
	h := c.Response().Header()
	// Who has the address has its secret, whatever page plays it.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	p := a.playbacks.enter(c.Param("playback"), c.Param("id"))
	if p == nil || !a.mayPlay(*p) {
		if p != nil {
			a.playbacks.leave(p, 0)
		}
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "playback_over", ZH: "播放已结束，请重新打开", EN: "this playback is over; open the camera again"}
	}
	defer func() { a.playbacks.leave(p, c.Response().Size) }()
	err := a.Cameras.HLS(c.Response(), c.Request(), p.camera, p.profile, c.Param("file"))
	if c.Response().Committed {
		return nil // the player has left
	}
	return err
}

// mayPlay says whether the one who opened p may still see its camera.
func (a *API) mayPlay(p playback) bool { return a.MayView(p.who, p.camera) == nil }

// MayView says why who may not see a camera now: that there is none for them is
// of kind ErrNotFound.
func (a *API) MayView(who request.Principal, camera string) error {
	if _, err := request.Visible(who, a.desk.Registry.Snapshot(), devices.KindCamera, camera); err != nil {
		return err
	}
	if !who.Holds() {
		return &devices.Problem{Kind: contract.ErrForbidden, Code: "right_ended", ZH: "权限已失效", EN: "the right to see it has ended"}
	}
	return nil
}

// watchPlaybacks ends those that nobody reads or whose rights are gone, and all
// of them with ctx.
func (a *API) watchPlaybacks(ctx context.Context) error {
	tick := time.NewTicker(playbackSweep)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		a.sweepPlaybacks(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// sweepPlaybacks writes how each playback that is over has ended.
func (a *API) sweepPlaybacks(ctx context.Context) {
	for key, p := range a.playbacks.all() {
		idle := p.pending == 0 && time.Since(p.used) > playbackIdle
		if !idle && ctx.Err() == nil && a.mayPlay(p) {
			continue
		}
		p, here := a.playbacks.end(key)
		if !here {
			continue
		}
		a.ended(p.who, "live.hls.end", p.camera, fmt.Sprintf("%s, %d s, %d bytes", p.profile, int(p.used.Sub(p.began).Seconds()), p.bytes))
	}
}
