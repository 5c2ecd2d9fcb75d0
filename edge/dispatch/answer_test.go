package dispatch

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"offsite/edge/dispatch/wire"
)

func TestClassify(t *testing.T) {
	now := time.Date(2026, 3, 1, 4, 30, 0, 0, time.UTC)
	jsonBody := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	problem := http.Header{"Content-Type": {"application/problem+json"}}
	html := http.Header{"Content-Type": {"text/html"}}
	tests := []struct {
		name    string
		status  int
		header  http.Header
		body    string
		readErr error
		want    Class
		code    string
	}{
		{"taken", 200, jsonBody, `{"accepted":1}`, nil, Done, ""},
		{"created", 201, jsonBody, `{}`, nil, Done, ""},
		{"a page of HTML", 200, html, `<p>It works!`, nil, Retry, "platform_garbled"},
		{"empty", 200, jsonBody, ``, nil, Retry, "platform_garbled"},
		{"empty without type", 204, nil, ``, nil, Retry, "platform_garbled"},
		{"another form", 200, jsonBody, `[1]`, nil, Retry, "platform_garbled"},
		{"half", 200, jsonBody, `{"accepted":1}`, io.ErrUnexpectedEOF, Retry, "platform_garbled"},
		{"half that could be read", 200, jsonBody, `{"accep`, nil, Retry, "platform_garbled"},
		{"duplicate", 409, problem, `{"status":409,"code":"duplicate","title":"x"}`, nil, Done, ""},
		{"duplicate without body", 409, nil, ``, nil, Done, ""},
		{"precondition, duplicate", 412, problem, `{"code":"duplicate","title":"x"}`, nil, Done, ""},
		{"conflict of another kind", 409, problem, `{"code":"illegal_transition","title":"x"}`, nil, Refused, "platform_illegal_transition"},
		{"conflict that no platform spoke", 409, html, `<h1>blocked`, nil, Retry, "platform_status_409"},
		{"half of a duplicate", 409, problem, `{"status":409,"co`, io.ErrUnexpectedEOF, Retry, "platform_status_409"},
		{"half of a refusal", 422, problem, `{"status":422,"co`, io.ErrUnexpectedEOF, Retry, "platform_status_422"},
		{"request time-out", 408, nil, ``, nil, Retry, "platform_status_408"},
		{"too early", 425, problem, `{"code":"out_of_order","title":"x"}`, nil, Retry, "platform_out_of_order"},
		{"too many", 429, nil, ``, nil, Retry, "platform_status_429"},
		{"internal", 500, html, `<h1>oops`, nil, Retry, "platform_status_500"},
		{"gateway", 502, nil, ``, io.ErrUnexpectedEOF, Retry, "platform_status_502"},
		{"unauthorized", 401, problem, `{"code":"unknown_key","title":"x"}`, nil, Pause, "platform_unknown_key"},
		{"forbidden", 403, nil, ``, nil, Pause, "platform_status_403"},
		{"not found", 404, nil, ``, nil, Pause, "platform_status_404"},
		{"method", 405, nil, ``, nil, Pause, "platform_status_405"},
		{"proxy wants a password", 407, nil, ``, nil, Pause, "platform_status_407"},
		{"moved", 302, html, ``, nil, Pause, "platform_redirects"},
		{"moved for good", 308, html, ``, nil, Pause, "platform_redirects"},
		{"bad request", 400, problem, `{"code":"bad_json","title":"x"}`, nil, Refused, "platform_bad_json"},
		{"too large", 413, nil, ``, nil, Refused, "platform_status_413"},
		{"media type", 415, nil, ``, nil, Refused, "platform_status_415"},
		{"unprocessable", 422, problem, `{"code":"contract_broken","title":"x"}`, nil, Refused, "platform_contract_broken"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if header == nil {
				header = http.Header{}
			}
			var into wire.Receipt
			a := classify(tt.status, header, []byte(tt.body), tt.readErr, &into, now)
			if a.Class != tt.want || a.Status != tt.status {
				t.Errorf("class %v status %d, want %v", a.Class, a.Status, tt.want)
			}
			got := ""
			if a.Problem != nil {
				got = a.Problem.Code
				if a.Problem.ZH == "" || a.Problem.EN == "" {
					t.Errorf("problem is not in both languages: %+v", a.Problem)
				}
			}
			if got != tt.code {
				t.Errorf("code %q, want %q", got, tt.code)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 4, 30, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, header string
		want         time.Duration
	}{
		{"none", "", 0},
		{"seconds", "7", 7 * time.Second},
		{"a date", now.Add(90 * time.Second).Format(http.TimeFormat), 90 * time.Second},
		{"a date gone by", now.Add(-time.Hour).Format(http.TimeFormat), 0},
		{"a day", "86400", time.Hour},
		{"overflow", "9223372036854775807", time.Hour},
		{"negative", "-3", 0},
		{"nonsense", "soon", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.header != "" {
				h.Set("Retry-After", tt.header)
			}
			if got := retryAfter(h, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestUnreachable(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"refused", errors.New("connection refused"), "platform_unreachable"},
		{"deadline", context.DeadlineExceeded, "platform_timeout"},
		{"i/o time-out", os.ErrDeadlineExceeded, "platform_timeout"},
		{"certificate", x509.UnknownAuthorityError{}, "platform_certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if p := unreachable(tt.err); p.Code != tt.want || !errors.Is(p, tt.err) && tt.name != "certificate" {
				t.Errorf("got %v", p)
			}
		})
	}
}

func TestPauseGrowsToItsBound(t *testing.T) {
	for failures := 1; failures < 70; failures++ {
		for range 50 {
			bound := time.Minute
			if failures < 7 {
				bound = time.Second << (failures - 1)
			}
			if d := pause(failures, time.Minute); d <= 0 || d > bound {
				t.Fatalf("%d failures: %v, want at most %v", failures, d, bound)
			}
		}
	}
}

func TestClock(t *testing.T) {
	base := time.Date(2026, 3, 1, 4, 30, 0, 0, time.UTC)
	date := func(t time.Time) string { return t.Truncate(time.Second).Format(http.TimeFormat) }
	var k clock
	if _, known := k.read(); known {
		t.Error("known before anything was heard")
	}
	k.date(date(base.Add(400*time.Millisecond)), base.Add(399*time.Millisecond), base.Add(401*time.Millisecond))
	if d, known := k.read(); !known || d != 0 {
		t.Errorf("a Date that agrees moved the clock by %v", d)
	}
	k.exact(base.Add(1500*time.Millisecond), base, base.Add(200*time.Millisecond))
	k.date(date(base), base, base)
	if d, _ := k.read(); d != 1400*time.Millisecond {
		t.Errorf("a coarse Date overrode an exact time: %v", d)
	}
	k.date(date(base.Add(time.Hour)), base, base)
	if d, _ := k.read(); (d - time.Hour).Abs() > time.Second {
		t.Errorf("a Date far away was not believed: %v", d)
	}
	k.date("yesterday", base, base)
	if d, _ := k.read(); (d - time.Hour).Abs() > time.Second {
		t.Errorf("nonsense moved the clock: %v", d)
	}
}
