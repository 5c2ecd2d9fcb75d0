package request

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
)

// slowest is the line that is still good enough for evidence, bytes a second.
const slowest = 16 << 10

// AllowTime gives a large answer more time than the server's deadline.
func AllowTime(c echo.Context, content io.Seeker) error {
	size, err := content.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = content.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	return AllowBytes(c, size)
}

// AllowBytes gives an answer of about this size more time than the server's deadline.
func AllowBytes(c echo.Context, size int64) error {
	return AllowFor(c, 2*time.Minute+time.Duration(size/slowest)*time.Second)
}

// AllowFor gives an answer that is long in the making this long.
func AllowFor(c echo.Context, d time.Duration) error {
	return http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(d))
}

// Endlessly lifts the server's deadlines from a stream.
func Endlessly(c echo.Context) error {
	ctl := http.NewResponseController(c.Response())
	if err := errors.Join(ctl.SetReadDeadline(time.Time{}), ctl.SetWriteDeadline(time.Time{})); err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	return nil
}

// Shorten cuts s to at most n bytes, between characters.
func Shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// NoContent answers what has no content.
func NoContent(c echo.Context, err error) error {
	if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// NotFound says that what the request names is not there, or lies outside the rights of who asks.
func NotFound(zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrNotFound, Code: "not_found", ZH: zh, EN: en}
}
