package api

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/recordings"
	"offsite/streams/recording"
)

// Recordings gives what cameras have shown, as [recordings.Recordings] says.
type Recordings interface {
	Timeline(ctx context.Context, camera string, from, to time.Time) (recordings.Timeline, error)
	Clip(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, error)
	Export(ctx context.Context, camera string, from, to time.Time, write func(ctx context.Context, tx *sql.Tx, e recordings.Export) error) (recordings.Export, error)
}

const (
	clipsAtAll   = 48               // under way at once; a player that is paused holds one
	clipsEach    = 12               // of one person or token
	exportsAtAll = 2                // hashed at once
	exportsEach  = 1                // of one person or token
	exportTime   = 10 * time.Minute // that hashing may take
	sameViewing  = 10 * time.Minute // within which the same person's asking for the same video is one act
)

// clips bounds the clips that are under way and remembers who has been written
// into the trail: a player asks for a clip in many parts.
type clips struct {
	under, exports *places

	mu   sync.Mutex
	told map[string]time.Time
}

func newClips() *clips {
	return &clips{under: newPlaces(clipsAtAll, clipsEach), exports: newPlaces(exportsAtAll, exportsEach), told: map[string]time.Time{}}
}

// places are had by some at once, and never all of them by one.
type places struct {
	all, each int

	mu    sync.Mutex
	taken int
	by    map[string]int // person or token
}

func newPlaces(all, each int) *places { return &places{all: all, each: each, by: map[string]int{}} }

// enter takes a place; leave gives it back.
func (p *places) enter(who string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.by[who] >= p.each:
		return nil, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy_yourself",
			ZH: fmt.Sprintf("您同时播放或导出的录像已达 %d 个，请先关闭一些播放页面或等导出结束", p.each),
			EN: fmt.Sprintf("you are playing or exporting %d recordings, which is the most; close some of them, or wait for the export", p.each),
		}
	case p.taken >= p.all:
		return nil, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy", ZH: "正在播放或导出的录像过多，请稍后再试", EN: "too many recordings are being played or exported; try again in a while",
		}
	}
	p.taken++
	p.by[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.by[who]--; p.by[who] == 0 {
			delete(p.by, who)
		}
	}, nil
}

// fresh says whether this viewing is not one act with an earlier one.
func (c *clips) fresh(viewing string, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, told := c.told[viewing]
	return !told || now.Sub(at) >= sameViewing
}

// note remembers that a viewing is in the trail.
func (c *clips) note(viewing string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for v, at := range c.told {
		if now.Sub(at) >= sameViewing {
			delete(c.told, v)
		}
	}
	c.told[viewing] = now
}

// span reads from and to, which must both be there.
func (q *query) span() (from, to time.Time) {
	from, to = q.time("from"), q.time("to")
	for name, at := range map[string]time.Time{"from": from, "to": to} {
		if at.IsZero() && q.text(name) == "" {
			q.ps.Add(devices.Invalid(name, "missing", "请填写时间", "give the time"))
		}
	}
	return from, to
}

// cameraEver gives the camera that is named, also one that has been retired: what it
// has shown stays until its days are over.
func (a *API) cameraEver(c echo.Context) (devices.Thing, error) {
	t, err := a.thing(c, devices.KindCamera)
	if err == nil {
		return t, nil
	}
	was, failed := retired[*devices.Camera](c.Request().Context(), a.Registry, devices.KindCamera, c.Param("id"))
	if was == nil || failed != nil || !sees(Who(c), a.Registry.Snapshot(), was) {
		return nil, errors.Join(failed, err)
	}
	return was, nil
}

func (a *API) listRecordings(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := query{c: c}
	from, to := q.span()
	q.known("from", "to")
	if err := q.ps.Err(); err != nil {
		return err
	}
	tl, err := a.Recordings.Timeline(c.Request().Context(), t.Key(), from, to)
	if err != nil {
		return err
	}
	body := timelineBody(&tl)
	body.Recorder = a.recorderOf(c.Request().Context(), t.Key(), from, to)
	return c.JSON(http.StatusOK, body)
}

func timelineBody(tl *recordings.Timeline) RecordingTimeline {
	body := RecordingTimeline{
		Recorded: []RecordingStretch{}, Gaps: gapsOf(tl), Events: []RecordingMark{}, Bytes: tl.Bytes, Days: tl.Days, Oldest: tl.Oldest,
	}
	for _, s := range tl.Recorded {
		body.Recorded = append(body.Recorded, RecordingStretch{From: s.From, To: s.To, Bytes: s.Bytes, Source: Own})
	}
	for _, m := range tl.Marks {
		body.Events = append(body.Events, RecordingMark{Event: m.Event, At: m.From})
	}
	return body
}

func gapsOf(tl *recordings.Timeline) []RecordingGap {
	list := make([]RecordingGap, 0, len(tl.Gaps))
	for _, g := range tl.Gaps {
		list = append(list, RecordingGap{From: g.From, To: g.To, Why: *ProblemOf(g.Why)})
	}
	return list
}

func (a *API) getClip(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	q := query{c: c}
	from, to := q.span()
	download, source := q.yes("download"), q.sourceOf()
	q.known("from", "to", "download", "source")
	if err := q.ps.Err(); err != nil {
		return err
	}
	leave, err := a.clips.under.enter(Who(c).ID)
	if err != nil {
		return err
	}
	defer leave()
	clip, err := a.film(c, t.Key(), from, to, source)
	if err != nil {
		return err
	}
	entry := audit.Entry{Act: "recording.view", What: "camera/" + clip.Camera, Detail: clip.detail()}
	if err := a.auditPlayback(c, entry); err != nil {
		return err
	}
	in := clip.Open()
	defer func() { _ = in.Close() }() // only read
	if err := allowTime(c, in); err != nil {
		return fmt.Errorf("clip of %s: %w", t.Key(), err)
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+clip.Tag+`"`)
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Disposition", fmt.Sprintf("%s; filename=%q", disposition(download), clipName(clip)))
	clip.tell(h)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, in)
	return nil
}

func disposition(download bool) string {
	if download {
		return "attachment"
	}
	return "inline"
}

// interval is how the trail names the time of a clip.
func interval(c *recording.Clip) string {
	return c.From.Format(time.RFC3339) + "/" + c.To.Format(time.RFC3339)
}

// auditPlayback writes who views a video into the trail, once for all the requests
// of a player.
func (a *API) auditPlayback(c echo.Context, e audit.Entry) error {
	now := time.Now()
	viewing := strings.Join([]string{Who(c).ID, e.What, e.Detail}, " ")
	if !a.clips.fresh(viewing, now) {
		return nil
	}
	if err := a.Audit.Record(c.Request().Context(), by(c, e)); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	a.clips.note(viewing, now)
	return nil
}

func (a *API) exportRecording(c echo.Context) error {
	t, err := a.cameraEver(c)
	if err != nil {
		return err
	}
	var body RecordingExportRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	body.Reason = strings.TrimSpace(body.Reason)
	if body.Reason == "" || utf8.RuneCountInString(body.Reason) > longestReason {
		return devices.Invalid("reason", "missing", "请写明导出原因，最长 500 个字", "say why it is exported, in at most 500 characters")
	}
	leave, err := a.clips.exports.enter(Who(c).ID)
	if err != nil {
		return err
	}
	defer leave()
	if err := http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(fetchTime + exportTime)); err != nil {
		return fmt.Errorf("export of %s: %w", t.Key(), err)
	}
	e, err := a.export(c, t.Key(), &body)
	if err != nil {
		return err
	}
	gaps := []RecordingGap{}
	if e.source() == Own {
		tl, err := a.Recordings.Timeline(c.Request().Context(), t.Key(), e.From, e.To)
		if err != nil {
			return err
		}
		gaps = gapsOf(&tl)
	}
	return c.JSON(http.StatusOK, e.body(gaps))
}
