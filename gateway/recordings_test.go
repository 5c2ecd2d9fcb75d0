package gateway_test

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/footage"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/streams"
	"offsite/streams/recording"
)

// tapes are recordings: of cam-a 20 s from day on, of others nothing.
type tapes struct {
	archive func() *recording.Archive
}

func newTapes(t *testing.T) tapes {
	return tapes{sync.OnceValue(func() *recording.Archive { return filmed(t, day) })}
}

// filmed gives 20 s of cam-a.
func filmed(t *testing.T, from time.Time) *recording.Archive {
	a, err := recording.Open(t.TempDir(), recording.Config{})
	must(t, err)
	t.Cleanup(func() { _ = a.Close() })
	data, err := os.ReadFile("../streams/rtsp/testdata/small.h264")
	must(t, err)
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	cut := streams.NewAssembler(streams.H264, nil, nil, nil)
	units := streams.CutUnits(streams.H264, streams.SplitAnnexB(data))
	for i := range 20 {
		at := time.Duration(i) * time.Second
		f, err := cut.Frame(units[i%len(units)], at, from.Add(at))
		must(t, err)
		feed.Publish(f)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = a.Record(ended, "cam-a", feed, from) // it has ended: what is there is written
	return a
}

func (r tapes) Kept(_ context.Context, camera string, _, to time.Time) (footage.Kept, error) {
	kept := footage.Kept{Bytes: 9, Days: 15, Marks: []footage.Mark{{Event: "al-1", At: day}}}
	gone := footage.Span{From: day, To: to}
	if camera == "cam-a" {
		kept.Recorded = []footage.Stored{{Span: footage.Span{From: day, To: day.Add(20 * time.Second)}, Bytes: 9}}
		gone.From = day.Add(20 * time.Second)
	}
	if gone.To.After(gone.From) {
		kept.Gaps = []footage.Reason{{Span: gone, Why: &devices.Problem{Code: "camera_silent", ZH: "无画面", EN: "silent"}}}
	}
	return kept, nil
}

func (r tapes) Clip(_ context.Context, camera string, from, to time.Time) (*recording.Clip, error) {
	return r.archive().Clip(camera, from, to)
}

func (r tapes) Take(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, footage.Taken, error) {
	clip, err := r.Clip(ctx, camera, from, to)
	if err != nil {
		return nil, footage.Taken{}, err
	}
	sum, err := clip.SHA256(ctx)
	hold := func(context.Context, *sql.Tx) error { return nil }
	return clip, footage.Taken{SHA256: sum, Hold: hold, Held: func() {}}, err
}

func (r tapes) Exported(ctx context.Context, _ string) (*recording.Clip, error) {
	return r.Clip(ctx, "cam-a", day, day.Add(time.Minute))
}

func (r tapes) Play(_ context.Context, camera string, from, until time.Time) (*recording.Player, error) {
	return r.archive().Play(camera, from, until)
}

// filmsOf gives what the gateway and a recorder have of the cameras.
func filmsOf(t *testing.T, db *state.DB, n *nvr) *footage.Footage {
	f, err := footage.Open(t.Context(), db, footage.Config{Own: newTapes(t), Recorders: n})
	must(t, err)
	return f
}

// lasting names an interval from day on.
func lasting(length time.Duration) string {
	return "from=" + url.QueryEscape(day.Format(time.RFC3339)) + "&to=" + url.QueryEscape(day.Add(length).Format(time.RFC3339))
}

func TestRecordingsAreListedPlayedAndExported(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer, elsewhere := bearer(b.token(accounts.Viewer, "a")), bearer(b.token(accounts.Viewer, "b"))
	const camera = "/api/v1/cameras/cam-a"
	var tl contract.RecordingTimeline
	b.call("GET", camera+"/recordings?"+lasting(time.Minute), viewer, nil).want(200).into(&tl)
	if len(tl.Stretches) != 1 || len(tl.Gaps) != 1 || tl.Gaps[0].Why.Code != "camera_silent" || tl.Events[0].Event != "al-1" || tl.Days != 15 {
		t.Errorf("%+v", tl)
	}
	whole := b.call("GET", camera+"/clip?"+lasting(time.Minute), viewer, nil).want(200)
	if whole.header.Get("Content-Type") != "video/mp4" || whole.header.Get("X-Recording-From") != day.UTC().Format(time.RFC3339) || string(whole.body[4:8]) != "ftyp" {
		t.Errorf("%v", whole.header)
	}
	some := header{"Range": "bytes=100-199", "Authorization": viewer["Authorization"]}
	if some := b.call("GET", camera+"/clip?"+lasting(time.Minute), some, nil).want(206); string(some.body) != string(whole.body[100:200]) {
		t.Error("a range is not what the whole has there")
	}
	if n := len(b.acts("recording.view")); n != 1 {
		t.Errorf("%d acts for the parts of one clip", n)
	}
	b.call("GET", camera+"/clip?"+lasting(10*time.Second), viewer, nil).want(200)
	if n := len(b.acts("recording.view")); n != 2 {
		t.Errorf("%d acts for two clips", n)
	}
	for _, tt := range []struct{ path, code string }{
		{camera + "/clip", "invalid"},
		{camera + "/clip?from=noon&to=" + url.QueryEscape(day.Format(time.RFC3339)), "bad_time"},
		{camera + "/clip?" + lasting(-time.Second), "before_from"},
		{camera + "/clip?" + lasting(7*time.Hour), "too_long"},
		{camera + "/recordings?x=1&" + lasting(time.Hour), "unknown_parameter"},
	} {
		b.call("GET", tt.path, viewer, nil).problem(400, tt.code)
	}
	for _, path := range []string{camera + "/clip?" + lasting(time.Minute), camera + "/recordings?" + lasting(time.Minute), "/api/v1/cameras/..%2Fcam-a/clip?" + lasting(time.Minute)} {
		b.call("GET", path, elsewhere, nil).want(404)
	}
	b.call("GET", "/api/v1/cameras/cam-b/clip?"+lasting(time.Minute), elsewhere, nil).problem(404, "no_recording")

	ask := map[string]any{"from": day, "to": day.Add(time.Minute), "reason": "  "}
	staff := bearer(b.token(accounts.Staff))
	b.call("POST", camera+"/recordings:export", staff, ask).problem(400, "missing")
	ask["reason"] = "执法检查"
	var e contract.RecordingExport
	b.call("POST", camera+"/recordings:export", staff, ask).want(200).into(&e)
	if len(e.Parts) != 1 || len(e.Gaps) != 1 || e.Gaps[0].Why.Code != "camera_silent" {
		t.Fatalf("%+v", e)
	}
	part := e.Parts[0]
	got := b.call("GET", part.URL, staff, nil).want(200)
	if sum := sha256.Sum256(got.body); int64(len(got.body)) != e.Bytes || hex.EncodeToString(sum[:]) != part.Sha256 || !strings.HasPrefix(got.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%+v %v", e, got.header)
	}
	if rows := b.acts("recording.export"); len(rows) != 1 || rows[0].Purpose != "执法检查" || !strings.Contains(rows[0].Detail, part.Sha256) || rows[0].After != e.ManifestSha256 {
		t.Errorf("%+v", rows)
	}
}

// TestARetiredCamerasRecordingsStayReachable lets those who saw a camera see what
// it has shown after it was retired, and nobody else.
func TestARetiredCamerasRecordingsStayReachable(t *testing.T) {
	t.Parallel()
	b := open(t)
	admin := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	b.call("DELETE", "/api/v1/cameras/cam-a", admin, nil).want(204)
	here, elsewhere := bearer(b.token(accounts.Staff, "a")), bearer(b.token(accounts.Staff, "b"))
	ask := map[string]any{"from": day, "to": day.Add(time.Minute), "reason": "执法检查"}
	const camera = "/api/v1/cameras/cam-a"
	for _, tt := range []struct {
		name, method, path string
		body               any
	}{
		{"timeline", "GET", camera + "/recordings?" + lasting(time.Minute), nil},
		{"clip", "GET", camera + "/clip?" + lasting(time.Minute), nil},
		{"export", "POST", camera + "/recordings:export", ask},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b.call(tt.method, tt.path, here, tt.body).want(200)
			b.call(tt.method, tt.path, elsewhere, tt.body).want(404)
			b.call(tt.method, strings.Replace(tt.path, "cam-a", "cam-9", 1), here, tt.body).want(404)
		})
	}
	if rows := b.acts("recording.view"); len(rows) != 1 || rows[0].What != "camera/cam-a" {
		t.Errorf("%+v", rows)
	}
}
