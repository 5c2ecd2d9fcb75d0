package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	world "offsite/cmd/offsite/demo"
	"offsite/edge/dispatch/wire"
	"offsite/streams/recording"
)

// ask has the platform give a command and wait for its result.
func (p *program) ask(kind wire.CommandType, args thing) wire.Result {
	p.t.Helper()
	raw, err := json.Marshal(args)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), 2*time.Minute)
	defer cancel()
	r, err := p.platform.Command(ctx, wire.Command{
		Type: kind, Args: raw, Purpose: "夜间施工检查", Officer: wire.Officer{ID: "320100-17", Name: "李明"},
	})
	if err != nil {
		p.t.Fatalf("%s: %v", kind, err)
	}
	return r
}

// told reads the data of a command that was carried out.
func told[T any](t *testing.T, r wire.Result) (data T) {
	t.Helper()
	if r.Status != wire.ResultStatusDone {
		t.Fatalf("%+v", r)
	}
	if err := json.Unmarshal(r.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// trail counts the rows of an act that name the officer, the purpose and detail.
func (p *program) trail(act, detail string) (n int) {
	p.t.Helper()
	var rows struct {
		Items []struct{ Who, Purpose, Detail, After string }
	}
	if err := p.Do(p.t.Context(), "GET", "/audit?act="+act, nil, &rows); err != nil {
		p.t.Fatal(err)
	}
	for _, row := range rows.Items {
		if strings.Contains(row.Who, "李明 (320100-17)") && row.Purpose == "夜间施工检查" && strings.Contains(row.Detail+" "+row.After, detail) {
			n++
		}
	}
	return n
}

// most is the most memory that the gateway's process ever had, in bytes.
func (p *program) most() int64 {
	p.t.Helper()
	f, err := os.Open("/proc/" + strconv.Itoa(p.PID()) + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var kib int64
		if n, _ := fmt.Sscanf(lines.Text(), "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	p.t.Fatal("no VmHWM")
	return 0
}

// TestThePlatformAsksForWhatWasRecorded lets it look, take out more than a hundred
// megabytes, and play the past to a media server that is not ours, of a camera that
// is there and of one that has been retired.
func TestThePlatformAsksForWhatWasRecorded(t *testing.T) {
	t.Parallel()
	server := startGstReceiver(t, "")
	state := filepath.Join(t.TempDir(), "state")
	archive := archiveOf(t, state, recording.Config{})
	began := time.Now().Add(-20 * time.Minute).Truncate(time.Second).UTC()
	at := func(d time.Duration) string { return began.Add(d).Format(time.RFC3339Nano) }
	layFilm(t, archive, "yard", began, began.Add(time.Minute), began.Add(2*time.Minute), began.Add(3*time.Minute), began.Add(10*time.Minute))
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	p := startProgramIn(t, state, "platform:\n  push: {hosts: [127.0.0.1], insecure: true, upload: 400Mbit/s}\n  export: 140MiB\n")
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": "rtsp://127.0.0.1:1/yard", "pull": "demand"})

	data := told[wire.RecordingData](t, p.ask(wire.CommandTypeRecordingQuery, thing{"camera": "yard", "from": at(0), "to": at(15 * time.Minute)}))
	if len(data.Stretches) != 2 || data.Stretches[0].To.Sub(data.Stretches[0].From.Time) != 4*time.Minute || len(data.Gaps) != 2 || data.Gaps[0].ReasonZh == "" {
		t.Errorf("query: %+v", data)
	}
	if r := p.ask(wire.CommandTypeRecordingExport, thing{"camera": "yard", "from": at(0), "to": at(15 * time.Minute)}); r.Problem.Code != "clip_too_large" {
		t.Errorf("too large: %+v", r)
	}
	before, asked := p.most(), time.Now()
	exported := told[wire.RecordingExport](t, p.ask(wire.CommandTypeRecordingExport, thing{"camera": "yard", "from": at(time.Second), "to": at(4 * time.Minute)}))
	t.Logf("%d MB exported in %v; the gateway's memory grew from %d MB to %d MB", exported.Bytes>>20, time.Since(asked), before>>20, p.most()>>20)
	if grown := p.most() - before; grown > 32<<20 {
		t.Errorf("%d MB of memory for it", grown>>20)
	}
	if len(exported.Parts) != 1 || exported.Parts[0].Source != wire.RecordingSourceOwn || exported.Parts[0].Host != "" {
		t.Fatalf("%+v", exported)
	}
	film := p.platform.Blob(exported.Parts[0].SHA256)
	if sum := sha256.Sum256(film); hex.EncodeToString(sum[:]) != exported.Parts[0].SHA256 || int64(len(film)) != exported.Bytes || exported.Bytes < 100<<20 {
		t.Errorf("%d bytes have come, not those of %+v", len(film), exported)
	}
	path := filepath.Join(t.TempDir(), "export.mp4")
	if err := os.WriteFile(path, film, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := picturesIn(t, path); n != 6000 {
		t.Errorf("%d pictures", n)
	}
	if p.trail("recording.export", "") < 2 || p.trail("recording.exported", exported.Manifest) != 1 {
		t.Error("the trail lacks the export")
	}
	p.playsThePast(server, at)
	if err := p.Do(t.Context(), "DELETE", "/cameras/yard", nil, nil); err != nil {
		t.Fatal(err)
	}
	again := told[wire.RecordingExport](t, p.ask(wire.CommandTypeRecordingExport, thing{"camera": "yard", "from": at(10 * time.Minute), "to": at(10*time.Minute + 10*time.Second)}))
	if film := p.platform.Blob(again.Parts[0].SHA256); !bytes.Equal(film[4:8], []byte("ftyp")) {
		t.Error("of a retired camera nothing comes")
	}
	if r := p.ask(wire.CommandTypeRecordingQuery, thing{"camera": "gate", "from": at(0), "to": at(time.Minute)}); r.Problem.Code != "no_camera" {
		t.Errorf("a camera that never was: %+v", r)
	}
	if v := p.platform.Violations(); len(v) > 0 {
		t.Errorf("contract broken:\n%s", strings.Join(v, "\n"))
	}
}

// playsThePast has what lies around the end of the fourth minute played, which goes
// on after a gap, and renews and closes it.
func (p *program) playsThePast(server gstReceiver, at func(time.Duration) string) {
	t := p.t
	t.Helper()
	to := "rtsp://127.0.0.1:" + server.port + "/live"
	began := time.Now()
	opened := told[wire.StreamData](t, p.ask(wire.CommandTypeStreamOpen, thing{
		"camera": "yard", "profile": "main", "from": at(3*time.Minute + 55*time.Second), "ttl_seconds": 20, "push_url": to,
	}))
	if opened.RecordedFrom.UTC().Format(time.RFC3339Nano) != at(3*time.Minute+55*time.Second) || opened.FirstFrameMS == nil || opened.Width != 320 {
		t.Errorf("opened: %+v", opened)
	}
	told[wire.StreamData](t, p.ask(wire.CommandTypeStreamRenew, thing{"stream": opened.Stream, "ttl_seconds": 60}))
	p.await("nine seconds of the past", func() error {
		n, err := server.decoded("h264")
		if err == nil && n < 225 {
			err = fmt.Errorf("%d pictures", n)
		}
		return err
	})
	if took := time.Since(began); took < 7*time.Second || took > 20*time.Second { // the group that it begins in comes at once
		t.Errorf("nine seconds came in %v", took)
	}
	end := told[wire.StreamEnd](t, p.ask(wire.CommandTypeStreamClose, thing{"stream": opened.Stream}))
	if end.Reason != wire.StreamEndReasonClosed || end.Frames < 225 || end.Lost != 0 {
		t.Errorf("closed: %+v", end)
	}
	last := told[wire.StreamData](t, p.ask(wire.CommandTypeStreamOpen, thing{
		"camera": "yard", "profile": "main", "from": at(10*time.Minute + 57*time.Second), "ttl_seconds": 60, "push_url": to,
	}))
	p.await("the end of the recording", func() error {
		for _, e := range p.platform.Streams() {
			if e.Stream == last.Stream && e.Reason == wire.StreamEndReasonRecordingOver {
				return nil
			}
		}
		return errors.New("not told")
	})
	if p.trail("stream.ended", last.Stream) != 1 {
		t.Error("the trail lacks the end of the stream")
	}
}

// TestThePlatformTurnsACamera sends it to a preset and lets it turn for a while.
func TestThePlatformTurnsACamera(t *testing.T) {
	t.Parallel()
	server, addresses, err := world.Cameras("", 1, "admin", recorderPassword)
	if err != nil {
		t.Fatal(err)
	}
	dome, err := world.Control("", addresses, "admin", recorderPassword)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	running.Go(func() { _ = dome.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	p := startProgram(t, "")
	p.post("/cameras", thing{"id": "dome", "site": "plant", "name": "dome", "url": addresses[0], "username": "admin", "password": recorderPassword, "onvif": dome.URL()})
	var state struct{ Presets []struct{ ID, Name string } }
	p.await("the camera's presets", func() error { return p.Do(t.Context(), "GET", "/cameras/dome/ptz", nil, &state) })
	if len(state.Presets) == 0 {
		t.Fatal("it has none")
	}
	told[wire.PTZData](t, p.ask(wire.CommandTypePTZMove, thing{"camera": "dome", "preset": state.Presets[0].ID}))
	if dome.Looks() != state.Presets[0].ID {
		t.Errorf("it looks at %q, not at %q", dome.Looks(), state.Presets[0].ID)
	}
	began := time.Now()
	told[wire.PTZData](t, p.ask(wire.CommandTypePTZMove, thing{"camera": "dome", "pan": 0.5, "tilt": -0.25, "seconds": 2}))
	if took := time.Since(began); took < 2*time.Second || dome.Asked("ContinuousMove") == 0 || dome.Asked("Stop") == 0 || dome.Moving() != [3]float64{} {
		t.Errorf("moved %d times in %v, stopped %d times and goes on by %v", dome.Asked("ContinuousMove"), took, dome.Asked("Stop"), dome.Moving())
	}
	if r := p.ask(wire.CommandTypePTZMove, thing{"camera": "dome", "preset": "nowhere"}); r.Status != wire.ResultStatusFailed || r.Problem.Code == "" {
		t.Errorf("an unknown preset: %+v", r)
	}
	if n := p.trail("ptz.move", ""); n < 6 { // taken and done or failed, of each
		t.Errorf("%d rows in the trail", n)
	}
	if v := p.platform.Violations(); len(v) > 0 {
		t.Errorf("contract broken:\n%s", strings.Join(v, "\n"))
	}
}
