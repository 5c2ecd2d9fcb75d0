package e2e

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/edge/dispatch/wire"
	"offsite/edge/footage"
	"offsite/gateway/api/contract"
	"offsite/streams/recording"
)

// decodedPictures gives the hash of each picture of a film. Neither ffprobe nor ffmpeg may say anything of it.
func decodedPictures(t *testing.T, path string) []string {
	t.Helper()
	picturesIn(t, path)
	cmd := exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "error", "-threads", "1", "-i", path, "-fps_mode", "passthrough", "-f", "framemd5", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil || said.Len() > 0 {
		t.Fatalf("%s: %v: %s", filepath.Base(path), err, said.String())
	}
	var list []string
	for line := range strings.Lines(string(out)) {
		if fields := strings.Split(strings.TrimSpace(line), ","); len(fields) == 6 && line[0] != '#' {
			list = append(list, strings.TrimSpace(fields[5]))
		}
	}
	return list
}

// put writes a film down.
func put(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// half is a camera of which the gateway has recorded the first and the third minute since began, and a recorder that is
// not ours all of an hour, in another size and at another rate, by a clock that is ahead.
type half struct {
	*program
	began        time.Time
	mine, theirs []string // hashes of the pictures of a minute, and of what the recorder plays over and over
}

func startHalf(t *testing.T, yaml string, ahead time.Duration) half {
	t.Helper()
	h := half{began: time.Now().Add(-20 * time.Minute).Truncate(time.Second).UTC()}
	state := filepath.Join(t.TempDir(), "state")
	archive := archiveOf(t, state, recording.Config{})
	layFilm(t, archive, "ch1", h.began, h.began.Add(2*time.Minute))
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	film, err := minuteFilm()
	if err != nil {
		t.Fatal(err)
	}
	h.mine, h.theirs = decodedPictures(t, put(t, "minute.h264", film)), decodedPictures(t, "../../streams/rtsp/rtsptest/demo.h264")
	box := recorderOf(t, h.began, ahead)
	h.program = startProgramIn(t, state, yaml)
	h.post("/cameras", thing{
		"id": "ch1", "site": "plant", "name": "通道 1", "url": "rtsp://127.0.0.1:9/ch1", "onvif": box.URL(), "source": "Channel1", "username": "admin", "password": "secret", "pull": "demand",
	})
	return h
}

func (h *half) at(seconds float64) string {
	return h.began.Add(time.Duration(seconds * float64(time.Second))).Format(time.RFC3339Nano)
}

// compare holds the pictures of a part, whose first one was taken at from, against what its source has shown.
func (h *half) compare(source string, from time.Time, film []byte) {
	h.t.Helper()
	got := decodedPictures(h.t, put(h.t, source+".mp4", film))
	shown, rate, since := h.mine, 25.0, from.Sub(h.began)
	if source == "recorder" {
		shown, rate = h.theirs, 15
	}
	first := int(math.Round(since.Seconds()*rate)) % len(shown)
	want := make([]string, 0, len(got))
	for i := range got {
		want = append(want, shown[(first+i)%len(shown)])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		h.t.Errorf("pictures of the %s from %v on: %s", source, since, diff[:min(len(diff), 400)])
	}
	h.t.Logf("%d pictures of the %s from %v on are those that it has shown", len(got), source, since)
}

// TestOneIntervalOfTwoRecorders asks for an interval that the gateway has but for its middle, which only the recorder has.
func TestOneIntervalOfTwoRecorders(t *testing.T) {
	t.Parallel()
	h := startHalf(t, "", 0)
	tl, err := h.timeline("ch1", h.began)
	if err != nil {
		t.Fatal(err)
	}
	var sources []contract.RecordingSource
	for _, s := range tl.Stretches {
		sources = append(sources, s.Source)
	}
	if diff := cmp.Diff([]contract.RecordingSource{contract.Own, contract.Recorder, contract.Own, contract.Recorder}, sources); diff != "" || tl.Stretches[1].Why.Code == "" {
		t.Fatalf("%s %+v", diff, tl)
	}
	resp, _ := h.fetch("/api/v1/cameras/ch1/clip?from="+h.at(50)+"&to="+h.at(130), "")
	if resp.Header.Get("X-Recording-Source") != "own" || resp.Header.Get("X-Recording-Next") != h.at(60)+" recorder" {
		t.Errorf("%v", resp.Header)
	}

	var e contract.RecordingExport
	if err := h.Do(t.Context(), http.MethodPost, "/cameras/ch1/recordings:export", thing{"from": h.at(50), "to": h.at(130), "reason": "执法检查"}, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Parts) != 3 || e.Parts[1].Source != contract.Recorder || e.Parts[1].Width != 640 || e.Parts[0].Width != 320 || e.Parts[1].ClockOffset == nil || e.Parts[1].Shift != 0 {
		t.Fatalf("%+v", e)
	}
	h.Kill()
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	resp, packed := h.fetch(e.URL, "")
	z, err := zip.NewReader(bytes.NewReader(packed), int64(len(packed)))
	if err != nil || resp.Header.Get("Content-Type") != "application/zip" {
		t.Fatalf("%v %v", resp.Header, err)
	}
	read := func(name, sum string) []byte {
		t.Helper()
		in, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if hash := sha256.Sum256(data); err != nil || hex.EncodeToString(hash[:]) != sum {
			t.Errorf("%s is another file: %v", name, err)
		}
		return data
	}
	var m footage.Manifest
	if err := json.Unmarshal(read("manifest.json", e.ManifestSha256), &m); err != nil || len(m.Parts) != 3 || m.Parts[1].Clock.Host != "127.0.0.1" || !strings.Contains(m.Parts[1].Clock.ZH, fmt.Sprintf(" %.1f 秒", e.Parts[1].ClockOffset.D().Abs().Seconds())) || m.CameraName != "通道 1" {
		t.Errorf("%v %+v", err, m)
	}
	for _, p := range e.Parts {
		h.compare(string(p.Source), p.From, read(p.Name, p.Sha256))
	}
}

// TestARecorderWhoseClockIsOffGivesWhatWasAskedFor has the gateway lack a minute that the recorder has by a clock that is
// 90 s ahead: the minute that comes is that of the gateway's time.
func TestARecorderWhoseClockIsOffGivesWhatWasAskedFor(t *testing.T) {
	t.Parallel()
	const ahead, slack = 90 * time.Second, 10 * time.Second // slack where an answer takes long
	h := startHalf(t, "", ahead)
	tl, err := h.timeline("ch1", h.began)
	if err != nil {
		t.Fatal(err)
	}
	r := tl.Recorder
	if (r.Shift.D()-ahead).Abs() > slack || len(r.Held) != 1 || !r.Held[0].From.Equal(h.began.Add(ahead-r.Shift.D())) && r.Held[0].From.After(h.began) || r.ClockAskedAt.IsZero() {
		t.Errorf("%+v", r)
	}
	var e contract.RecordingExport
	if err := h.Do(t.Context(), http.MethodPost, "/cameras/ch1/recordings:export", thing{"from": h.at(50), "to": h.at(130), "reason": "执法检查"}, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Parts) != 3 || e.Parts[1].Source != contract.Recorder || (e.Parts[1].Shift.D()-ahead).Abs() > slack || !strings.Contains(e.Parts[1].ClockZh, "已由录像机时钟换算为网关时钟") {
		t.Fatalf("%+v", e)
	}
	for i, p := range e.Parts {
		resp, film := h.fetch(p.URL, "")
		if sum := sha256.Sum256(film); hex.EncodeToString(sum[:]) != p.Sha256 {
			t.Errorf("part %d: %d", i, resp.StatusCode)
		}
		if p.Source != contract.Recorder {
			h.compare(string(p.Source), p.From, film)
			continue
		}
		if p.From.Sub(h.began.Add(time.Minute)).Abs() > time.Second || p.To.Sub(h.began.Add(2*time.Minute)).Abs() > time.Second {
			t.Errorf("the recorder's minute is from %v to %v since %v", p.From, p.To, h.began)
		}
		h.compare(string(p.Source), p.From.Add(p.Shift.D()-ahead), film) // what it showed then, by its own clock
	}
}

// TestThePlatformIsAnsweredByBoth has it look, take out, and watch what the gateway and the recorder have, and look once more
// when the recorder is silent.
func TestThePlatformIsAnsweredByBoth(t *testing.T) {
	t.Parallel()
	server := startGstReceiver(t, "")
	h := startHalf(t, "platform:\n  push: {hosts: [127.0.0.1], insecure: true, upload: 400Mbit/s}\n", 0)
	data := told[wire.RecordingData](t, h.ask(wire.CommandTypeRecordingQuery, thing{"camera": "ch1", "from": h.at(0), "to": h.at(180)}))
	if len(data.Stretches) != 3 || data.Stretches[1].Source != wire.RecordingSourceRecorder || data.Stretches[1].ReasonZh == "" || data.Recorder.Host != "127.0.0.1" || data.Recorder.ClockOffsetMS == nil || len(data.Gaps) != 0 {
		t.Errorf("%+v", data)
	}
	out := told[wire.RecordingExport](t, h.ask(wire.CommandTypeRecordingExport, thing{"camera": "ch1", "from": h.at(55), "to": h.at(125)}))
	if len(out.Parts) != 3 || out.Parts[1].Times != wire.RecordingPartTimesRecorder {
		t.Fatalf("%+v", out)
	}
	for _, p := range out.Parts {
		h.compare(string(p.Source), p.From.Time, h.platform.Blob(p.SHA256))
	}
	var m footage.Manifest
	if err := json.Unmarshal(h.platform.Blob(out.Manifest), &m); err != nil || len(m.Parts) != 3 {
		t.Errorf("%v %+v", err, m)
	}
	if h.trail("recording.exported", out.Manifest) != 1 || h.trail("recording.exported", "recorder 127.0.0.1 ") != 1 {
		t.Error("the trail lacks the export")
	}
	opened := told[wire.StreamData](t, h.ask(wire.CommandTypeStreamOpen, thing{
		"camera": "ch1", "profile": "main", "from": h.at(56), "ttl_seconds": 120, "push_url": "rtsp://127.0.0.1:" + server.port + "/live",
	}))
	if len(opened.Sources) != 3 || opened.Sources[0].Source != wire.RecordingSourceOwn || opened.Sources[1].Source != wire.RecordingSourceRecorder || opened.Sources[1].From.UTC().Format(time.RFC3339Nano) != h.at(60) {
		t.Errorf("%+v", opened.Sources)
	}
	h.await("four seconds of ours and eight of the recorder's", func() error {
		n, err := server.decoded("h264")
		if err == nil && n < 4*25+8*15 {
			err = fmt.Errorf("%d pictures", n)
		}
		return err
	})
	told[wire.StreamEnd](t, h.ask(wire.CommandTypeStreamClose, thing{"stream": opened.Stream}))

	h.post("/cameras", thing{
		"id": "mute", "site": "plant", "name": "mute", "url": "rtsp://192.0.2.1:9/x", "onvif": "http://192.0.2.1:9/onvif", "username": "a", "password": "b", "pull": "demand",
	})
	asked := time.Now()
	data = told[wire.RecordingData](t, h.ask(wire.CommandTypeRecordingQuery, thing{"camera": "mute", "from": h.at(0), "to": h.at(60)}))
	if took := time.Since(asked); took > 15*time.Second || len(data.Gaps) != 1 || data.Gaps[0].RecorderReasonZh == "" || data.Recorder.ReasonZh == "" {
		t.Errorf("after %v: %+v", took, data)
	}
	if v := h.platform.Violations(); len(v) > 0 {
		t.Errorf("contract broken:\n%s", strings.Join(v, "\n"))
	}
}
