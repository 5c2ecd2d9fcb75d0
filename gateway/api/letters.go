package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
)

// mostLetters is how many dead letters one page gives and one replay takes.
const mostLetters = 1000

// mayRead says whether p may see what came from a device; that of a device
// which is gone belongs to nobody but those who see all sites.
func (l *DeadLetter) mayRead(p Principal) bool {
	return len(p.Sites) == 0 || (l.Site != "" && p.Sees(l.Site))
}

func (a *API) listLetters(c echo.Context) error {
	q := query{c: c}
	device, most := q.text("device"), q.number("max", 100, mostLetters)
	before := int64(q.number("before", 0, 1<<53))
	q.known("device", "before", "max")
	if err := q.ps.Err(); err != nil {
		return err
	}
	body := DeadLetterList{Items: []DeadLetter{}}
	for who := Who(c); ; {
		page, err := a.Letters.Letters(c.Request().Context(), LetterFilter{Device: device, Before: before, Most: mostLetters})
		if err != nil {
			return err
		}
		for i := range page {
			if before = page[i].ID; page[i].mayRead(who) && len(body.Items) < most {
				body.Items = append(body.Items, page[i])
			}
		}
		if len(page) < mostLetters || len(body.Items) == most {
			return c.JSON(http.StatusOK, body)
		}
	}
}

// PayloadOf gives a payload as text where it is text, else in base64.
func PayloadOf(payload []byte) (text string, encoding DeadLetterEncoding) {
	if utf8.Valid(payload) && strings.IndexByte(string(payload), 0) < 0 {
		return string(payload), UTF8
	}
	return base64.StdEncoding.EncodeToString(payload), Base64
}

// replayLetters reads dead letters again. The trail has the attempt before it is made.
func (a *API) replayLetters(c echo.Context) error {
	var body ReplayRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	switch {
	case len(body.Ids) == 0 && body.Device == "":
		return devices.Invalid("ids", "missing", "请给出报文编号，或给出设备以重新解析它的全部报文", "name the messages, or the device of which all are to be read again")
	case len(body.Ids) > mostLetters:
		return devices.Invalid("ids", "too_many", fmt.Sprintf("一次最多 %d 条报文", mostLetters), fmt.Sprintf("read at most %d messages again at once", mostLetters))
	}
	ctx, who := c.Request().Context(), Who(c)
	page, err := a.Letters.Letters(ctx, LetterFilter{Device: body.Device, IDs: body.Ids, Most: mostLetters})
	if err != nil {
		return err
	}
	var ids []int64
	for i := range page {
		if page[i].mayRead(who) {
			ids = append(ids, page[i].ID)
		}
	}
	if len(ids) == 0 {
		return notFound("没有等待解析的报文", "there are no such messages that wait to be understood")
	}
	what := "device/" + body.Device
	if body.Device == "" {
		what = "device/" + page[0].Device
	}
	if err := a.Audit.Record(ctx, by(c, audit.Entry{Act: "dead_letter.replay", What: what, After: audit.Hash(ids)})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	result, err := a.Letters.Replay(ctx, ids)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, result)
}
