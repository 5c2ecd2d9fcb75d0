package footage

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/footage"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// fetchTime is more than a recorder may take to play what is fetched at once.
const fetchTime = 12 * time.Minute

// offsetOf is how bodies write what a clock is ahead; nil where that is not known.
func offsetOf(d *time.Duration) *contract.Duration {
	if d == nil {
		return nil
	}
	ahead := devices.Duration(d.Round(time.Millisecond))
	return &ahead
}

// detailOf is how the trail names a clip.
func detailOf(c *footage.Clip) string {
	detail := c.From.Format(time.RFC3339) + "/" + c.To.Format(time.RFC3339)
	if c.Fetched != nil {
		detail += " recorder " + c.Fetched.Host
	}
	return detail
}

// tellClip says in headers whose pictures they are.
func tellClip(h http.Header, c *footage.Clip) {
	h.Set("X-Recording-From", c.From.Format(time.RFC3339Nano))
	h.Set("X-Recording-To", c.To.Format(time.RFC3339Nano))
	h.Set("X-Recording-Source", string(c.Source))
	if c.Next != nil {
		h.Set("X-Recording-Next", c.Next.From.UTC().Format(time.RFC3339Nano)+" "+string(c.Next.Source))
	}
	f := c.Fetched
	if f == nil {
		return
	}
	h.Set("X-Recording-Times", f.Times())
	if f.Offset != nil {
		h.Set("X-Recording-Clock-Offset", offsetOf(f.Offset).D().String())
	}
	if f.Cut != nil {
		h.Set("X-Recording-Cut", f.Cut.Code)
	}
}

// sourceOf reads whose recordings are wanted; empty is whoever has some.
func sourceOf(q *request.Query) footage.Source {
	source := footage.Source(q.Text("source"))
	if source != "" && source != footage.Own && source != footage.Recorder {
		q.Add(devices.Invalid("source", "not_one_of", "来源须为 own 或 recorder", "choose own or recorder"))
	}
	return source
}

// exportBody is the answer to an export, which names what proves it.
func exportBody(e *footage.Export) contract.RecordingExport {
	camera := contract.Base + "/cameras/" + e.Camera
	body := contract.RecordingExport{
		ID: e.ID, From: e.Asked.From, To: e.Asked.To, Bytes: e.Bytes, ManifestSha256: e.SHA256, Parts: []contract.RecordingPart{}, Gaps: gapsOf(e.Missing),
		Name: e.Name(), URL: camera + "/exports/" + e.ID,
	}
	for _, p := range e.Parts {
		// Not what was asked for: where that is not over yet more may come, and the hash is of this.
		ask := url.Values{"from": {p.From.Format(time.RFC3339Nano)}, "to": {p.To.Format(time.RFC3339Nano)}, "download": {"true"}, "source": {string(p.Source)}}
		part := contract.RecordingPart{
			Source: contract.RecordingSource(p.Source), From: p.From, To: p.To, Bytes: p.Bytes, Sha256: p.SHA256, Codec: p.Codec, Width: p.Width, Height: p.Height, Name: p.Name,
			URL: camera + "/clip?" + ask.Encode(), Host: p.Clock.Host, ClockZh: p.Clock.ZH, ClockEn: p.Clock.EN, Why: wordBody(p.Instead), Cut: wordBody(p.Cut),
		}
		if ms := p.Clock.AheadMS; ms != nil {
			ahead := time.Duration(*ms) * time.Millisecond
			part.ClockOffset = offsetOf(&ahead)
		}
		body.Parts = append(body.Parts, part)
	}
	return body
}

// wordBody gives a reason of a manifest; nothing where there is none.
func wordBody(w *footage.Word) contract.FieldProblem {
	if w == nil {
		return contract.FieldProblem{}
	}
	return contract.FieldProblem{Code: w.Code, Zh: w.ZH, En: w.EN}
}

// clipName names a clip's file, and whose it is.
func clipName(c *footage.Clip) string {
	const form = "20060102T150405Z"
	by := ""
	if c.Source == footage.Recorder {
		by = "recorder_"
	}
	return c.Camera + "_" + by + strings.Join([]string{c.From.UTC().Format(form), c.To.UTC().Format(form)}, "_") + ".mp4"
}

func (a *API) getExport(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	who := request.Who(c).ID
	if err := a.playing.Enter(who); err != nil {
		return err
	}
	defer a.playing.Leave(who)
	ctx := c.Request().Context()
	p, err := a.Films.Package(ctx, t.Key(), c.Param("export"))
	if err != nil {
		return err
	}
	if err := a.once.Record(c, audit.Entry{Act: "recording.view", What: "camera/" + t.Key(), Detail: "export " + p.ID}); err != nil {
		return err
	}
	if err := request.AllowBytes(c, p.Bytes()); err != nil {
		return fmt.Errorf("export %s: %w", p.ID, err)
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", p.Name()))
	c.Response().WriteHeader(http.StatusOK)
	return p.Write(ctx, c.Response())
}
