package footage

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/footage"
	"offsite/gateway/api/request"
)

// Clips under way at once.
const (
	clipsAtAll = 48 // a player that is paused holds one
	clipsEach  = 12 // of one person or token
)

func (a *API) getClip(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	from, to := stretchOf(q)
	download, source := q.Yes("download"), sourceOf(q)
	q.Known("from", "to", "download", "source")
	if err := q.Err(); err != nil {
		return err
	}
	who := request.Who(c).ID
	if err := a.playing.Enter(who); err != nil {
		return err
	}
	defer a.playing.Leave(who)
	if err := request.AllowFor(c, fetchTime); err != nil {
		return fmt.Errorf("clip of %s: %w", t.Key(), err)
	}
	clip, err := a.Films.Clip(c.Request().Context(), t.Key(), from, to, source)
	if err != nil {
		return err
	}
	entry := audit.Entry{Act: "recording.view", What: "camera/" + clip.Camera, Detail: detailOf(clip)}
	if err := a.once.Record(c, entry); err != nil {
		return err
	}
	in := clip.Open()
	defer func() { _ = in.Close() }() // only read
	if err := request.AllowTime(c, in); err != nil {
		return fmt.Errorf("clip of %s: %w", t.Key(), err)
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+clip.Tag+`"`)
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", fmt.Sprintf("%s; filename=%q", disposition(download), clipName(clip)))
	tellClip(h, clip)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, in)
	return nil
}

func disposition(download bool) string {
	if download {
		return "attachment"
	}
	return "inline"
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
		h.Set("X-Recording-Shift", f.Shift.String())
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

// clipName names a clip's file, and whose it is.
func clipName(c *footage.Clip) string {
	const form = "20060102T150405Z"
	by := ""
	if c.Source == footage.Recorder {
		by = "recorder_"
	}
	return c.Camera + "_" + by + strings.Join([]string{c.From.UTC().Format(form), c.To.UTC().Format(form)}, "_") + ".mp4"
}
