package registration

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/registry/table"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Bounds of imports: how long one table may keep others from changing anything,
// and how many are read into memory at once.
const (
	longestImport = time.Minute
	importsAtAll  = 2
)

// collection finds the kind that a path names, "devices".
func collection(path string) (thingKind, error) {
	at := slices.IndexFunc(kinds, func(k thingKind) bool { return k.path == path })
	if at < 0 {
		return thingKind{}, request.NotFound("没有这类对象："+path, "there is no such collection: "+path)
	}
	return kinds[at], nil
}

func (a *API) importThings(c echo.Context) error {
	k, err := collection(c.Param("kind"))
	if err != nil {
		return err
	}
	how, form, err := importQuery(c)
	if err != nil {
		return err
	}
	select {
	case a.tables <- struct{}{}:
		defer func() { <-a.tables }()
	default:
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "busy", ZH: "正在导入其他文件，请稍后再试", EN: "other tables are being imported; try again in a while"}
	}
	body, err := readTable(c)
	if err != nil {
		return err
	}
	rows, err := table.Read(k.kind, body, form)
	if err != nil {
		return err
	}
	how.May = func(s *registry.Snapshot, t devices.Thing, isNew bool) *devices.Problem {
		return request.MayChange(request.Who(c), s, t, isNew)
	}
	how.Also = func(ctx context.Context, e *registry.Edit, done *table.Outcome) error {
		sum := sha256.Sum256(body)
		return a.desk.Trail.Append(ctx, e.Tx(), request.By(c, audit.Entry{
			Act: "table.import", What: fmt.Sprintf("%s: %d created, %d replaced", k.path, done.Created, done.Replaced), After: hex.EncodeToString(sum[:]),
		}))
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), longestImport)
	defer cancel()
	done, err := rows.Import(ctx, a.desk.Registry, how)
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		return devices.Invalid("", "too_slow", "文件一分钟内未能处理完，未作更改；请分成几个文件", "the table took more than a minute, nothing was changed; split it")
	}
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, importResult(done))
}

func importQuery(c echo.Context) (how table.How, form table.Form, err error) {
	q := request.QueryOf(c)
	how.DryRun = q.Yes("dry_run")
	how.ByRow = q.OneOf("mode", "file", "row") == "row"
	form.Encoding = q.OneOf("encoding", "", table.UTF8, table.GB18030)
	q.Known("dry_run", "encoding", "mode")
	return how, form, q.Err()
}

// readTable reads a body of text/csv.
func readTable(c echo.Context) ([]byte, error) {
	if kind, _, err := mime.ParseMediaType(c.Request().Header.Get(echo.HeaderContentType)); err != nil || kind != "text/csv" {
		return nil, &devices.Problem{Kind: contract.ErrMediaType, Code: "not_csv", ZH: "请求体须为 text/csv", EN: "send the body as text/csv"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, table.Max))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &devices.Problem{Kind: contract.ErrTooLarge, Code: "body_too_large", ZH: "文件不得超过 16 MiB，请分成几个文件", EN: "a table has at most 16 MiB; split it"}
	case err != nil:
		return nil, devices.Invalid("", "body_broken", "请求体未能完整读取", "the body could not be read to its end")
	}
	return body, nil
}

func importResult(done table.Outcome) contract.ImportResult {
	r := contract.ImportResult{
		Stored: done.Stored, Rows: done.Rows, Created: done.Created, Replaced: done.Replaced, Unchanged: done.Unchanged,
		Faults: make([]contract.TableFault, 0, len(done.Faults)), MoreFaults: done.More,
	}
	for _, f := range done.Faults {
		r.Faults = append(r.Faults, contract.TableFault{Line: f.Line, Column: f.Column, Field: f.Name, Code: f.Problem.Code, Zh: f.Problem.ZH, En: f.Problem.EN})
	}
	return r
}

func (a *API) exportThings(c echo.Context) error {
	// echo takes the whole segment for one parameter.
	k, err := collection(strings.TrimSuffix(c.Param("kind.csv"), ".csv"))
	if err != nil {
		return err
	}
	q := request.QueryOf(c)
	form := table.Form{Encoding: q.OneOf("encoding", table.UTF8, table.GB18030), Semicolon: q.OneOf("separator", "comma", "semicolon") == "semicolon"}
	q.Known("encoding", "separator", "site")
	if err := q.Err(); err != nil {
		return err
	}
	s := a.desk.Registry.Snapshot()
	var things []devices.Thing
	for _, t := range s.List(k.kind) {
		if request.Sees(request.Who(c), s, t) && (q.Text("site") == "" || inSite(s, t, q.Text("site")) || entityOf(s, t, q.Text("site"))) {
			things = append(things, t)
		}
	}
	var text strings.Builder
	if err := table.Write(&text, k.kind, things, form); err != nil {
		return err
	}
	if err := a.desk.Record(c, audit.Entry{Act: "table.export", What: fmt.Sprintf("%s: %d", k.path, len(things))}); err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+k.path+`.csv"`)
	return c.Blob(http.StatusOK, "text/csv; charset="+form.Encoding, []byte(text.String()))
}

func entityOf(s *registry.Snapshot, t devices.Thing, site string) bool {
	e, ok := t.(*devices.Entity)
	return ok && request.AnswersFor(s, e.ID, site)
}
