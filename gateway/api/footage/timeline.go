package footage

import (
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/footage"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) listRecordings(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	from, to := stretchOf(q)
	q.Known("from", "to")
	if err := q.Err(); err != nil {
		return err
	}
	tl, err := a.Films.Timeline(c.Request().Context(), t.Key(), from, to)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, timelineBody(tl))
}

func timelineBody(tl *footage.Timeline) contract.RecordingTimeline {
	body := contract.RecordingTimeline{
		Stretches: []contract.RecordingStretch{}, Gaps: gapsOf(tl.Gaps), Events: []contract.RecordingMark{}, Bytes: tl.Own.Bytes, Days: tl.Own.Days, Oldest: tl.Own.Oldest,
	}
	for _, s := range tl.Stretches {
		one := contract.RecordingStretch{From: s.From, To: s.To, Bytes: s.Bytes, Source: contract.RecordingSource(s.Source)}
		if s.Why != nil {
			one.Why = *contract.ProblemOf(s.Why)
		}
		body.Stretches = append(body.Stretches, one)
	}
	for _, m := range tl.Own.Marks {
		body.Events = append(body.Events, contract.RecordingMark{Event: m.Event, At: m.At})
	}
	if tl.Recorder != nil {
		body.Recorder = recorderBody(tl.Recorder)
	}
	return body
}

func recorderBody(told *footage.Told) contract.RecorderTimeline {
	body := contract.RecorderTimeline{Held: []contract.RecordingSpan{}, Known: told.Known, Host: told.Host, ClockOffset: offsetOf(told.Offset), ClockAskedAt: told.Asked, Shift: devices.Duration(told.Shift)}
	for _, s := range told.Held {
		body.Held = append(body.Held, contract.RecordingSpan(s))
	}
	if told.Why != nil {
		body.Why = *contract.ProblemOf(told.Why)
	}
	return body
}

func gapsOf(gaps []footage.Gap) []contract.RecordingGap {
	list := make([]contract.RecordingGap, 0, len(gaps))
	for _, g := range gaps {
		one := contract.RecordingGap{From: g.From, To: g.To, Why: *contract.ProblemOf(g.Why)}
		if g.Recorder != nil {
			one.Recorder = *contract.ProblemOf(g.Recorder)
		}
		list = append(list, one)
	}
	return list
}

// offsetOf is how bodies write what a clock is ahead; nil where that is not known.
func offsetOf(d *time.Duration) *contract.Duration {
	if d == nil {
		return nil
	}
	ahead := devices.Duration(d.Round(time.Millisecond))
	return &ahead
}

// cameraEver gives the camera that is named, also one that has been retired: what it
// has shown stays until its days are over.
func (a *API) cameraEver(c echo.Context) (devices.Thing, error) {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err == nil {
		return t, nil
	}
	was, failed := request.Retired[*devices.Camera](c.Request().Context(), a.desk.Registry, devices.KindCamera, c.Param("id"))
	if was == nil || failed != nil || !request.Sees(request.Who(c), a.desk.Registry.Snapshot(), was) {
		return nil, errors.Join(failed, err)
	}
	return was, nil
}

// stretchOf reads from and to, which must both be there.
func stretchOf(q *request.Query) (from, to time.Time) {
	from, to = q.Time("from"), q.Time("to")
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if at.IsZero() && q.Text(name) == "" {
			q.Add(devices.Invalid(name, "missing", "请填写时间", "give the time"))
		}
	}
	return from, to
}
