package gateway_test

import (
	"context"
	"database/sql"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/recorders"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/streams/onvif"
	"offsite/streams/recording"
)

// nvr is the recorder of cam-a: it has kept 20 s from an hour after day on.
type nvr struct {
	tapes
	down *devices.Problem
}

func newNVR(t *testing.T, db *state.DB) *nvr {
	return &nvr{tapes: tapes{db, sync.OnceValue(func() *recording.Archive { return filmed(t, later) })}}
}

var later = day.Add(time.Hour)

func (n *nvr) answers(camera string) error {
	if n.down != nil {
		return n.down
	}
	if camera != "cam-a" {
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "no_recorder", ZH: "没有录像机", EN: "no recorder"}
	}
	return nil
}

func (n *nvr) Holding(_ context.Context, camera string, from, to time.Time) (*recorders.Holding, error) {
	if err := n.answers(camera); err != nil {
		return nil, err
	}
	ahead := 90 * time.Second
	return &recorders.Holding{Host: "10.1.1.9", Known: true, Stretches: []onvif.Stretch{{From: from, To: to}}, Offset: &ahead}, nil
}

func (n *nvr) Clip(_ context.Context, camera string, from, to time.Time) (*recorders.Clip, error) {
	if err := n.answers(camera); err != nil {
		return nil, err
	}
	clip, err := n.archive().Clip(camera, from, to)
	if err != nil {
		return nil, err
	}
	ahead := 90 * time.Second
	return &recorders.Clip{Clip: clip, Host: "10.1.1.9", Offset: &ahead, Stamped: true, Cut: &devices.Problem{Code: "replay_slow", ZH: "慢", EN: "slow"}}, nil
}

func (n *nvr) Export(ctx context.Context, camera string, from, to time.Time, write func(context.Context, *sql.Tx, recorders.Export) error) (recorders.Export, error) {
	clip, err := n.Clip(ctx, camera, from, to)
	if err != nil {
		return recorders.Export{}, err
	}
	e := recorders.Export{Clip: clip, ID: "x2", SHA256: strings.Repeat("a", 64)}
	return e, n.db.Update(ctx, func(tx *sql.Tx) error { return write(ctx, tx, e) })
}

func TestARecordersPastIsToldApartFromOurOwn(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := bearer(b.token(accounts.Viewer))
	var tl contract.RecordingTimeline
	b.call("GET", "/api/v1/cameras/cam-a/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&tl)
	if len(tl.Recorded) != 1 || tl.Recorded[0].Source != contract.Own || len(tl.Recorder.Held) != 1 || tl.Recorder.Held[0].Source != contract.Recorder || !tl.Recorder.Known || tl.Recorder.Host != "10.1.1.9" || tl.Recorder.ClockOffset.D() != 90*time.Second {
		t.Errorf("%+v", tl)
	}
	var none map[string]any
	b.call("GET", "/api/v1/cameras/cam-b/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&none)
	if none["recorder"] != nil {
		t.Errorf("%v", none["recorder"])
	}

	const clip = "/api/v1/cameras/cam-a/clip?"
	for _, tt := range []struct {
		name, ask, source string
	}{
		{"our own", lasting(time.Minute), "own"},
		{"what we lack", between(later, 10*time.Second), "recorder"},
		{"the recorder's by wish", between(later, 10*time.Second) + "&source=recorder", "recorder"},
		{"our own by wish", lasting(time.Minute) + "&source=own", "own"},
	} {
		h := b.call("GET", clip+tt.ask, viewer, nil).want(200).header
		if h.Get("X-Recording-Source") != tt.source {
			t.Errorf("%s: %v", tt.name, h)
		}
		if tt.source == "recorder" && (h.Get("X-Recording-Clock-Offset") != "1m30s" || h.Get("X-Recording-Times") != "recorder" || h.Get("X-Recording-Cut") != "replay_slow" || !strings.Contains(h.Get("Content-Disposition"), "recorder")) {
			t.Errorf("%s: %v", tt.name, h)
		}
	}
	b.call("GET", clip+between(later, time.Minute)+"&source=own", viewer, nil).problem(404, "no_recording")
	b.call("GET", clip+lasting(time.Minute)+"&source=theirs", viewer, nil).problem(400, "not_one_of")
	b.call("GET", "/api/v1/cameras/cam-b/clip?"+lasting(time.Minute), viewer, nil).problem(404, "no_recording")
	b.call("GET", "/api/v1/cameras/cam-b/clip?"+lasting(time.Minute)+"&source=recorder", viewer, nil).problem(404, "no_recorder")
	fetched := 0
	for _, r := range b.acts("recording.view") {
		if strings.HasSuffix(r.Detail, " recorder 10.1.1.9") {
			fetched++
		}
	}
	if fetched != 1 { // the same film twice is one act
		t.Errorf("%d rows of the recorder's: %+v", fetched, b.acts("recording.view"))
	}
	staff := bearer(b.token(accounts.Staff))
	var e contract.RecordingExport
	b.call("POST", "/api/v1/cameras/cam-a/recordings:export", staff, map[string]any{"from": later, "to": later.Add(10 * time.Second), "reason": "执法检查", "source": "recorder"}).want(200).into(&e)
	if e.Source != contract.Recorder || e.ClockOffset.D() != 90*time.Second || e.Host != "10.1.1.9" || e.Cut.Code != "replay_slow" || !strings.Contains(e.URL, "source=recorder") {
		t.Errorf("%+v", e)
	}
	b.call("GET", e.URL, staff, nil).want(200)
	if rows := b.acts("recording.export"); len(rows) != 1 || !strings.Contains(rows[0].Detail, "recorder 10.1.1.9 "+e.Sha256) || rows[0].Purpose != "执法检查" {
		t.Errorf("%+v", rows)
	}
}

// between names an interval from a time on.
func between(from time.Time, length time.Duration) string {
	return strings.ReplaceAll("from="+from.Format(time.RFC3339)+"&to="+from.Add(length).Format(time.RFC3339), "+", "%2B")
}

// TestASilentRecorderHidesNothingOfOurs shows our own timeline, with what is wrong with the recorder.
func TestASilentRecorderHidesNothingOfOurs(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	parts := b.parts()
	parts.Backend.Footage.Recorders = &nvr{down: &devices.Problem{Kind: devices.ErrUnavailable, Code: "onvif_silent", ZH: "没有应答", EN: "silent"}}
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	b.http.Config.Handler = s.Handler()
	viewer := bearer(b.token(accounts.Viewer))
	var tl contract.RecordingTimeline
	b.call("GET", "/api/v1/cameras/cam-a/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&tl)
	if len(tl.Recorded) != 1 || tl.Recorder.Why.Code != "onvif_silent" || len(tl.Recorder.Held) != 0 {
		t.Errorf("%+v", tl)
	}
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+lasting(time.Minute), viewer, nil).want(200)
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+between(later, time.Minute), viewer, nil).problem(503, "onvif_silent")
}
