package duty

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// filed is one file of an event's evidence under the name that people see.
type filed struct {
	sha, name string
	deleted   *contract.FieldProblem // when and why it was; nil: it is there
}

// filesOf gives the files of an event's evidence, the manifest first.
func filesOf(e contract.Evident) []filed {
	var list []filed
	add := func(sha, name string, deleted *contract.FieldProblem) {
		if sha != "" && !slices.ContainsFunc(list, func(f filed) bool { return f.sha == sha }) {
			list = append(list, filed{sha, name, deleted})
		}
	}
	add(e.Manifest, "manifest.json", nil)
	for _, p := range e.Pictures {
		name := p.Camera + "-clip"
		if p.Kind == "still" {
			name = p.Camera + "-" + moment(time.Duration(p.Moment))
		}
		var deleted *contract.FieldProblem
		if !p.DeletedAt.IsZero() {
			deleted = p.Problem
		}
		add(p.Sha256, name+extension(p.ContentType), deleted)
		add(p.Marked, name+"-marked.jpg", deleted)
	}
	return list
}

// moment names the moment of a still.
func moment(d time.Duration) string {
	switch {
	case d < 0:
		return fmt.Sprintf("%.1fs-before", -d.Seconds())
	case d > 0:
		return fmt.Sprintf("%.1fs-after", d.Seconds())
	}
	return "at"
}

// evidenceOf gives the event that the path names, if who asks may see it, and its
// evidence.
func (a *API) evidenceOf(c echo.Context) (string, contract.Evident, error) {
	ev, err := a.event(c)
	if err != nil {
		return "", contract.Evident{}, err
	}
	e, err := a.Evidence.Evident(c.Request().Context(), ev.ID)
	if err != nil {
		return "", contract.Evident{}, fmt.Errorf("evidence of event %s: %w", ev.ID, err)
	}
	return ev.ID, e, nil
}

func (a *API) verifyEvidence(c echo.Context) error {
	id, e, err := a.evidenceOf(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	check := contract.EvidenceCheck{CheckedAt: time.Now().UTC(), Whole: true, Files: []contract.CheckedFile{}}
	for _, f := range filesOf(e) {
		if f.deleted != nil { // as it ought to be
			check.Files = append(check.Files, contract.CheckedFile{Sha256: f.sha, Problem: f.deleted})
			continue
		}
		file := contract.CheckedFile{Sha256: f.sha, Whole: true}
		x, err := a.Evidence.OpenBlob(ctx, f.sha)
		if err == nil {
			err = x.Close()
		}
		if err != nil {
			file.Whole, check.Whole = false, false
			file.Problem = contract.ProblemOf(devices.AllProblems(err)[0])
		}
		check.Files = append(check.Files, file)
	}
	result := "ok"
	if !check.Whole {
		result = "damaged"
	}
	if err := a.desk.Record(c, audit.Entry{Act: "evidence.verify", What: "event/" + id, Result: result}); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, check)
}

func (a *API) getEvidencePackage(c echo.Context) error {
	id, e, err := a.evidenceOf(c)
	if err != nil {
		return err
	}
	list := filesOf(e)
	if len(list) == 0 {
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "no_evidence", ZH: "该事件没有证据文件", EN: "this event has no evidence file"}
	}
	ctx := c.Request().Context()
	var sums, deleted strings.Builder
	for _, f := range list {
		if f.deleted != nil {
			fmt.Fprintf(&deleted, "%s  %s  %s / %s\n", f.sha, f.name, f.deleted.Zh, f.deleted.En)
			continue
		}
		// Read through before anything is sent: what is damaged gets an answer.
		x, err := a.Evidence.OpenBlob(ctx, f.sha)
		if err != nil {
			return err
		}
		if err := errors.Join(request.AllowTime(c, x), x.Close()); err != nil {
			return fmt.Errorf("evidence of event %s: %w", id, err)
		}
		fmt.Fprintf(&sums, "%s  %s\n", f.sha, f.name)
	}
	if err := a.desk.Record(c, audit.Entry{Act: "evidence.export", What: "event/" + id, Detail: e.Manifest}); err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set("Content-Type", "application/zip")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", id+".zip"))
	c.Response().WriteHeader(http.StatusOK)
	archive := zip.NewWriter(c.Response())
	for _, f := range list {
		if f.deleted != nil {
			continue
		}
		if err := a.pack(c, archive, f); err != nil {
			return err // the archive has no end and opens nowhere
		}
	}
	err = tell(archive, "SHA256SUMS", sums.String())
	if deleted.Len() > 0 {
		err = errors.Join(err, tell(archive, "DELETED.txt", deleted.String()))
	}
	return errors.Join(err, archive.Close())
}

// tell puts a text into the archive.
func tell(archive *zip.Writer, name, text string) error {
	w, err := archive.Create(name)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	return err
}

// pack puts one file into the archive; pictures are compressed as they are.
func (a *API) pack(c echo.Context, archive *zip.Writer, f filed) error {
	x, err := a.Evidence.OpenBlob(c.Request().Context(), f.sha)
	if err != nil {
		return err
	}
	defer func() { _ = x.Close() }()
	if err := request.AllowTime(c, x); err != nil { // for each: the last one may be the smallest
		return fmt.Errorf("blob %s: %w", f.sha, err)
	}
	w, err := archive.CreateHeader(&zip.FileHeader{Name: f.name, Method: zip.Store, Modified: x.Taken})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, x)
	return err
}
