package duty

import (
	"context"
	"errors"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// mostOpenEvents bounds the events of one state message.
const mostOpenEvents = 200

// watchLive tells what happens as it happens, after the state of all that may be seen.
func (a *API) watchLive(c echo.Context) error {
	who := request.Who(c)
	only := c.QueryParam("site")
	sees := func(site string) bool { return who.Sees(site) && (only == "" || site == only) }
	if err := request.Endlessly(c); err != nil {
		return err
	}
	state := func(ctx context.Context) (any, error) { return a.liveState(ctx, sitesWanted(who, only), sees) }
	err := a.Hub.Serve(c.Request().Context(), c.Response(), sees, state, who.Holds)
	if c.Response().Committed {
		return nil // the listener has left, one way or another
	}
	return err
}

func (a *API) liveState(ctx context.Context, sites []string, sees func(string) bool) (contract.LiveState, error) {
	s := a.desk.Registry.Snapshot()
	st := contract.LiveState{Now: time.Now().UTC(), Devices: a.devicesSeen(sees), Cameras: a.camerasSeen(sees), Notices: a.notices()}
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

// Update is one thing that happened; one field is set.
type Update struct {
	Readings []devices.Reading // on disk; not to be changed
	Device   *contract.DeviceStatus
	Camera   *contract.CameraStatus
	Event    *breach.Transition
	Points   []string // that turned stale or fresh, or whose maintenance began or ended
	Notices  bool     // those that hold have changed
	Registry bool     // the registry has changed
}

// Run carries what happens to the hub until ctx ends.
func (a *API) Run(ctx context.Context) error {
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
		points := a.desk.Registry.Snapshot().Points
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
		errs = append(errs, a.Hub.Tell("event", u.Event.Event.Site, contract.LiveEvent{Step: contract.LiveEventStep(u.Event.Step), Event: u.Event.Event}))
	}
	if u.Notices {
		errs = append(errs, a.Hub.Tell("notices", "", contract.NoticeList{Items: a.notices()}))
	}
	if u.Registry {
		errs = append(errs, a.Hub.Tell("registry", "", contract.LiveRegistry{Revision: a.desk.Registry.Snapshot().Revision}))
	}
	return errors.Join(errs...)
}

// passState tells the hub of points whose state has changed although no
// reading came.
func (a *API) passState(points []string) {
	if a.Hub.Idle() {
		return
	}
	s := a.desk.Registry.Snapshot()
	for _, id := range points {
		p := s.Points[id]
		r, ok := a.Updates.Newest(id)
		if p != nil && ok && r.Quality != devices.BadClock {
			a.Hub.Value(r.Site, id, a.withState(lastValue(r, p.Unit)))
		}
	}
}
