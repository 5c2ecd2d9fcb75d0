package footage_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/footage"
	"offsite/edge/yardtest"
	"offsite/streams"
	"offsite/streams/recording/recordingtest"
)

// note is the trail of an export: it gives that error.
func note(err error) func(context.Context, *sql.Tx, *footage.Export) error {
	return func(context.Context, *sql.Tx, *footage.Export) error { return err }
}

func taken(e *footage.Export) row {
	var r row
	for _, p := range e.Parts {
		why := []string{}
		for _, w := range []*footage.Word{p.Instead, p.Cut} {
			if w != nil {
				why = append(why, w.Code)
			}
		}
		r.add(string(p.Source), p.From, p.To, why...)
	}
	for _, g := range e.Missing {
		r.add("gap", g.From, g.To, codeIn(g.Why), codeIn(g.Recorder))
	}
	return r
}

func TestAnIntervalIsTakenOutInPartsOfOneSource(t *testing.T) {
	t.Parallel()
	slow := &devices.Problem{Kind: devices.ErrUnavailable, Code: "replay_slow", ZH: "慢", EN: "slow"}
	tests := []struct {
		name     string
		change   func(*testing.T, *site)
		from, to float64
		source   footage.Source
		most     int64
		want     row
		code     string
	}{
		{name: "both", from: 0, to: 60, want: row{"own 0s..20s", "recorder 20s..40s camera_silent", "own 40s..1m0s"}},
		{name: "own alone", from: 0, to: 60, source: footage.Own, want: row{"own 0s..1m0s", "gap 20s..40s camera_silent -"}},
		{name: "the recorder's alone", from: 0, to: 60, source: footage.Recorder, want: row{"recorder 0s..1m0s only_recorder"}},
		{
			name: "the recorder plays nothing", from: 0, to: 60, want: row{"own 0s..1m0s", "gap 20s..40s camera_silent replay_slow"},
			change: func(_ *testing.T, s *site) { s.nvr.broken = slow },
		},
		{
			name: "the recorder's end is cut off", from: 0, to: 60, want: row{"own 0s..20s", "recorder 20s..30s camera_silent replay_slow", "own 40s..1m0s", "gap 30s..40s camera_silent replay_slow"},
			change: func(t *testing.T, s *site) {
				s.nvr.archived, s.nvr.cut = newArchive(t), slow
				lay(t, s.nvr.archived, at(20), counted(t, streams.H264, 10))
			},
		},
		{
			name: "the recorder's has a hole", from: 0, to: 60, want: row{"own 0s..20s", "recorder 20s..40s camera_silent", "own 40s..1m0s", "gap 25s..35s camera_silent recorder_nothing"},
			change: func(t *testing.T, s *site) {
				s.nvr.archived = newArchive(t)
				lay(t, s.nvr.archived, at(20), counted(t, streams.H264, 5))
				lay(t, s.nvr.archived, at(35), counted(t, streams.H264, 5))
			},
		},
		{name: "nothing", from: 200, to: 210, code: "no_recording"},
		{name: "nothing but trouble", from: 25, to: 35, code: "replay_slow", change: func(_ *testing.T, s *site) { s.nvr.broken = slow }},
		{name: "too much of the recorder", from: -700, to: 0, code: "too_long", change: func(_ *testing.T, s *site) { s.nvr.held = []footage.Span{span(-1000, 0)} }},
		{name: "too many bytes", from: 0, to: 60, most: 3000, code: "clip_too_large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if tt.change != nil {
				tt.change(t, s)
			}
			e, err := s.Export(t.Context(), footage.Order{Camera: "cam", From: at(tt.from), To: at(tt.to), Source: tt.source, Most: tt.most}, note(nil))
			var got row
			if err == nil {
				got = taken(e)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || codeOf(err) != tt.code {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

// TestWhatWasTakenOutIsGivenAgain exports, starts anew, and takes the package and each of its files.
func TestWhatWasTakenOutIsGivenAgain(t *testing.T) {
	t.Parallel()
	s := open(t)
	order := footage.Order{Camera: "cam", From: at(0), To: at(60)}
	refused := errors.New("no trail")
	if _, err := s.Export(t.Context(), order, note(refused)); !errors.Is(err, refused) {
		t.Errorf("without a trail: %v", err)
	}
	e, err := s.Export(t.Context(), order, note(nil))
	if err != nil {
		t.Fatal(err)
	}
	s.open(t)
	p, err := s.Package(t.Context(), "cam", e.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(e.Manifest, p.Manifest); diff != "" {
		t.Error(diff)
	}
	var first, again bytes.Buffer
	if err := errors.Join(p.Write(t.Context(), &first), p.Write(t.Context(), &again)); err != nil || !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Fatalf("written twice: %v", err)
	}
	z, err := zip.NewReader(bytes.NewReader(first.Bytes()), int64(first.Len()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"manifest.json": e.SHA256}
	for _, piece := range e.Parts {
		want[piece.Name] = piece.SHA256
	}
	for name, sum := range want {
		in, err := z.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		blob, failed := s.Blob(t.Context(), sum)
		if err != nil || failed != nil {
			t.Fatal(err, failed)
		}
		sent, err := io.ReadAll(blob)
		if hash := sha256.Sum256(data); err != nil || hex.EncodeToString(hash[:]) != sum || !bytes.Equal(sent, data) || blob.Size != int64(len(data)) {
			t.Errorf("%s is another file: %v", name, err)
		}
		_ = blob.Close()
	}
	var m footage.Manifest
	if err := json.Unmarshal(e.Raw, &m); err != nil || m.Format != "offsite-footage" || m.Parts[0].Clock.Of != "gateway" || m.Parts[1].Clock.Of != "recorder" || *m.Parts[1].Clock.AheadMS != 90_000 || m.Parts[1].Clock.ShiftMS != 90_000 || m.Parts[1].Clock.AskedAt.Unix() != 1_800_000_000 || m.Gateway.Version != "v1" {
		t.Errorf("%v: %s", err, e.Raw)
	}
	for _, word := range []string{"快 90.0 秒", "已由录像机时钟换算为网关时钟", "2027-01-15 16:00:00"} {
		if !strings.Contains(m.Parts[1].Clock.ZH, word) {
			t.Errorf("the clock is told by %q", m.Parts[1].Clock.ZH)
		}
	}
	for _, none := range [][2]string{{"cam", "export-x"}, {"other", e.ID}} {
		if _, err := s.Package(t.Context(), none[0], none[1]); codeOf(err) != "no_export" {
			t.Errorf("%v: %v", none, err)
		}
	}
	if _, err := s.Blob(t.Context(), strings.Repeat("0", 64)); !errors.Is(err, devices.ErrNotFound) {
		t.Errorf("an unknown blob: %v", err)
	}
}

// shoot films a counter with ffmpeg, four pictures a second, each a key frame.
func shoot(t *testing.T, codec streams.Codec, seconds, size string, encoder ...string) (frames []*streams.Frame, pictures []string) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is absent: apt-get install ffmpeg")
	}
	form := map[streams.Codec]string{streams.H264: "h264", streams.H265: "hevc"}[codec]
	path := filepath.Join(t.TempDir(), "film."+form)
	recordingtest.FFmpeg(t, slices.Concat([]string{"-f", "lavfi", "-i", "testsrc=size=" + size + ":rate=4:duration=" + seconds, "-pix_fmt", "yuv420p", "-g", "1"}, encoder, []string{"-f", form, path})...)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := streams.NewAssembler(codec, nil, nil, nil)
	for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := cut.Frame(u, time.Duration(i)*time.Second/4, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, f)
	}
	return frames, recordingtest.Hashes(t, path)
}

// TestPartsOfAnotherCodecAndSizeAreTrueToThePicture takes out of an interval what the gateway has in H.264 and the
// recorder in H.265 of another size, and compares each picture of each part with what was sent.
func TestPartsOfAnotherCodecAndSizeAreTrueToThePicture(t *testing.T) {
	t.Parallel()
	mine, seen := shoot(t, streams.H264, "20", "160x120", "-c:v", "libx264", "-preset", "ultrafast")
	theirs, shown := shoot(t, streams.H265, "20", "320x240", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1")
	s := &site{own: newArchive(t), nvr: &nvr{archived: newArchive(t), held: []footage.Span{span(0, 20)}}, db: yardtest.OpenDB(t, t.TempDir())}
	lay(t, s.own, at(0), mine[:20])
	lay(t, s.own, at(10), mine[40:])
	lay(t, s.nvr.archived, at(0), theirs)
	s.open(t)
	e, err := s.Export(t.Context(), footage.Order{Camera: "cam", From: at(0), To: at(20)}, note(nil))
	if err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	p, err := s.Package(t.Context(), "cam", e.ID)
	if err == nil {
		err = p.Write(t.Context(), &z)
	}
	if err != nil {
		t.Fatal(err)
	}
	files, err := zip.NewReader(bytes.NewReader(z.Bytes()), int64(z.Len()))
	if err != nil || len(e.Parts) != 3 {
		t.Fatalf("%v: %+v", err, e.Parts)
	}
	want := [][]string{seen[:20], shown[20:40], seen[40:]}
	for i, part := range e.Parts {
		in, err := files.Open(part.Name)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		path := filepath.Join(t.TempDir(), part.Name)
		if err := errors.Join(err, os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", path).CombinedOutput(); err != nil || len(out) > 0 {
			t.Errorf("ffprobe of %s: %v: %s", part.Name, err, out)
		}
		if diff := cmp.Diff(want[i], recordingtest.Hashes(t, path)); diff != "" {
			t.Errorf("%s: %s", part.Name, diff[:min(len(diff), 600)])
		}
	}
	if a, b := e.Parts[0], e.Parts[1]; a.Codec != "h264" || a.Width != 160 || b.Codec != "h265" || b.Width != 320 || b.Height != 240 {
		t.Errorf("%+v", e.Parts)
	}
}
