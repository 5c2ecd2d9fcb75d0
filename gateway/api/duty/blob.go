package duty

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Exhibit is one piece of evidence; the caller closes it.
type Exhibit struct {
	io.ReadSeekCloser
	ContentType string
	Sites       []string // of the events that it belongs to
	Taken       time.Time
}

func (a *API) getBlob(c echo.Context) error {
	sum := c.Param("sha256")
	missing := request.NotFound("没有该证据文件", "there is no such piece of evidence")
	if !contract.IsSHA256(sum) {
		return missing
	}
	ctx := c.Request().Context()
	x, err := a.Evidence.OpenBlob(ctx, sum)
	if err == nil {
		defer func() { _ = x.Close() }()
	}
	if who := request.Who(c); errors.Is(err, devices.ErrNotFound) || x != nil && len(who.Sites) > 0 && !slices.ContainsFunc(x.Sites, who.Sees) {
		return missing
	}
	if err != nil {
		return err
	}
	if err := a.auditBlob(c, sum, x.ContentType); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("ETag", `"`+sum+`"`)
	h.Set("Content-Type", x.ContentType)
	h.Set("Content-Disposition", fmt.Sprintf("inline; filename=%q", sum[:16]+extension(x.ContentType)))
	if err := request.AllowTime(c, x); err != nil {
		return fmt.Errorf("blob %s: %w", sum, err)
	}
	http.ServeContent(c.Response(), c.Request(), "", x.Taken, x)
	return nil
}

// auditBlob writes who sees a piece of evidence into the trail: each time, but one
// playback of a clip once.
func (a *API) auditBlob(c echo.Context, sum, contentType string) error {
	entry := audit.Entry{Act: "blob.view", What: "blob/" + sum}
	if contentType == "video/mp4" {
		return a.once.Record(c, entry)
	}
	return a.desk.Record(c, entry)
}

func extension(contentType string) string {
	switch contentType {
	case "image/jpeg":
		return ".jpg"
	case "video/mp4":
		return ".mp4"
	case "application/json":
		return ".json"
	default:
		return ".bin"
	}
}
