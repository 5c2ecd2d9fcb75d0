// Package footage shows what cameras have shown: what the gateway has recorded of
// them by itself, and what their recorders keep. Clips are played and downloaded, and
// taken out as evidence; who does is in the audit trail.
package footage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/footage"
	"offsite/gateway/api/request"
)

// fetchTime is more than a recorder may take to play what is fetched at once.
const fetchTime = 12 * time.Minute

// Backend is what this part is served from.
type Backend struct {
	Films films
}

// films are what cameras have shown, as [footage.Footage] gives it.
type films interface {
	Timeline(ctx context.Context, camera string, from, to time.Time) (*footage.Timeline, error)
	Clip(ctx context.Context, camera string, from, to time.Time, source footage.Source) (*footage.Clip, error)
	Export(ctx context.Context, o footage.Order, note func(ctx context.Context, tx *sql.Tx, e *footage.Export) error) (*footage.Export, error)
	Package(ctx context.Context, camera, id string) (*footage.Package, error)
}

// API serves the operations of this part.
type API struct {
	Backend
	desk      *request.Desk
	once      *request.Once
	playing   *request.Places
	exporting *request.Places
}

// New makes the part at d.
func New(d *request.Desk, b Backend) *API {
	return &API{
		Backend: b, desk: d, once: request.NewOnce(d),
		playing: places(clipsAtAll, clipsEach), exporting: places(exportsAtAll, exportsEach),
	}
}

// places bounds what is played, or exported, at once.
func places(all, each int) *request.Places {
	return &request.Places{
		All: all, Each: each,
		Taken: &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy", ZH: "正在播放或导出的录像过多，请稍后再试", EN: "too many recordings are being played or exported; try again in a while",
		},
		Yours: &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy_yourself",
			ZH: fmt.Sprintf("您同时播放或导出的录像已达 %d 个，请先关闭一些播放页面或等导出结束", each),
			EN: fmt.Sprintf("you are playing or exporting %d recordings, which is the most; close some of them, or wait for the export", each),
		},
	}
}

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"listRecordings": a.listRecordings, "getClip": a.getClip, "exportRecording": a.exportRecording, "getExport": a.getExport,
	}
}
