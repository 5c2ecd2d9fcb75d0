package influx

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"
	"time"

	client "github.com/influxdata/influxdb-client-go/v2/api/http"

	"offsite/devices"
	"offsite/timeseries"
)

// class is what is to be done with lines that were not written.
type class int

const (
	keep   class = iota // the lines are not at fault: write them again later
	refine              // a line among them is refused, or they are too many
)

// classify turns an error of the client library into what to do and what to say.
func (s *Store) classify(ctx context.Context, err error) (class, error) {
	var answer *client.Error
	if !errors.As(err, &answer) || answer.StatusCode == 0 {
		return keep, s.unreachable(err)
	}
	message := strings.TrimSpace(devices.Scrub(answer.Message, s.cfg.Token, s.cfg.Password))
	switch answer.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		if !spokenByInflux(answer.Header) {
			return keep, s.foreign(answer.StatusCode)
		}
		return refine, &devices.Problem{
			Kind: devices.ErrInvalid, Code: "line_refused", Field: "value",
			ZH: "InfluxDB 拒绝该读数，其余照常写入；请核对库中 reading 的字段类型（v 为 float，q 为 integer）和保存期：" + message,
			EN: "InfluxDB refuses this reading, all others are stored; check the field types of reading there (v is float, q is integer) and the retention: " + message,
		}
	case http.StatusRequestEntityTooLarge:
		return refine, &devices.Problem{
			Kind: devices.ErrInvalid, Code: "line_too_large", Field: "value",
			ZH: "InfluxDB 认为请求过大，请调高 max-body-size", EN: "InfluxDB finds even one line too large; raise its max-body-size",
		}
	default:
		return keep, s.statusProblem(ctx, answer.StatusCode, time.Duration(answer.RetryAfter)*time.Second, message)
	}
}

// spokenByInflux tells a refusal by InfluxDB itself from that of a proxy,
// which must not make us throw readings away.
func spokenByInflux(h http.Header) bool {
	kind, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return kind == "application/json" || h.Get("X-Influxdb-Version") != "" || h.Get("X-Influxdb-Error") != ""
}

// statusProblem is what to say of an answer that blames no line.
func (s *Store) statusProblem(ctx context.Context, status int, after time.Duration, message string) error {
	p := &devices.Problem{Kind: devices.ErrUnavailable, Cause: fmt.Errorf("status %d: %s", status, message)}
	switch {
	case status == http.StatusUnauthorized:
		p.Code, p.Field = "influx_unauthorized", "token"
		p.ZH, p.EN = "InfluxDB 不接受该令牌或用户名密码，数据暂存本机；请更正", "InfluxDB does not accept the token or the user's password, readings wait in the log; correct it"
	case status == http.StatusForbidden:
		p.Code, p.Field = "influx_forbidden", "token"
		p.ZH, p.EN = "该令牌或用户无权访问存储桶 "+s.cfg.Bucket+"，数据暂存本机；请在 InfluxDB 中授权", "the token or user has no right to bucket "+s.cfg.Bucket+", readings wait in the log; grant it in InfluxDB"
	case status == http.StatusNotFound:
		return s.notFound(ctx, p)
	case status == http.StatusTooManyRequests || status >= 500:
		p.Code = "influx_busy"
		p.ZH, p.EN = "InfluxDB 暂时无法处理请求，稍后自动重试", "InfluxDB cannot take requests now, they are repeated later"
		if after > 0 {
			return &timeseries.Delayed{After: after, Err: p}
		}
	default:
		return s.foreign(status)
	}
	return p
}

// notFound tells a bucket that does not exist from a server that has never
// heard of buckets.
func (s *Store) notFound(ctx context.Context, p *devices.Problem) error {
	if version, err := s.ping(ctx); err == nil && tooOld(version) {
		return serverTooOld(version)
	}
	p.Code, p.Field = "influx_no_bucket", "bucket"
	p.ZH, p.EN = "InfluxDB 中没有存储桶或数据库 "+s.cfg.Bucket+"，数据暂存本机；请创建它", "InfluxDB has no bucket or database "+s.cfg.Bucket+", readings wait in the log; create it"
	return p
}

func serverTooOld(version string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "influx_too_old", Field: "url",
		ZH: "InfluxDB 版本 " + version + " 过旧，请升级到 1.8 或更高版本", EN: "InfluxDB " + version + " is too old; upgrade to 1.8 or later",
	}
}

func (s *Store) unreachable(err error) error {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "influx_unreachable", Field: "url",
		ZH: "无法连接 InfluxDB " + s.cfg.URL + "，数据暂存本机，恢复后自动续传", EN: "InfluxDB at " + s.cfg.URL + " cannot be reached, readings wait in the log and follow by themselves", Cause: err,
	}
}

func (s *Store) foreign(status int) error {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "influx_foreign_answer", Field: "url",
		ZH:    fmt.Sprintf("%s 的应答（状态 %d）不像 InfluxDB，请检查地址和代理", s.cfg.URL, status),
		EN:    fmt.Sprintf("what answers at %s (status %d) is not InfluxDB; check the address and any proxy", s.cfg.URL, status),
		Cause: fmt.Errorf("status %d", status),
	}
}

func asProblem(err error) *devices.Problem { return devices.AllProblems(err)[0] }

// tooOld says of a version such as "1.6.7~rc0" whether it knows no /api/v2.
func tooOld(version string) bool {
	var major, minor int
	n, _ := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor)
	return n == 2 && (major < 1 || (major == 1 && minor < 8))
}

// strict turns answers that only look like success into failures: InfluxDB
// answers a write with 204; a portal or proxy with a page and 200.
type strict struct{ next http.RoundTripper }

func (t strict) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, "/api/v2/write") && resp.StatusCode/100 == 2 && resp.StatusCode != http.StatusNoContent {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("a write was answered with status %d, not 204", resp.StatusCode)
	}
	return resp, err
}
