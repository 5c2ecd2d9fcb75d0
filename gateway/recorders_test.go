package gateway_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/footage"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/streams/recording"
)

// nvr is the recorder of cam-a: it has kept 20 s from an hour after day on.
type nvr struct {
	tapes
	down *devices.Problem
}

func newNVR(t *testing.T) *nvr {
	return &nvr{tapes: tapes{sync.OnceValue(func() *recording.Archive { return filmed(t, later) })}}
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

func (n *nvr) Holding(_ context.Context, camera string, _, _ time.Time) (footage.Holding, error) {
	if err := n.answers(camera); err != nil {
		return footage.Holding{}, err
	}
	ahead := 90 * time.Second
	return footage.Holding{Host: "10.1.1.9", Known: true, Held: []footage.Span{{From: later, To: later.Add(20 * time.Second)}}, Skew: footage.Skew{Offset: &ahead, Asked: time.Unix(1_800_000_000, 0), Shift: ahead}}, nil
}

func (n *nvr) Clip(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, error) {
	if err := n.answers(camera); err != nil {
		return footage.Fetched{}, err
	}
	clip, err := n.tapes.Clip(ctx, camera, from, to)
	ahead := 90 * time.Second
	return footage.Fetched{Clip: clip, Host: "10.1.1.9", Skew: footage.Skew{Offset: &ahead, Asked: time.Unix(1_800_000_000, 0), Shift: ahead}, Stamped: true, Cut: &devices.Problem{Code: "replay_slow", ZH: "慢", EN: "slow"}}, err
}

func (n *nvr) Take(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, footage.Taken, error) {
	f, err := n.Clip(ctx, camera, from, to)
	if err != nil {
		return f, footage.Taken{}, err
	}
	_, taken, err := n.tapes.Take(ctx, camera, from, to)
	return f, taken, err
}

func (n *nvr) Exported(ctx context.Context, _ string) (*recording.Clip, error) {
	return n.tapes.Clip(ctx, "cam-a", later, later.Add(10*time.Second))
}

// TestARecordersPastAndOurOwnAreOneAnswer lets one ask for an interval of which the gateway has the beginning
// and the recorder a later part.
func TestARecordersPastAndOurOwnAreOneAnswer(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := bearer(b.token(accounts.Viewer))
	var tl contract.RecordingTimeline
	b.call("GET", "/api/v1/cameras/cam-a/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&tl)
	if len(tl.Stretches) != 2 || tl.Stretches[0].Source != contract.Own || tl.Stretches[1].Source != contract.Recorder || !tl.Stretches[1].From.Equal(later) || tl.Stretches[1].Why.Code != "camera_silent" {
		t.Errorf("%+v", tl.Stretches)
	}
	if len(tl.Gaps) != 2 || tl.Gaps[0].Why.Code != "camera_silent" || tl.Gaps[0].Recorder.Code != "recorder_nothing" {
		t.Errorf("%+v", tl.Gaps)
	}
	if r := tl.Recorder; len(r.Held) != 1 || !r.Known || r.Host != "10.1.1.9" || r.ClockOffset.D() != 90*time.Second || r.Shift.D() != 90*time.Second || r.ClockAskedAt.Unix() != 1_800_000_000 {
		t.Errorf("%+v", r)
	}
	var none map[string]any
	b.call("GET", "/api/v1/cameras/cam-b/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&none)
	if none["recorder"] != nil {
		t.Errorf("%v", none["recorder"])
	}

	const clip = "/api/v1/cameras/cam-a/clip?"
	for _, tt := range []struct {
		name, ask, source, next string
	}{
		{"our own", lasting(20 * time.Second), "own", ""},
		{"our own, and more at the recorder", lasting(2 * time.Hour), "own", later.UTC().Format(time.RFC3339) + " recorder"},
		{"what we lack", between(later, 10*time.Second), "recorder", ""},
		{"the recorder's by wish", between(later, 10*time.Second) + "&source=recorder", "recorder", ""},
		{"our own by wish", lasting(2*time.Hour) + "&source=own", "own", ""},
	} {
		h := b.call("GET", clip+tt.ask, viewer, nil).want(200).header
		if h.Get("X-Recording-Source") != tt.source || h.Get("X-Recording-Next") != tt.next {
			t.Errorf("%s: %v", tt.name, h)
		}
		if tt.source == "recorder" && (h.Get("X-Recording-Clock-Offset") != "1m30s" || h.Get("X-Recording-Shift") != "1m30s" || h.Get("X-Recording-Times") != "recorder" || h.Get("X-Recording-Cut") != "replay_slow" || !strings.Contains(h.Get("Content-Disposition"), "recorder")) {
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
}

// TestAnExportNamesTheSourceOfEachPart takes out of an interval what both have of it, as one ZIP.
func TestAnExportNamesTheSourceOfEachPart(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	staff := bearer(b.token(accounts.Staff))
	var e contract.RecordingExport
	b.call("POST", "/api/v1/cameras/cam-a/recordings:export", staff, map[string]any{"from": day, "to": later.Add(10 * time.Second), "reason": "执法检查"}).want(200).into(&e)
	if len(e.Parts) != 2 || e.Parts[0].Source != contract.Own || e.Parts[1].Source != contract.Recorder || len(e.Gaps) != 1 {
		t.Fatalf("%+v", e)
	}
	theirs := e.Parts[1]
	if theirs.ClockOffset.D() != 90*time.Second || theirs.Host != "10.1.1.9" || theirs.Cut.Code != "replay_slow" || theirs.Why.Code != "camera_silent" || !strings.Contains(theirs.URL, "source=recorder") || !strings.Contains(theirs.ClockZh, "快 90.0 秒") {
		t.Errorf("%+v", theirs)
	}
	packed := b.call("GET", e.URL, staff, nil).want(200)
	z, err := zip.NewReader(bytes.NewReader(packed.body), int64(len(packed.body)))
	must(t, err)
	files := map[string][]byte{}
	for _, f := range z.File {
		in, err := f.Open()
		must(t, err)
		files[f.Name], err = io.ReadAll(in)
		must(t, err)
	}
	sums := map[string]string{"manifest.json": e.ManifestSha256}
	for _, p := range e.Parts {
		sums[p.Name] = p.Sha256
		if alone := b.call("GET", p.URL, staff, nil).want(200); !bytes.Equal(alone.body, files[p.Name]) {
			t.Errorf("%s is not what its address gives", p.Name)
		}
	}
	for name, want := range sums {
		if sum := sha256.Sum256(files[name]); hex.EncodeToString(sum[:]) != want || !strings.Contains(string(files["SHA256SUMS"]), want+"  "+name) {
			t.Errorf("%s has another hash", name)
		}
	}
	if len(z.File) != 4 {
		t.Errorf("%d files", len(z.File))
	}
	b.call("GET", "/api/v1/cameras/cam-b/exports/"+e.ID, staff, nil).problem(404, "no_export")
	if rows := b.acts("recording.export"); len(rows) != 1 || !strings.Contains(rows[0].Detail, "recorder 10.1.1.9 ") || !strings.Contains(rows[0].Detail, theirs.Sha256) || rows[0].Purpose != "执法检查" {
		t.Errorf("%+v", rows)
	}
	if rows := b.acts("recording.view"); len(rows) != 3 || rows[2].Detail != "export "+e.ID && rows[0].Detail != "export "+e.ID {
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
	parts.Backend.Footage.Films = filmsOf(t, b.site.db, &nvr{down: &devices.Problem{Kind: devices.ErrUnavailable, Code: "onvif_silent", ZH: "没有应答", EN: "silent"}})
	s, err := gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, parts)
	must(t, err)
	b.http.Config.Handler = s.Handler()
	viewer := bearer(b.token(accounts.Viewer))
	var tl contract.RecordingTimeline
	b.call("GET", "/api/v1/cameras/cam-a/recordings?"+lasting(2*time.Hour), viewer, nil).want(200).into(&tl)
	if len(tl.Stretches) != 1 || tl.Gaps[0].Recorder.Code != "onvif_silent" || tl.Recorder.Why.Code != "onvif_silent" || len(tl.Recorder.Held) != 0 {
		t.Errorf("%+v", tl)
	}
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+lasting(time.Minute), viewer, nil).want(200)
	b.call("GET", "/api/v1/cameras/cam-a/clip?"+between(later, time.Minute), viewer, nil).problem(503, "onvif_silent")
}
