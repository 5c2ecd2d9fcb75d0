package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/labstack/echo/v4"
	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/breach"
)

// mostOpenEvents bounds the events of one state message.
const mostOpenEvents = 200

// endlessly lifts the server's deadlines from a stream.
func endlessly(c echo.Context) error {
	ctl := http.NewResponseController(c.Response())
	if err := errors.Join(ctl.SetReadDeadline(time.Time{}), ctl.SetWriteDeadline(time.Time{})); err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	return nil
}

func (a *API) watchLive(c echo.Context) error {
	who := Who(c)
	only := c.QueryParam("site")
	sees := func(site string) bool { return who.Sees(site) && (only == "" || site == only) }
	if err := endlessly(c); err != nil {
		return err
	}
	state := func(ctx context.Context) (any, error) { return a.liveState(ctx, sitesWanted(who, only), sees) }
	err := a.Hub.Serve(c.Request().Context(), c.Response(), sees, state, who.Holds)
	if c.Response().Committed {
		return nil // the listener has left, one way or another
	}
	return err
}

func (a *API) liveState(ctx context.Context, sites []string, sees func(string) bool) (LiveState, error) {
	s := a.Registry.Snapshot()
	st := LiveState{Now: time.Now().UTC(), Devices: a.devicesSeen(sees), Cameras: a.camerasSeen(sees), Notices: a.notices()}
	var err error
	st.Readings, err = a.lastOf(ctx, s, func(_ *devices.Point, site string) bool { return sees(site) })
	if err != nil {
		return st, err
	}
	for _, state := range []string{"open", "unacknowledged"} {
		list, err := a.Events.Events(ctx, breach.Filter{Sites: sites, State: state, Max: mostOpenEvents})
		if err != nil {
			return st, err
		}
		st.Events = mergeEvents(st.Events, list)
	}
	return st, nil
}

// mergeEvents joins two lists that are newest first, without repeats.
func mergeEvents(x, y []breach.Event) []breach.Event {
	merged := []breach.Event{}
	for len(x)+len(y) > 0 && len(merged) < mostOpenEvents {
		var next breach.Event
		switch {
		case len(y) == 0 || (len(x) > 0 && !x[0].StartedAt.Before(y[0].StartedAt)):
			next, x = x[0], x[1:]
		default:
			next, y = y[0], y[1:]
		}
		repeated := false
		for _, ev := range merged {
			repeated = repeated || ev.ID == next.ID
		}
		if !repeated {
			merged = append(merged, next)
		}
	}
	return merged
}

// Run carries what happens to the hub, and ends playbacks, until ctx ends.
func (a *API) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.carry(ctx) })
	g.Go(func() error { return a.watchPlaybacks(ctx) })
	return g.Wait()
}

func (a *API) carry(ctx context.Context) error {
	updates, missed, stop := a.Updates.Updates()
	defer stop()
	for told := int64(0); ; {
		select {
		case u := <-updates:
			if err := a.pass(u); err != nil {
				a.log.ErrorContext(ctx, "live message not sent", "err", err)
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if m := missed(); m > told {
			a.Hub.Renew(m - told)
			told = m
		}
	}
}

// pass tells the hub of one update.
func (a *API) pass(u Update) error {
	var errs []error
	if len(u.Readings) > 0 && !a.Hub.Idle() {
		points := a.Registry.Snapshot().Points
		for _, r := range u.Readings {
			p := points[r.Point]
			if p == nil || r.Quality == devices.BadClock {
				continue
			}
			a.Hub.Value(r.Site, r.Point, a.withState(lastValue(r, p.Unit)))
		}
	}
	if len(u.Points) > 0 {
		a.passState(u.Points)
	}
	if u.Device != nil {
		errs = append(errs, a.Hub.Tell("device", u.Device.Site, u.Device))
	}
	if u.Camera != nil {
		errs = append(errs, a.Hub.Tell("camera", u.Camera.Site, u.Camera))
	}
	if u.Event != nil {
		errs = append(errs, a.Hub.Tell("event", u.Event.Event.Site, LiveEvent{Step: LiveEventStep(u.Event.Step), Event: u.Event.Event}))
	}
	if u.Notices {
		errs = append(errs, a.Hub.Tell("notices", "", NoticeList{Items: a.notices()}))
	}
	if u.Registry {
		errs = append(errs, a.Hub.Tell("registry", "", LiveRegistry{Revision: a.Registry.Snapshot().Revision}))
	}
	return errors.Join(errs...)
}

func (a *API) viewLive(c echo.Context) error {
	t, err := a.thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	profile := profileOf(c)
	ctx := c.Request().Context()
	who := Who(c)
	if !a.views.enter(who.ID) {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_playbacks", ZH: "您打开的实时画面过多，请先关闭一些", EN: "you have too many live pictures open; close some"}
	}
	defer a.views.leave(who.ID)
	if err := a.Audit.Record(ctx, by(c, audit.Entry{Act: "live.view", What: "camera/" + t.Key(), Detail: string(profile)})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	began, why := time.Now(), "not begun"
	defer func() {
		a.ended(who, "live.view.end", t.Key(), fmt.Sprintf("%s, %d s: %s", profile, int(time.Since(began).Seconds()), why))
	}()
	if err := endlessly(c); err != nil {
		return err
	}
	conn, err := websocket.Accept(c.Response(), c.Request(), &websocket.AcceptOptions{
		// Tokens and tickets are not sent by a browser on its own, so that
		// only a cookie needs the page to be ours.
		InsecureSkipVerify: !who.Cookie,
		CompressionMode:    websocket.CompressionDisabled,
	})
	if err != nil {
		return nil // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	err = viewWhile(ctx, who.Holds, func(ctx context.Context) error { return a.Cameras.View(ctx, t.Key(), profile, conn) })
	status, reason := websocket.StatusNormalClosure, ""
	why = "the viewer left"
	var p *devices.Problem
	switch {
	case ctx.Err() != nil:
		why = "the gateway stops"
	case !who.Holds():
		why = "the right to see it has ended"
	case errors.As(err, &p):
		why = p.Code
		status, reason = websocket.StatusTryAgainLater, shorten(p.Bilingual(), 120)
	}
	_ = conn.Close(status, reason)
	return nil
}

// ended writes how somebody's watching of a live picture has ended, however it was
// watched. Nothing waits for it any more, so that a failure is only logged.
func (a *API) ended(who Principal, act, camera, detail string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := a.Audit.Record(ctx, audit.Entry{At: time.Now().UTC(), Who: who.ID, From: who.From, Act: act, What: "camera/" + camera, Result: "ok", Detail: detail})
	if err != nil {
		a.log.Error("end of a live picture not in the trail", "camera", camera, "act", act, "err", err)
	}
}

func (a *API) retryCamera(c echo.Context) error {
	t, err := a.thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	if err := a.Audit.Record(c.Request().Context(), by(c, audit.Entry{Act: "camera.retry", What: "camera/" + t.Key()})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	if err := a.Cameras.Retry(t.Key()); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// viewWhile runs view until it ends or the viewer's rights do.
func viewWhile(ctx context.Context, holds func() bool, view func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := view(ctx); err != nil {
			return err
		}
		return context.Canceled // ends the other one, too
	})
	g.Go(func() error {
		check := time.NewTicker(15 * time.Second)
		defer check.Stop()
		for holds() {
			select {
			case <-check.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return context.Canceled
	})
	return g.Wait()
}

// shorten cuts s to at most n bytes, between characters.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
