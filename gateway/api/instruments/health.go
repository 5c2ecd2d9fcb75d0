package instruments

import (
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// formulas are how rates are computed.
var formulas = contract.Formulas{Online: contract.Words{
	ZH: "在线率 = 在线时长 ÷ 应在线时长（每日按北京时间）。应在线时长 = 当日至今绑定有效的时长 − 维护时长 − 网关正常停机时长；在线时长 = 应在线时长 − 缺口时长（含网关非正常中断）。" +
		"排口的在线率按其全部设备的时长合计。频繁通断时缺口合并记录，此值为下限。",
	EN: "Online rate = online time / expected time, by days of Beijing time. Expected = time of the day so far with a binding in force − maintenance − orderly shutdown of the gateway; " +
		"online = expected − gaps (those in which the gateway was cut off among them). An outlet's adds up the time of all its devices. Gaps of a flapping device share a row, so that its rate is a lower bound.",
}, Success: contract.Words{
	ZH: "成功率 = 成功次数 ÷（成功次数 + 失败次数）。轮询的设备按轮询计：有应答为成功；自行上报的设备按报文计：能解析为成功。测点按读数计：可用为成功，读不到、无效或无法解析为失败。",
	EN: "Success = succeeded / (succeeded + failed). Of a device that is polled, polls: answered or not; of one that sends by itself, messages: understood or not. Of a point, readings: usable, or not read or bad.",
}}

func (a *API) listHealth(c echo.Context) error {
	q := request.QueryOf(c)
	site := q.Text("site")
	q.Known("site")
	if err := q.Err(); err != nil {
		return err
	}
	who := request.Who(c)
	body, err := a.Health.Health(c.Request().Context(), func(d *devices.Device) bool { return who.Sees(d.Site) && (site == "" || d.Site == site) })
	if err != nil {
		return err
	}
	body.Formulas = formulas
	return c.JSON(http.StatusOK, body)
}

func (a *API) getDeviceHealth(c echo.Context) error {
	dev, err := a.desk.Thing(c, devices.KindDevice)
	if err != nil {
		return err
	}
	body, err := a.Health.Health(c.Request().Context(), func(d *devices.Device) bool { return d.ID == dev.Key() })
	if err != nil {
		return err
	}
	if len(body.Items) == 0 { // retired meanwhile
		return echo.ErrNotFound
	}
	body.Items[0].Formulas = &formulas
	return c.JSON(http.StatusOK, body.Items[0])
}

// maintain puts things of a kind under maintenance.
func (a *API) maintain(kind devices.Kind) echo.HandlerFunc {
	return func(c echo.Context) error {
		thing, err := a.desk.Thing(c, kind)
		if err != nil {
			return err
		}
		var body contract.MaintenanceRequest
		if err := request.Decode(c, &body); err != nil {
			return err
		}
		subject := string(kind) + "/" + thing.Key()
		entry := audit.Entry{
			Act: string(kind) + ".maintenance.begin", What: subject, Purpose: strings.TrimSpace(body.Reason),
			Detail: "until " + body.Until.UTC().Format(time.RFC3339),
		}
		m, err := a.Health.Maintain(c.Request().Context(), subject, request.Who(c).ID, body, a.desk.Also(c, entry))
		if err != nil {
			return err
		}
		return c.JSON(http.StatusOK, m)
	}
}

// endMaintenance ends what maintain began.
func (a *API) endMaintenance(kind devices.Kind) echo.HandlerFunc {
	return func(c echo.Context) error {
		thing, err := a.desk.Thing(c, kind)
		if err != nil {
			return err
		}
		subject := string(kind) + "/" + thing.Key()
		entry := audit.Entry{Act: string(kind) + ".maintenance.end", What: subject}
		err = a.Health.EndMaintenance(c.Request().Context(), subject, a.desk.Also(c, entry))
		if err != nil {
			return err
		}
		return c.NoContent(http.StatusNoContent)
	}
}
