package recorders

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is from when on the recorder keeps something, and span until when.
var (
	noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	span = [][2]time.Time{{noon, noon.Add(2 * time.Minute)}}
)

// yard is a recorder of one channel with the room that asks it.
type yard struct {
	*Recorders
	tape   *rtsptest.Recorder
	device *onviftest.Device
	camera devices.Camera
	dir    string
}

// open gives a recorder as tape plays it, and a camera that is its first channel.
func open(t *testing.T, tape *rtsptest.Recorder, box onviftest.Config, change func(*Config)) *yard {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	at, done, err := tape.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	box.RTSP, _ = strconv.Atoi(u.Port())
	box.Username, box.Password = "admin", "x"
	box.Profiles = onviftest.Recorder(2)
	if box.Recordings == nil {
		box.Recordings = []onviftest.Recording{{Token: "Rec1", Source: "Channel1", Held: tape.Held, Replay: "/replay"}}
	}
	device, err := onviftest.Listen(box)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- device.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done; <-ended })
	y := &yard{tape: tape, device: device, dir: t.TempDir(), camera: devices.Camera{
		ID: "ch1", Site: "s", Name: "通道 1", URL: at, ONVIF: device.URL(), Source: "Channel1", Username: "admin", Password: "x",
	}}
	cfg := Config{
		Dir: filepath.Join(y.dir, "fetched"), Camera: func(id string) *devices.Camera {
			if id != "ch1" {
				return nil
			}
			return &y.camera
		},
		RTSP: rtsp.Config{Stall: 2 * time.Second}, Used: func() (float64, error) { return 0.5, nil },
	}
	if change != nil {
		change(&cfg)
	}
	y.Recorders, err = Open(t.Context(), yardtest.OpenDB(t, y.dir), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = y.Close() })
	return y
}

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func codeOf(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// bytesOf reads a clip.
func bytesOf(t *testing.T, c *Clip) []byte {
	t.Helper()
	in := c.Open()
	defer func() { _ = in.Close() }()
	data, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (y *yard) plays() int { return strings.Count(strings.Join(y.tape.Asked(), "\n"), "PLAY") }

func TestARecordersPastIsToldAndFetchedOnce(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span}, onviftest.Config{}, nil)
	h, err := y.Holding(t.Context(), "ch1", at(-60), at(60))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]onvif.Stretch{{From: at(0), To: at(60)}}, h.Stretches); diff != "" || !h.Known || h.Host != "127.0.0.1" {
		t.Errorf("%+v %s", h, diff)
	}
	if h.Offset == nil || h.Shift != 0 {
		t.Errorf("its clock is right: %+v", h.Skew)
	}
	first, err := y.Clip(t.Context(), "ch1", at(10), at(20))
	if err != nil {
		t.Fatal(err)
	}
	if !first.From.Equal(at(10)) || first.To.Sub(at(20)).Abs() > 67*time.Millisecond || !first.Stamped || first.Cut != nil || first.Offset == nil || first.Camera != "ch1" {
		t.Errorf("%+v", first)
	}
	data := bytesOf(t, first)
	if ffprobe, err := exec.LookPath("ffprobe"); err == nil {
		cmd := exec.CommandContext(t.Context(), ffprobe, "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", "-")
		cmd.Stdin = bytes.NewReader(data)
		if out, err := cmd.CombinedOutput(); err != nil || strings.Trim(string(out), ",\n") != "150" {
			t.Errorf("ffprobe: %v: %s", err, out)
		}
	}
	part, err := y.Clip(t.Context(), "ch1", at(12), at(14))
	if err != nil || !part.From.Equal(at(12)) {
		t.Errorf("a part: %+v, %v", part, err)
	}
	again, err := y.Clip(t.Context(), "ch1", at(10), at(20))
	if err != nil || !bytes.Equal(bytesOf(t, again), data) {
		t.Errorf("again: %v", err)
	}
	if n := y.plays(); n != 1 {
		t.Errorf("the recorder has played %d times", n)
	}
}

func TestARecorderIsAskedByItsOwnClock(t *testing.T) {
	t.Parallel()
	const slack = 10 * time.Second // that the offset may be off where an answer takes long
	byAddress := func(c *devices.Camera) {
		c.ReplayURL = c.URL + "?starttime={from:unix}&endtime={to:unix}"
	}
	tests := []struct {
		name   string
		ahead  time.Duration
		camera func(*devices.Camera)
		shift  time.Duration // about
		known  bool
	}{
		{"ahead", 90 * time.Second, nil, 90 * time.Second, true},
		{"behind", -90 * time.Second, nil, -90 * time.Second, true},
		{"right", 0, nil, 0, true},
		{"of another day", 25 * time.Hour, nil, 0, true},
		{"ahead, by its maker's address", 90 * time.Second, byAddress, 90 * time.Second, true},
		{"unknown", 90 * time.Second, func(c *devices.Camera) { byAddress(c); c.ONVIF = "" }, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			held := [2]time.Time{at(0).Add(tt.shift), at(60).Add(tt.shift)} // what it calls the minute from noon on
			y := open(t, &rtsptest.Recorder{Held: [][2]time.Time{held}, Plain: tt.camera != nil}, onviftest.Config{Ahead: tt.ahead}, nil)
			if tt.camera != nil {
				tt.camera(&y.camera)
			}
			h, err := y.Holding(t.Context(), "ch1", at(-60), at(120))
			if err != nil {
				t.Fatal(err)
			}
			if (h.Offset != nil) != tt.known || h.Asked.IsZero() == tt.known || (h.Shift-tt.shift).Abs() > slack || (tt.shift == 0 && h.Shift != 0) {
				t.Errorf("skew %+v", h.Skew)
			}
			if want := []onvif.Stretch{{From: held[0].Add(-h.Shift), To: held[1].Add(-h.Shift)}}; tt.camera == nil && !cmp.Equal(want, h.Stretches) {
				t.Errorf("%v, want %v", h.Stretches, want)
			}
			clip, err := y.Clip(t.Context(), "ch1", at(20), at(30))
			if err != nil {
				t.Fatal(err)
			}
			if before := at(20).Sub(clip.From); before < 0 || before > time.Second || clip.To.Sub(at(30)).Abs() > time.Second/10 || clip.Shift != h.Shift {
				t.Errorf("from %v to %v, shifted by %v", clip.From, clip.To, clip.Shift)
			}
			asked := "clock=" + at(20).Add(h.Shift).Format("20060102T150405.000Z") + "-" + at(30).Add(h.Shift).Format("20060102T150405.000Z")
			if tt.camera != nil {
				asked = fmt.Sprintf("?starttime=%d&endtime=%d", at(20).Add(h.Shift).Unix(), at(30).Add(h.Shift).Unix())
			}
			if all := strings.Join(y.tape.Asked(), "\n"); !strings.Contains(all, asked) {
				t.Errorf("%s is not in %s", asked, all)
			}
			was := y.fetches[0]
			y.fetches = nil // after a start it is what it was
			if err := y.openFetches(t.Context()); err != nil {
				t.Fatal(err)
			}
			if was.skew.Offset != nil {
				*was.skew.Offset = was.skew.Offset.Truncate(time.Millisecond)
			}
			if diff := cmp.Diff(was.skew, y.fetches[0].skew); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAClockIsGoneByWhileItCannotBeAsked has the recorder's ONVIF fall silent.
func TestAClockIsGoneByWhileItCannotBeAsked(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span, Plain: true}, onviftest.Config{Ahead: 90 * time.Second}, nil)
	y.camera.ReplayURL = y.camera.URL + "?starttime={from:unix}&endtime={to:unix}"
	first, err := y.Holding(t.Context(), "ch1", at(0), at(60))
	if err != nil || first.Shift == 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	y.camera.ONVIF = "http://127.0.0.1:9/onvif/device_service"
	age := func(clock time.Duration) { // what was learnt is so old
		known := *y.asked["ch1"]
		asked := *known.clock
		asked.At = time.Now().Add(-clock)
		known.until, known.clock = time.Time{}, &asked
		y.asked["ch1"] = &known
	}
	age(clockLasts / 2)
	again, err := y.Holding(t.Context(), "ch1", at(0), at(60))
	if err != nil || again.Shift != first.Shift || !again.Asked.Before(first.Asked) {
		t.Errorf("half an hour later %+v, %v", again, err)
	}
	age(clockLasts)
	if old, err := y.Holding(t.Context(), "ch1", at(0), at(60)); err != nil || old.Shift != 0 || old.Offset != nil {
		t.Errorf("an hour later %+v, %v", old, err)
	}
}

func TestWhatComesToldIsTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		tape     *rtsptest.Recorder
		box      onviftest.Config
		camera   func(*devices.Camera)
		from, to float64
		code     string
		cut      string
		lasts    time.Duration
	}{
		{"nothing there", &rtsptest.Recorder{}, onviftest.Config{}, nil, 300, 310, rtsp.CodeReplayNothing, "", 0},
		{"no recorder", &rtsptest.Recorder{}, onviftest.Config{}, func(c *devices.Camera) { c.ONVIF = "" }, 0, 10, "no_recorder", "", 0},
		{"a channel that is not recorded", &rtsptest.Recorder{}, onviftest.Config{}, func(c *devices.Camera) { c.Source = "Channel2" }, 0, 10, "no_recorder", "", 0},
		{"wrong password", &rtsptest.Recorder{}, onviftest.Config{}, func(c *devices.Camera) { c.Password = "y" }, 0, 10, onvif.CodePassword, "", 0},
		{"wrong password by RTSP", &rtsptest.Recorder{User: "admin", Password: "z"}, onviftest.Config{}, nil, 0, 10, rtsp.CodePassword, "", 0},
		{"it falls silent", &rtsptest.Recorder{Stall: 30}, onviftest.Config{}, nil, 0, 10, "", rtsp.CodeReplaySilent, 2 * time.Second},
		{"it names another host", &rtsptest.Recorder{}, onviftest.Config{Foreign: "203.0.113.9"}, nil, 0, 10, "", "", 10 * time.Second},
		{"too long", &rtsptest.Recorder{}, onviftest.Config{}, nil, 0, 700, "too_long", "", 0},
		{"by its maker's address", &rtsptest.Recorder{Plain: true, Held: [][2]time.Time{{at(20), at(30)}}}, onviftest.Config{}, func(c *devices.Camera) {
			c.ONVIF, c.ReplayURL, c.ReplayZone = "", c.URL+"?starttime={from:YYYYMMDDThhmmssZ}&endtime={to:YYYYMMDDThhmmssZ}", "+08:00"
		}, 20, 30, "", "", 10 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.tape.Held == nil {
				tt.tape.Held = span
			}
			y := open(t, tt.tape, tt.box, nil)
			if tt.camera != nil {
				tt.camera(&y.camera)
			}
			clip, err := y.Clip(t.Context(), "ch1", at(tt.from), at(tt.to))
			if codeOf(err) != tt.code {
				t.Fatalf("%v, want %q", err, tt.code)
			}
			if err != nil {
				return
			}
			cut := ""
			if clip.Cut != nil {
				cut = clip.Cut.Code
			}
			if cut != tt.cut || (clip.To.Sub(clip.From)-tt.lasts).Abs() > 70*time.Millisecond || clip.Stamped == tt.tape.Plain {
				t.Errorf("cut %q, from %v to %v, stamped %v", cut, clip.From, clip.To, clip.Stamped)
			}
			if _, err := y.Clip(t.Context(), "ch1", at(tt.from), at(tt.to)); err != nil || y.plays() != 1 {
				t.Errorf("again: %v, %d plays", err, y.plays())
			}
			if asked := strings.Join(y.tape.Asked(), "\n"); tt.tape.Plain && !strings.Contains(asked, "?starttime=20260301T120020Z&endtime=20260301T120030Z") {
				t.Errorf("asked for %s", asked)
			}
		})
	}
}

// TestAWrongPasswordIsNotTriedAgain counts what the recorder was asked for.
func TestAWrongPasswordIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span}, onviftest.Config{}, nil)
	y.camera.Password = "y"
	for range 5 {
		if _, err := y.Holding(t.Context(), "ch1", at(0), at(60)); codeOf(err) != onvif.CodePassword {
			t.Fatal(err)
		}
	}
	if n := y.device.Refused(); n > 2 {
		t.Errorf("the recorder has refused the password %d times", n)
	}
	y.camera.Password, y.camera.Version = "x", 2 // a person has mended it
	y.tape.User, y.tape.Password = "admin", "z"  // RTSP has another one
	for range 5 {
		if _, err := y.Clip(t.Context(), "ch1", at(0), at(10)); codeOf(err) != rtsp.CodePassword {
			t.Fatal(err)
		}
	}
	if n := strings.Count(strings.Join(y.tape.Asked(), "\n"), "DESCRIBE"); n > 2 { // without a password, and with it
		t.Errorf("it was described %d times", n)
	}
	y.camera.Version = 3
	if _, err := y.Holding(t.Context(), "ch1", at(0), at(60)); err != nil {
		t.Error(err)
	}
}

func TestManyWhoAskForTheSameAreOneFetch(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span}, onviftest.Config{}, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := y.Clip(t.Context(), "ch1", at(30), at(50)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := y.plays(); n != 1 {
		t.Errorf("%d plays", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := y.Clip(ctx, "ch1", at(60), at(70)); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left: %v", err)
	}
}

// export takes a clip out, in a transaction whose trail gives that error.
func (y *yard) export(t *testing.T, from, to time.Time, trail error) (*Taken, error) {
	t.Helper()
	e, err := y.Take(t.Context(), "ch1", from, to)
	if err != nil {
		return nil, err
	}
	err = y.db.Update(t.Context(), func(tx *sql.Tx) error { return errors.Join(e.Hold(t.Context(), tx), trail) })
	if err == nil {
		e.Held()
	}
	return e, err
}

func TestExportsStayAndTheRestGoes(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span}, onviftest.Config{}, func(c *Config) { c.Total = 1 })
	e, err := y.export(t, at(0), at(10), nil)
	if err != nil || len(e.SHA256) != 64 {
		t.Fatalf("%+v, %v", e, err)
	}
	if _, err := y.Clip(t.Context(), "ch1", at(60), at(70)); err != nil {
		t.Fatal(err)
	}
	refused := errors.New("no trail")
	if _, err := y.export(t, at(80), at(90), refused); !errors.Is(err, refused) {
		t.Errorf("not audited: %v", err)
	}
	if err := y.tidy(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := len(y.archive.Usage()); n != 1 {
		t.Errorf("%d fetches are left, want the exported one", n)
	}
	// After a start it is what it was.
	y.fetches = nil
	if err := y.openFetches(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := y.Clip(t.Context(), "ch1", e.From, e.To)
	if err != nil {
		t.Fatal(err)
	}
	if sum, err := again.SHA256(t.Context()); err != nil || sum != e.SHA256 || y.plays() != 3 {
		t.Errorf("%s is not %s: %v, %d plays", sum, e.SHA256, err, y.plays())
	}
	if taken, err := y.Exported(t.Context(), e.SHA256); err != nil || taken.Tag != e.Tag || taken.Camera != "ch1" || !taken.Stamped {
		t.Errorf("found by its hash: %+v, %v", taken, err)
	}
	if _, err := y.Exported(t.Context(), strings.Repeat("0", 64)); codeOf(err) != "no_export" {
		t.Errorf("what was never exported: %v", err)
	}
	if err := y.tidy(t.Context(), time.Now().Add(keepExports+time.Hour)); err != nil || len(y.archive.Usage()) != 0 {
		t.Errorf("after 90 days %v is left: %v", y.archive.Usage(), err)
	}
}

func TestNothingIsFetchedOntoAFullDisk(t *testing.T) {
	t.Parallel()
	y := open(t, &rtsptest.Recorder{Held: span}, onviftest.Config{}, func(c *Config) { c.Used = func() (float64, error) { return 0.95, nil } })
	if _, err := y.Clip(t.Context(), "ch1", at(0), at(10)); codeOf(err) != "replay_disk_full" {
		t.Error(err)
	}
	if n := len(y.tape.Asked()); n != 0 {
		t.Errorf("the recorder was asked %d times", n)
	}
}
