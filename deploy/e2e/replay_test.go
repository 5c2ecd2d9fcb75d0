package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

// recorderOf is a recorder of two channels whose past GStreamer plays from begin on, an hour of
// it. ONVIF is spoken by a fake. The clock of both is ahead, so that they call begin by another time.
func recorderOf(t *testing.T, begin time.Time, ahead time.Duration) *onviftest.Device {
	t.Helper()
	begin = begin.Add(ahead)
	gst := startGst(t, "gstreplay.py", "../../streams/rtsp/rtsptest/demo.h264", "--from", strconv.FormatInt(begin.Unix(), 10), "--user", "admin", "--password", "secret")
	port, err := strconv.Atoi(gst.port)
	if err != nil {
		t.Fatal(err)
	}
	box, err := onviftest.Listen(onviftest.Config{
		Username: "admin", Password: "secret", Auth: onviftest.AuthDigest, Profiles: onviftest.Recorder(2), RTSP: port, Foreign: "192.0.2.9", Ahead: ahead,
		Recordings: []onviftest.Recording{{Token: "Rec1", Source: "Channel1", Held: [][2]time.Time{{begin, begin.Add(time.Hour)}}, Replay: "/replay"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return box
}

// timesIn gives when the pictures of a file are shown, in seconds since its beginning.
func timesIn(t *testing.T, path string) []float64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "packet=pts_time", "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []float64
	for line := range strings.FieldsSeq(string(out)) {
		at, err := strconv.ParseFloat(strings.Trim(line, ","), 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, at)
	}
	return list
}

// TestThePastOfARecorderThatIsNotOurs imports a recorder's channel, sees what it keeps, and plays
// and exports an interval of it by time.
func TestThePastOfARecorderThatIsNotOurs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Skip("ffprobe is absent: apt-get install ffmpeg")
	}
	begin := time.Now().Add(-2 * time.Hour).UTC().Truncate(time.Second)
	box := recorderOf(t, begin, 0)
	p := startProgram(t, "")
	var seen struct {
		Replay   bool
		Channels []onvif.Channel
	}
	access := thing{"onvif": box.URL(), "username": "admin", "password": "secret"}
	if err := p.Do(t.Context(), http.MethodPost, "/cameras:inspect", thing{"camera": access}, &seen); err != nil {
		t.Fatal(err)
	}
	if !seen.Replay || len(seen.Channels) != 2 {
		t.Fatalf("%+v", seen)
	}
	var cameras []thing
	for i, ch := range seen.Channels {
		cameras = append(cameras, thing{
			"id": "ch" + strconv.Itoa(i+1), "site": "plant", "name": ch.Name, "url": ch.URL, "onvif": box.URL(), "source": ch.Source, "username": "admin", "password": "secret", "pull": devices.PullOnDemand,
		})
	}
	if err := p.Do(t.Context(), http.MethodPost, "/cameras:adopt", thing{"cameras": cameras}, nil); err != nil {
		t.Fatal(err)
	}

	tl, err := p.timeline("ch1", begin.Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	r := tl.Recorder
	if len(tl.Stretches) != 1 || tl.Stretches[0].Source != contract.Recorder || len(r.Held) != 1 || !r.Held[0].From.Equal(begin) || !r.Held[0].To.Equal(begin.Add(time.Hour)) || r.ClockOffset == nil || r.ClockAskedAt.IsZero() || r.Shift != 0 {
		t.Errorf("%+v", tl)
	}
	if tl, err := p.timeline("ch2", begin.Add(-time.Hour)); err != nil || len(tl.Recorder.Held) != 0 {
		t.Errorf("a channel that is not recorded: %+v, %v", tl.Recorder, err)
	}

	from := begin.Add(10 * time.Minute)
	span := url.Values{"from": {from.Format(time.RFC3339)}, "to": {from.Add(10 * time.Second).Format(time.RFC3339)}}
	asked := time.Now()
	resp, film := p.fetch("/api/v1/cameras/ch1/clip?"+span.Encode(), "")
	t.Logf("10 s were there after %v", time.Since(asked))
	h := resp.Header
	first, err := time.Parse(time.RFC3339Nano, h.Get("X-Recording-From"))
	const frame = time.Second / 15
	if resp.StatusCode != http.StatusOK || err != nil || first.Sub(from).Abs() > frame || h.Get("X-Recording-Source") != "recorder" || h.Get("X-Recording-Times") != "recorder" || h.Get("X-Recording-Clock-Offset") == "" || h.Get("X-Recording-Shift") != "0s" {
		t.Fatalf("%d %v: %s", resp.StatusCode, h, film[:min(len(film), 300)])
	}
	path := filepath.Join(t.TempDir(), "clip.mp4")
	if err := os.WriteFile(path, film, 0o600); err != nil {
		t.Fatal(err)
	}
	if n := picturesIn(t, path); n < 150 || n > 151 {
		t.Errorf("%d pictures", n)
	}
	for i, at := range timesIn(t, path) {
		if off := time.Duration(at*float64(time.Second)) - time.Duration(i)*frame; off.Abs() > frame/2 {
			t.Fatalf("picture %d is %v off", i, off)
		}
	}

	var taken contract.RecordingExport
	if err := p.Do(t.Context(), http.MethodPost, "/cameras/ch1/recordings:export", thing{"from": from, "to": from.Add(5 * time.Second), "reason": "执法检查", "source": "recorder"}, &taken); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(taken.Parts) != 1 {
		t.Fatalf("%+v", taken)
	}
	_, film = p.fetch(taken.Parts[0].URL, "")
	if sum := sha256.Sum256(film); hex.EncodeToString(sum[:]) != taken.Parts[0].Sha256 || taken.Parts[0].Source != contract.Recorder {
		t.Errorf("%+v is not what is given", taken)
	}
	resp, film = p.fetch("/api/v1/cameras/ch1/clip?source=recorder&from="+url.QueryEscape(begin.Add(-time.Minute).Format(time.RFC3339))+"&to="+url.QueryEscape(begin.Add(-50*time.Second).Format(time.RFC3339)), "")
	if resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(film), "replay_refused") { // as GStreamer answers it
		t.Errorf("before it began: %d %s", resp.StatusCode, film)
	}
}

// TestTheConsolePlaysARecordersPast taps into what a recorder has kept yesterday.
func TestTheConsolePlaysARecordersPast(t *testing.T) {
	t.Parallel()
	chromium := needBrowser(t)
	noon := time.Now().In(time.FixedZone("Asia/Shanghai", 8*3600)).AddDate(0, 0, -1)
	noon = time.Date(noon.Year(), noon.Month(), noon.Day(), 12, 0, 0, 0, noon.Location())
	box := recorderOf(t, noon, 90*time.Second)
	d := startDemo(t)
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	camera := thing{
		"id": "nvr-1", "site": "hengyuan-plot-7", "name": "录像机通道 1", "url": "rtsp://127.0.0.1:9/ch1", "onvif": box.URL(), "source": "Channel1", "username": "admin", "password": "secret", "pull": devices.PullOnDemand,
	}
	if err := gateway.Do(t.Context(), http.MethodPost, "/cameras", camera, nil); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Told, When, Wide, Part string
		Colours                []string
		Seen                   []struct {
			Width int
			Sum   int64
		}
	}
	browse(t, "replay.mjs", map[string]any{"chromium": chromium, "url": d.Console, "base": strings.TrimSuffix(d.API, "/api/v1")}, &got)
	clock, _, _ := strings.Cut(got.When, " · ")
	at, err := time.ParseInLocation(time.DateTime, clock, noon.Location()) // the middle of the hour was tapped
	if !strings.Contains(got.Told, "录像机（127.0.0.1）上的录像") || !strings.Contains(got.When, "录像机") || err != nil || at.Sub(noon.Add(30*time.Minute)).Abs() > 9*time.Minute {
		t.Errorf("it says %q and %q", got.Told, got.When)
	}
	if len(got.Seen) != 2 || got.Seen[0].Width != 640 || got.Seen[0].Sum == got.Seen[1].Sum || got.Wide != "" {
		t.Errorf("%+v", got)
	}
	if !strings.Contains(got.Part, "录像机 127.0.0.1") || !strings.Contains(got.Part, "已由录像机时钟换算为网关时钟") {
		t.Errorf("the part is told by %q", got.Part)
	}
	if len(got.Colours) < 2 || got.Colours[0] == got.Colours[1] {
		t.Errorf("ours and the recorder's have the colours %v", got.Colours)
	}
}
