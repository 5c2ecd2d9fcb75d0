package video

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/request"
)

// openings remembers who looks at stills, so that a picture that is refreshed is
// one act in the trail from its opening on, as other live pictures are.
type openings struct {
	mu   sync.Mutex
	last map[string]time.Time // asking, by viewing
}

func newOpenings() *openings { return &openings{last: map[string]time.Time{}} }

// begins notes that a viewing asks at now, and says whether that opens it: one that has not
// asked for as long as a playback had ended.
func (o *openings) begins(viewing string, now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for v, last := range o.last {
		if now.Sub(last) >= playbackIdle {
			delete(o.last, v)
		}
	}
	_, goesOn := o.last[viewing]
	o.last[viewing] = now
	return !goesOn
}

// forget lets the viewing open anew.
func (o *openings) forget(viewing string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.last, viewing)
}

// auditStill writes into the trail who opens a picture that is refreshed.
func (a *API) auditStill(c echo.Context, what string) error {
	e := request.By(c, audit.Entry{Act: "still.view", What: what})
	viewing := strings.Join([]string{e.Who, e.From, what}, " ")
	if !a.openings.begins(viewing, time.Now()) {
		return nil
	}
	if err := a.desk.Record(c, e); err != nil {
		a.openings.forget(viewing)
		return err
	}
	return nil
}

func (a *API) getStill(c echo.Context) error {
	t, err := a.desk.Thing(c, devices.KindCamera)
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	width := q.Number("width", 0, 8192)
	if err := q.Err(); err != nil {
		return err
	}
	if err := a.auditStill(c, "camera/"+t.Key()); err != nil {
		return err
	}
	still, err := a.Cameras.Still(c.Request().Context(), t.Key(), width)
	if err != nil {
		return err
	}
	content, kind := still.JPEG, "image/jpeg"
	if len(content) == 0 {
		content, kind = still.Frame, "video/mp4"
	}
	h := c.Response().Header()
	h.Set("X-Captured-At", still.At.UTC().Format(time.RFC3339Nano))
	h.Set("X-Still-Step", still.Step)
	h.Set("Content-Type", kind)
	sum := sha256.Sum256(content)
	h.Set("ETag", `"`+hex.EncodeToString(sum[:16])+`"`)
	http.ServeContent(c.Response(), c.Request(), "", time.Time{}, bytes.NewReader(content))
	return nil
}
