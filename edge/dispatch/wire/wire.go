// Package wire holds what gateway and platform say to each other as openapi.yaml
// lays it down: the messages, whose types are made from that document by
// `go generate ./edge/dispatch`, their times and problem bodies, and the signature that each carries.
// Both sides use it, the gateway's client and the reference platform.
package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"offsite/devices"
)

// Time is an instant as the contract writes it: RFC 3339 in Beijing time with
// milliseconds. The zero Time stands for none.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z07:00"

// At gives t in the contract's form.
func At(t time.Time) Time { return Time{t.Truncate(time.Millisecond)} }

// String writes t in Beijing time.
func (t Time) String() string { return t.In(devices.Beijing).Format(timeLayout) }

// MarshalJSON writes t in Beijing time.
func (t Time) MarshalJSON() ([]byte, error) { return json.Marshal(t.String()) }

// UnmarshalJSON reads any RFC 3339 time.
func (t *Time) UnmarshalJSON(data []byte) error { return t.Time.UnmarshalJSON(data) }

// Body gives p as the problem body of an answer with the given status.
func Body(p *devices.Problem, status int) *ProblemBody {
	code := p.Code
	if code == "" {
		code = "internal"
	}
	return &ProblemBody{Type: "about:blank", Status: status, Code: code, Title: p.EN, TitleZh: p.ZH, Field: p.Field}
}

// Problem turns what the other side answered into a Problem that quotes it.
func (b *ProblemBody) Problem() *devices.Problem {
	zh := b.TitleZh
	if zh == "" {
		zh = b.Title
	}
	text := fmt.Sprintf("%d %s", b.Status, http.StatusText(b.Status))
	if b.Detail != "" {
		text += ": " + b.Detail
	}
	return &devices.Problem{
		Code: "platform_" + b.Code, Field: b.Field,
		ZH:    "监管平台：" + zh + "；请与平台核对",
		EN:    "the platform says: " + b.Title + "; settle it with the platform",
		Cause: fmt.Errorf("%s", text),
	}
}
