package footage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/recorders"
	"offsite/edge/recordings"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/streams/recording"
)

// fetchTime is more than a recorder may take to play what is fetched at once.
const fetchTime = 12 * time.Minute

// recorderOf tells what the camera's recorder keeps; nothing where it has none.
func (a *API) recorderOf(ctx context.Context, camera string, from, to time.Time) contract.RecorderTimeline {
	h, err := a.Recorders.Holding(ctx, camera, from, to)
	switch {
	case errors.Is(err, devices.ErrNotFound), errors.Is(err, context.Canceled):
		return contract.RecorderTimeline{}
	case err != nil: // its own recordings are shown all the same
		return contract.RecorderTimeline{Held: []contract.RecordingStretch{}, Why: *contract.ProblemOf(devices.AllProblems(err)[0])}
	}
	body := contract.RecorderTimeline{Held: []contract.RecordingStretch{}, Known: h.Known, Host: h.Host}
	body.ClockOffset = offsetOf(h.Offset)
	for _, s := range h.Stretches {
		body.Held = append(body.Held, contract.RecordingStretch{From: s.From, To: s.To, Source: contract.Recorder})
	}
	if now := time.Now(); !h.Known && from.Before(now) {
		if to.After(now) {
			to = now
		}
		body.Held = append(body.Held, contract.RecordingStretch{From: from, To: to, Source: contract.Recorder})
	}
	return body
}

// offsetOf is how bodies write what a clock is ahead; nil where that is not known.
func offsetOf(d *time.Duration) *contract.Duration {
	if d == nil {
		return nil
	}
	ahead := devices.Duration(d.Round(time.Millisecond))
	return &ahead
}

// film is a clip, whoever has recorded it.
type film struct {
	*recording.Clip
	fetched *recorders.Clip // nil: it is the gateway's own
}

// own is a clip that the gateway has recorded.
func own(c *recording.Clip) film { return film{Clip: c} }

func fetched(c *recorders.Clip) film { return film{c.Clip, c} }

func (f film) source() contract.RecordingSource {
	if f.fetched != nil {
		return contract.Recorder
	}
	return contract.Own
}

// detail is how the trail names a film.
func (f film) detail() string {
	if f.fetched == nil {
		return interval(f.Clip)
	}
	return interval(f.Clip) + " recorder " + f.fetched.Host
}

// tell says in headers whose pictures they are.
func (f film) tell(h http.Header) {
	h.Set("X-Recording-From", f.From.Format(time.RFC3339Nano))
	h.Set("X-Recording-To", f.To.Format(time.RFC3339Nano))
	h.Set("X-Recording-Source", string(f.source()))
	if f.fetched == nil {
		return
	}
	times := "asked"
	if f.fetched.Stamped {
		times = "recorder"
	}
	h.Set("X-Recording-Times", times)
	if f.fetched.Offset != nil {
		h.Set("X-Recording-Clock-Offset", offsetOf(f.fetched.Offset).D().String())
	}
	if f.fetched.Cut != nil {
		h.Set("X-Recording-Cut", f.fetched.Cut.Code)
	}
}

// sourceOf reads whose recordings are wanted; empty is the gateway's, and the
// recorder's where it has none.
func sourceOf(q *request.Query) contract.RecordingSource {
	source := contract.RecordingSource(q.Text("source"))
	if source != "" && source != contract.Own && source != contract.Recorder {
		q.Add(devices.Invalid("source", "not_one_of", "来源须为 own 或 recorder", "choose own or recorder"))
	}
	return source
}

// film gives what was recorded of [from, to) by whom it is wanted of.
func (a *API) film(c echo.Context, camera string, from, to time.Time, source contract.RecordingSource) (film, error) {
	ctx := c.Request().Context()
	var none error
	if source != contract.Recorder {
		clip, err := a.Recordings.Clip(ctx, camera, from, to)
		if err == nil || source == contract.Own || !errors.Is(err, devices.ErrNotFound) {
			return own(clip), err
		}
		none = err
	}
	if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(fetchTime)); err != nil {
		return film{}, fmt.Errorf("clip of %s: %w", camera, err)
	}
	clip, err := a.Recorders.Clip(ctx, camera, from, to)
	switch {
	case none != nil && (errors.Is(err, devices.ErrNotFound) || errors.Is(err, devices.ErrInvalid)):
		return film{}, none // nobody has asked for a recorder
	case err != nil:
		return film{}, err
	}
	return fetched(clip), nil
}

// taken is a film that was exported.
type taken struct {
	film
	id, sha256 string
}

// export takes out what was recorded by whom it is wanted of, with what the trail says.
func (a *API) export(c echo.Context, camera string, body *contract.RecordingExportRequest) (taken, error) {
	ctx := c.Request().Context()
	row := func(ctx context.Context, tx *sql.Tx, t taken) error {
		return a.desk.Trail.Append(ctx, tx, request.By(c, audit.Entry{
			Act: "recording.export", What: "camera/" + camera, Purpose: body.Reason, Detail: t.detail() + " " + t.sha256,
		}))
	}
	var none error
	if body.Source != contract.Recorder {
		e, err := a.Recordings.Export(ctx, camera, body.From, body.To, func(ctx context.Context, tx *sql.Tx, e recordings.Export) error {
			return row(ctx, tx, taken{own(e.Clip), e.ID, e.SHA256})
		})
		if err == nil || body.Source == contract.Own || !errors.Is(err, devices.ErrNotFound) {
			return taken{own(e.Clip), e.ID, e.SHA256}, err
		}
		none = err
	}
	e, err := a.Recorders.Export(ctx, camera, body.From, body.To, func(ctx context.Context, tx *sql.Tx, e recorders.Export) error {
		return row(ctx, tx, taken{fetched(e.Clip), e.ID, e.SHA256})
	})
	switch {
	case none != nil && (errors.Is(err, devices.ErrNotFound) || errors.Is(err, devices.ErrInvalid)):
		return taken{}, none
	case err != nil:
		return taken{}, err
	}
	return taken{fetched(e.Clip), e.ID, e.SHA256}, nil
}

// body is the answer to an export, which names what proves it.
func (t taken) body(gaps []contract.RecordingGap) contract.RecordingExport {
	// Not what was asked for: where that is not over yet more may come, and the hash is of this.
	ask := url.Values{
		"from": {t.From.UTC().Format(time.RFC3339Nano)}, "to": {t.To.UTC().Format(time.RFC3339Nano)}, "download": {"true"}, "source": {string(t.source())},
	}
	body := contract.RecordingExport{
		ID: t.id, From: t.From, To: t.To, Bytes: t.Size, Sha256: t.sha256, Gaps: gaps, Name: clipName(t.film), Source: t.source(),
		URL: contract.Base + "/cameras/" + t.Camera + "/clip?" + ask.Encode(),
	}
	if f := t.fetched; f != nil {
		body.Host = f.Host
		body.ClockOffset = offsetOf(f.Offset)
		if f.Cut != nil {
			body.Cut = *contract.ProblemOf(f.Cut)
		}
	}
	return body
}

// clipName names a film's file, and whose it is.
func clipName(f film) string {
	const form = "20060102T150405Z"
	by := ""
	if f.fetched != nil {
		by = "recorder_"
	}
	return f.Camera + "_" + by + strings.Join([]string{f.From.UTC().Format(form), f.To.UTC().Format(form)}, "_") + ".mp4"
}
