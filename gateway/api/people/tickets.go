package people

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// ticketPaths say where a ticket of each purpose opens.
var ticketPaths = map[contract.TicketRequestPurpose]func(target string) string{
	contract.Still: func(id string) string { return "/cameras/" + id + "/still.jpg" },
	contract.View:  func(id string) string { return "/cameras/" + id + "/live" },
	contract.Hls:   func(id string) string { return "/cameras/" + id + "/hls/index.m3u8" },
	contract.Blob:  func(sum string) string { return "/blobs/" + sum },
	contract.Live:  func(string) string { return "/live" },
}

func (a *API) createTicket(c echo.Context) error {
	var body contract.TicketRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if err := a.checkTicket(c, body); err != nil {
		return err
	}
	secret, expires, err := a.Accounts.Ticket(request.Who(c), string(body.Purpose), body.Target)
	if err != nil {
		return err
	}
	url := contract.Base + ticketPaths[body.Purpose](body.Target) + "?ticket=" + secret
	return c.JSON(http.StatusCreated, contract.Ticket{Ticket: secret, ExpiresAt: expires, URL: url})
}

func (a *API) checkTicket(c echo.Context, body contract.TicketRequest) error {
	switch body.Purpose {
	case contract.Still, contract.View, contract.Hls:
		_, err := request.Visible(request.Who(c), a.desk.Registry.Snapshot(), devices.KindCamera, body.Target)
		return err
	case contract.Blob:
		if !contract.IsSHA256(body.Target) {
			return devices.Invalid("target", "bad_hash", "须为 64 位十六进制 SHA-256", "give the 64 hexadecimal digits of a SHA-256")
		}
	case contract.Live:
		if body.Target != "" {
			return devices.Invalid("target", "not_used", "实时流没有目标，请留空", "the live stream has no target; leave it empty")
		}
	default:
		return devices.Invalid("purpose", "not_one_of", "用途须为 still、view、hls、live 或 blob", "choose still, view, hls, live or blob")
	}
	return nil
}
