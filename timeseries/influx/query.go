package influx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

// maxAnswer bounds what a query may bring.
const maxAnswer = 256 << 20

// Range gives the samples of [from, to), oldest first.
func (s *Store) Range(ctx context.Context, key timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error) {
	q := "SELECT v, q FROM reading WHERE " + where(key) + " AND " + span(from, to)
	if most > 0 {
		q += fmt.Sprintf(" LIMIT %d", most)
	}
	rows, err := s.query(ctx, q)
	if err != nil {
		return nil, err
	}
	return samples(rows), nil
}

// Windows sums up the usable samples of [from, to).
func (s *Store) Windows(ctx context.Context, key timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error) {
	if err := timeseries.CheckWindow(every); err != nil {
		return nil, err
	}
	q := fmt.Sprintf("SELECT count(v), mean(v), min(v), max(v), first(v), last(v) FROM reading WHERE %s AND q < 64 AND %s GROUP BY time(%dms, -8h) fill(none)",
		where(key), span(from, to), every.Milliseconds())
	rows, err := s.query(ctx, q)
	if err != nil {
		return nil, err
	}
	var ws []timeseries.Window
	for _, r := range rows {
		if len(r) != 7 || r[0] == nil || r[1] == nil || *r[1] == 0 {
			continue
		}
		ws = append(ws, timeseries.Window{
			Start: milliTime(r[0]), Count: int64(*r[1]),
			Mean: number(r[2]), Min: number(r[3]), Max: number(r[4]), First: number(r[5]), Last: number(r[6]),
		})
	}
	return ws, nil
}

// Last gives the newest sample, those of quality bad/clock apart.
func (s *Store) Last(ctx context.Context, key timeseries.Series) (timeseries.Sample, error) {
	q := fmt.Sprintf("SELECT v, q FROM reading WHERE %s AND q <> %d AND %s ORDER BY time DESC LIMIT 1",
		where(key), devices.BadClock, span(timeseries.Earliest, timeseries.Latest))
	rows, err := s.query(ctx, q)
	if err != nil {
		return timeseries.Sample{}, err
	}
	if found := samples(rows); len(found) > 0 {
		return found[0], nil
	}
	return timeseries.Sample{}, timeseries.NoSample(key)
}

// InfluxQL knows no OR of times: neighbours are asked for as one span, and so
// many spans in one request.
const (
	neighbours = 10 * time.Minute
	statements = 50
)

// At gives what stands at exactly these times.
func (s *Store) At(ctx context.Context, key timeseries.Series, at []time.Time) (map[int64]timeseries.Sample, error) {
	found := map[int64]timeseries.Sample{}
	times := slices.Clone(at)
	slices.SortFunc(times, time.Time.Compare)
	wanted := map[int64]bool{}
	var qs []string
	for i := 0; i < len(times); {
		j := i
		for ; j < len(times) && times[j].Sub(times[max(i, j-1)]) <= neighbours; j++ {
			wanted[times[j].UnixMilli()] = true
		}
		qs = append(qs, "SELECT v, q FROM reading WHERE "+where(key)+" AND "+span(times[i].Truncate(time.Millisecond), times[j-1].Add(time.Millisecond)))
		i = j
	}
	for part := range slices.Chunk(qs, statements) {
		rows, err := s.query(ctx, strings.Join(part, "; "))
		if err != nil {
			return found, err
		}
		for _, v := range samples(rows) {
			if ms := v.At.UnixMilli(); wanted[ms] {
				found[ms] = v
			}
		}
	}
	return found, nil
}

// Retain deletes the days of Beijing time that ended by before.
func (s *Store) Retain(ctx context.Context, before time.Time) error {
	start := timeseries.Day(before)
	version, err := s.ping(ctx)
	if err != nil {
		return err
	}
	if strings.HasPrefix(strings.TrimPrefix(version, "v"), "2.") {
		return s.deleteV2(ctx, start)
	}
	_, err = s.query(ctx, "DELETE FROM reading WHERE time < "+quoteTime(start))
	return err
}

func (s *Store) deleteV2(ctx context.Context, before time.Time) error {
	body, err := json.Marshal(map[string]string{
		"start": timeseries.Earliest.Format(time.RFC3339), "stop": before.Add(-time.Nanosecond).Format(time.RFC3339Nano), // stop is included
		"predicate": `_measurement="reading"`,
	})
	if err != nil {
		return err
	}
	address := s.cfg.URL + "/api/v2/delete?" + url.Values{"org": {s.cfg.Org}, "bucket": {s.cfg.Bucket}}.Encode()
	_, err = s.post(ctx, address, "application/json", body)
	return err
}

// Probe asks the server what it is and whether it is new enough. It gives the
// version as the server says it, "unknown" where it keeps it to itself.
func (s *Store) Probe(ctx context.Context) (version string, err error) {
	version, err = s.ping(ctx)
	if err == nil && tooOld(version) {
		err = serverTooOld(version)
	}
	return version, err
}

func (s *Store) ping(ctx context.Context) (version string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.cfg.URL+"/ping", http.NoBody)
	if err != nil {
		return "", s.unreachable(err)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return "", s.failed(ctx, err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4096)
	if resp.StatusCode/100 != 2 {
		return "", s.foreign(resp.StatusCode)
	}
	if version = resp.Header.Get("X-Influxdb-Version"); version == "" {
		version = "unknown"
	}
	return version, nil
}

func (s *Store) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return s.unreachable(err)
}

// row is a time in ms and the columns asked for; nil is null.
type row []*float64

// query runs InfluxQL and gives the rows of all statements one after the other.
func (s *Store) query(ctx context.Context, q string) ([]row, error) {
	form := url.Values{"db": {s.cfg.Database}, "epoch": {"ms"}, "q": {q}}
	if s.cfg.RetentionPolicy != "" {
		form.Set("rp", s.cfg.RetentionPolicy)
	}
	body, err := s.post(ctx, s.cfg.URL+"/query", "application/x-www-form-urlencoded", []byte(form.Encode()))
	if err != nil {
		return nil, err
	}
	var answer struct {
		Results []struct {
			Series []struct{ Values []row }
			Error  string
		}
		Error string
	}
	if err := json.Unmarshal(body, &answer); err != nil || (answer.Results == nil && answer.Error == "") {
		return nil, s.foreign(http.StatusOK)
	}
	var rows []row
	for _, r := range answer.Results {
		answer.Error += r.Error
		for _, series := range r.Series {
			rows = append(rows, series.Values...)
		}
	}
	if answer.Error != "" {
		return nil, s.queryProblem(ctx, answer.Error)
	}
	return rows, nil
}

func (s *Store) queryProblem(ctx context.Context, message string) error {
	if strings.Contains(message, "not found") {
		return s.statusProblem(ctx, http.StatusNotFound, 0, message)
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "influx_query_failed",
		ZH: "InfluxDB 未能完成查询，请缩小时间范围后重试", EN: "InfluxDB could not answer the query; try a shorter span", Cause: fmt.Errorf("influxql: %s", message),
	}
}

// post sends body and gives the answer's, up to maxAnswer.
func (s *Store) post(ctx context.Context, address, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, s.unreachable(err)
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("Accept", "application/json")
	if a := s.cfg.authorization(); a != "" {
		req.Header.Set("Authorization", a)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	if len(answer) > maxAnswer {
		return nil, s.queryProblem(ctx, "answer larger than 256 MiB")
	}
	if resp.StatusCode/100 == 2 {
		return answer, nil
	}
	message := devices.Scrub(string(answer[:min(len(answer), 500)]), s.cfg.Token, s.cfg.Password)
	if resp.StatusCode == http.StatusBadRequest && spokenByInflux(resp.Header) {
		return nil, s.queryProblem(ctx, message)
	}
	return nil, s.statusProblem(ctx, resp.StatusCode, 0, message)
}

func where(key timeseries.Series) string {
	outlet, point := devices.SplitPoint(key.Point)
	return "site = " + quoteString(key.Site) + " AND outlet = " + quoteString(outlet) + " AND point = " + quoteString(point)
}

func span(from, to time.Time) string {
	return "time >= " + quoteTime(from) + " AND time < " + quoteTime(to)
}

func quoteTime(t time.Time) string {
	if t.Before(timeseries.Earliest) {
		t = timeseries.Earliest
	}
	if t.After(timeseries.Latest) {
		t = timeseries.Latest
	}
	return "'" + t.UTC().Format(time.RFC3339Nano) + "'"
}

func samples(rows []row) []timeseries.Sample {
	var out []timeseries.Sample
	for _, r := range rows {
		if len(r) == 3 && r[0] != nil && r[1] != nil {
			out = append(out, timeseries.Sample{At: milliTime(r[0]), Value: *r[1], Quality: devices.Quality(number(r[2]))})
		}
	}
	return out
}

func number(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

func milliTime(ms *float64) time.Time { return time.UnixMilli(int64(*ms)).UTC() }
