package supervision

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

func (a *API) getPlatform(c echo.Context) error {
	p, err := a.Platform.Platform(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, p)
}

func (a *API) enrolPlatform(c echo.Context) error {
	var body contract.Enrolment
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if body.Code == "" {
		return devices.Invalid("code", "missing", "请填写平台给出的激活码", "give the activation code of the platform")
	}
	if !strings.HasPrefix(body.URL, "https://") && !strings.HasPrefix(body.URL, "http://") {
		return devices.Invalid("url", "bad_address", "地址须形如 https://platform.example.cn", "write the address like https://platform.example.cn")
	}
	// The platform is asked outside any transaction.
	err := a.desk.Attempt(c, audit.Entry{Act: "platform.enrol", What: "platform/" + body.URL}, func(ctx context.Context) (string, error) {
		return "", a.Platform.Enrol(ctx, body.URL, body.Code)
	})
	if err != nil {
		return err
	}
	return a.getPlatform(c)
}

// receiveCommand hands a command of the platform on, as it came.
func (a *API) receiveCommand(c echo.Context) error {
	command, err := request.ReadBody(c)
	if err != nil {
		return err
	}
	c.Request().Body = io.NopCloser(bytes.NewReader(command))
	status, answer, err := a.Platform.Receive(c.Request())
	if err != nil {
		return err
	}
	return c.JSONBlob(status, answer)
}
