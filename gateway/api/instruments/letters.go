package instruments

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// LetterFilter says which dead letters are meant; zero fields do not matter.
type LetterFilter struct {
	Device string
	IDs    []int64
	Before int64 // only those with a lower id
	Most   int   // at most 1,000
}

// mostLetters is how many dead letters one page gives and one replay takes.
const mostLetters = 1000

// mayRead says whether p may see what came from a device; that of a device
// which is gone belongs to nobody but those who see all sites.
func mayRead(p request.Principal, l *contract.DeadLetter) bool {
	return len(p.Sites) == 0 || (l.Site != "" && p.Sees(l.Site))
}

func (a *API) listLetters(c echo.Context) error {
	q := request.QueryOf(c)
	device, most := q.Text("device"), q.Number("max", 100, mostLetters)
	before := int64(q.Number("before", 0, 1<<53))
	q.Known("device", "before", "max")
	if err := q.Err(); err != nil {
		return err
	}
	body := contract.DeadLetterList{Items: []contract.DeadLetter{}}
	for who := request.Who(c); ; {
		page, err := a.Letters.Letters(c.Request().Context(), LetterFilter{Device: device, Before: before, Most: mostLetters})
		if err != nil {
			return err
		}
		for i := range page {
			if before = page[i].ID; mayRead(who, &page[i]) && len(body.Items) < most {
				body.Items = append(body.Items, page[i])
			}
		}
		if len(page) < mostLetters || len(body.Items) == most {
			return c.JSON(http.StatusOK, body)
		}
	}
}

// replayLetters reads dead letters again. The trail has the attempt before it is made.
func (a *API) replayLetters(c echo.Context) error {
	var body contract.ReplayRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	switch {
	case len(body.Ids) == 0 && body.Device == "":
		return devices.Invalid("ids", "missing", "请给出报文编号，或给出设备以重新解析它的全部报文", "name the messages, or the device of which all are to be read again")
	case len(body.Ids) > mostLetters:
		return devices.Invalid("ids", "too_many", fmt.Sprintf("一次最多 %d 条报文", mostLetters), fmt.Sprintf("read at most %d messages again at once", mostLetters))
	}
	ctx, who := c.Request().Context(), request.Who(c)
	page, err := a.Letters.Letters(ctx, LetterFilter{Device: body.Device, IDs: body.Ids, Most: mostLetters})
	if err != nil {
		return err
	}
	var ids []int64
	for i := range page {
		if mayRead(who, &page[i]) {
			ids = append(ids, page[i].ID)
		}
	}
	if len(ids) == 0 {
		return request.NotFound("没有等待解析的报文", "there are no such messages that wait to be understood")
	}
	what := "device/" + body.Device
	if body.Device == "" {
		what = "device/" + page[0].Device
	}
	if err := a.desk.Record(c, audit.Entry{Act: "dead_letter.replay", What: what, After: audit.Hash(ids)}); err != nil {
		return err
	}
	result, err := a.Letters.Replay(ctx, ids)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, result)
}
