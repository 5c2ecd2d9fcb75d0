package fmp4_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/fmp4"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func load(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// frames cuts a byte stream; picture i is shown at its place in shown, or i if
// shown is nil, in steps of 40 ms.
func frames(t testing.TB, codec streams.Codec, data []byte, shown []int) []*streams.Frame {
	t.Helper()
	a := streams.NewAssembler(codec, nil, nil, nil)
	var out []*streams.Frame
	for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		if shown != nil {
			i = shown[i]
		}
		f, err := a.Frame(u, time.Duration(i)*40*time.Millisecond, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

// watch opens a session on m and gives the viewer's end and the session's.
func watch(t *testing.T, m *fmp4.Muxer) (*websocket.Conn, <-chan error) {
	t.Helper()
	return watchUntil(context.Background(), t, m)
}

// watchUntil is watch until the session's ctx ends.
func watchUntil(ctx context.Context, t *testing.T, m *fmp4.Muxer) (*websocket.Conn, <-chan error) {
	t.Helper()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			ended <- err
			return
		}
		ended <- m.Serve(ctx, conn)
	}))
	conn, _, err := websocket.Dial(t.Context(), server.URL, nil) //nolint:bodyclose // the library closes it
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { _ = conn.CloseNow(); cancel(); server.Close(); http.DefaultClient.CloseIdleConnections() })
	return conn, ended
}

type message struct {
	text string
	data []byte
}

// read gives the next n messages, but for those about the lag: they come by the clock.
func read(t *testing.T, conn *websocket.Conn, n int) []message {
	t.Helper()
	var out []message
	for len(out) < n {
		if m := readAll(t, conn, 1)[0]; !strings.HasPrefix(m.text, `{"mode":"lag"`) {
			out = append(out, m)
		}
	}
	return out
}

// readAll gives the next n messages.
func readAll(t *testing.T, conn *websocket.Conn, n int) []message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out []message
	for range n {
		kind, data, err := conn.Read(ctx)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(out), err)
		}
		if kind == websocket.MessageText {
			out = append(out, message{text: string(data)})
		} else {
			out = append(out, message{data: data})
		}
	}
	return out
}

func publish(feed *streams.Feed, fs []*streams.Frame) {
	for _, f := range fs {
		c := *f
		c.At = time.Now()
		feed.Publish(&c)
	}
}

func TestViewerGetsHeaderThenWholeGroupThenLive(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil) // groups of 5
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, clip[:8])
	m := fmp4.New(feed, fmp4.Config{})
	conn, _ := watch(t, m)
	got := read(t, conn, 5)
	var head struct {
		Mode, Codec   string
		Width, Height int
	}
	if err := json.Unmarshal([]byte(got[0].text), &head); err != nil {
		t.Fatal(err)
	}
	if head.Mode != "live" || head.Codec != fmp4.CodecString(clip[0].Params) || head.Width != 160 || head.Height != 96 {
		t.Errorf("header %+v", head)
	}
	if !bytes.Contains(got[1].data, []byte("ftyp")) || !bytes.Contains(got[1].data, []byte("avcC")) {
		t.Error("the second message is no initialisation segment")
	}
	publish(feed, clip[8:])
	got = append(got, read(t, conn, 7)...)
	checkMP4(t, got, 10) // 3 of the current group, 7 live
	if m.Viewers() != 1 {
		t.Errorf("%d viewers", m.Viewers())
	}
}

// checkMP4 lets ffprobe and ffmpeg read what a viewer got.
func checkMP4(t *testing.T, got []message, want int) string {
	t.Helper()
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Log("ffprobe is not installed: the output is not checked by another program")
		return ""
	}
	var all bytes.Buffer
	for _, m := range got {
		all.Write(m.data)
	}
	path := filepath.Join(t.TempDir(), "live.mp4")
	if err := os.WriteFile(path, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0", path).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(want) {
		t.Errorf("ffprobe: %v: %s; want %d frames", err, out, want)
	}
	out, err = exec.CommandContext(t.Context(), "ffmpeg", "-nostdin", "-v", "warning", "-xerror", "-err_detect", "explode", "-i", path, "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg: %v: %s", err, out)
	}
	return path
}

func TestWhoIsSentAwayIsToldWhy(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, clip[:5])
	ctx, end := context.WithCancelCause(context.Background())
	conn, ended := watchUntil(ctx, t, fmp4.New(feed, fmp4.Config{}))
	read(t, conn, 7)
	end(&devices.Problem{Kind: devices.ErrUnavailable, Code: "memory_short", ZH: "内存不足", EN: "memory is short"})
	got := read(t, conn, 1)
	if want := `{"mode":"wait","code":"memory_short","zh":"内存不足","en":"memory is short"}`; got[0].text != want {
		t.Errorf("told %q", got[0].text)
	}
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("closed by %v", err)
	}
	<-ended
}

func TestFragmentsAreMadeOnceForAll(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, clip[:5])
	m := fmp4.New(feed, fmp4.Config{})
	a, _ := watch(t, m)
	first := read(t, a, 7)
	b, _ := watch(t, m)
	second := read(t, b, 7)
	// Each fragment carries its serial number: equal bytes mean one making.
	if diff := cmp.Diff(first, second, cmp.AllowUnexported(message{})); diff != "" {
		t.Error(diff)
	}
}

func TestNewParametersBringANewHeader(t *testing.T) {
	small := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)
	large := frames(t, streams.H264, load(t, "../rtsp/rtsptest/demo.h264"), nil)
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, small[:5])
	conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
	checkMP4(t, read(t, conn, 7), 5)
	publish(feed, large[:4])
	got := read(t, conn, 6)
	if !strings.Contains(got[0].text, `"width":640`) {
		t.Errorf("message %q", got[0].text)
	}
	checkMP4(t, got, 4)
}

func TestReconnectGoesOnInTimeWithoutANewHeader(t *testing.T) {
	clip := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)
	again := frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil) // equal parameters, another pointer
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	publish(feed, clip[:10])
	conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
	got := read(t, conn, 7)
	feed.Disconnected(nil)
	feed.Connected()
	publish(feed, again[:5]) // its clock begins at 0 again
	got = append(got, read(t, conn, 5)...)
	path := checkMP4(t, got, 10)
	times := probeTimes(t, path, "pts_time")
	for i := 1; i < len(times); i++ {
		if times[i] <= times[i-1] {
			t.Errorf("time goes back: %v", times)
		}
	}
}

func probeTimes(t *testing.T, path, field string) []float64 {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ffprobe", "-v", "error", "-show_entries", "packet="+field, "-of", "csv=p=0", path).Output()
	if err != nil {
		t.Skip("ffprobe: ", err)
	}
	var times []float64
	for _, s := range strings.Fields(string(out)) {
		v, err := strconv.ParseFloat(strings.Trim(s, ","), 64)
		if err != nil {
			t.Fatal(err)
		}
		times = append(times, v)
	}
	return times
}

// encode makes a stream with the installed ffmpeg.
func encode(t *testing.T, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	args = append([]string{"-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=2"}, args...)
	out, err := exec.CommandContext(t.Context(), "ffmpeg", append(args, "pipe:1")...).Output()
	if err != nil {
		t.Skip("ffmpeg cannot encode this: ", err)
	}
	return out
}

func TestReorderedPicturesAndH265(t *testing.T) {
	// Of 12 pictures in decoding order I P B B, with a fixed pattern of two B.
	pattern := func(n int) []int {
		order := []int{0}
		for p := 3; len(order) < n; p += 3 {
			order = append(order, p, p-2, p-1)
		}
		return order
	}
	tests := []struct {
		name  string
		codec streams.Codec
		args  []string
		shown []int
		n     int
	}{
		{"h264 with B-frames", streams.H264, []string{"-c:v", "libx264", "-preset", "fast", "-threads", "1", "-x264-params", "bframes=2:b-adapt=0:b-pyramid=none:keyint=250:scenecut=0", "-f", "h264"}, pattern(50), 40},
		{"h265", streams.H265, []string{"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:bframes=0:keyint=25:pools=1", "-f", "hevc"}, nil, 50},
		{"h264 at 25 a second", streams.H264, []string{"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-threads", "1", "-g", "25", "-f", "h264"}, nil, 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			clip := frames(t, tt.codec, encode(t, tt.args...), tt.shown)
			feed := streams.NewFeed(streams.FeedConfig{})
			feed.Connected()
			conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
			// The viewer joins with an empty feed: it begins with the first frame.
			publish(feed, clip[:1])
			got := read(t, conn, 3)
			publish(feed, clip[1:tt.n])
			got = append(got, read(t, conn, tt.n-1)...)
			path := checkMP4(t, got, tt.n)
			if path == "" {
				return
			}
			shown, decoded := probeTimes(t, path, "pts_time"), probeTimes(t, path, "dts_time")
			for i := range shown {
				want := clip[i].PTS - clip[0].PTS
				if d := shown[i] - shown[0] - want.Seconds(); d < -0.001 || d > 0.001 {
					t.Errorf("picture %d is shown at %v, want %v", i, shown[i]-shown[0], want.Seconds())
				}
				if decoded[i] > shown[i] || (i > 0 && decoded[i] <= decoded[i-1]) {
					t.Errorf("picture %d is decoded at %v, shown at %v", i, decoded[i], shown[i])
				}
			}
		})
	}
}

func TestCodecString(t *testing.T) {
	tests := []struct {
		name string
		p    streams.Parameters
		want string
	}{
		{"baseline", streams.Parameters{Codec: streams.H264, SPS: []byte{0x67, 0x42, 0xc0, 0x1e}}, "avc1.42c01e"},
		{"too short", streams.Parameters{Codec: streams.H264, SPS: []byte{0x67}}, ""},
		// ISO 14496-15, annex E: main profile, compatible with 1 and 2, level 3.1.
		{"hevc main", streams.Parameters{Codec: streams.H265, SPS: []byte{0x42, 1, 1, 0x01, 0x60, 0, 0, 3, 0, 0xb0, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0}}, "hvc1.1.6.L93.B0"},
		{"hevc too short", streams.Parameters{Codec: streams.H265, SPS: []byte{0x42, 1, 1}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := fmp4.CodecString(&tt.p); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSilentCameraIsExplained(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Disconnected(&devices.Problem{Code: "camera_password", ZH: "密码错误", EN: "wrong password"})
	conn, _ := watch(t, fmp4.New(feed, fmp4.Config{}))
	got := read(t, conn, 1)
	if want := `{"mode":"wait","code":"camera_password","zh":"密码错误","en":"wrong password"}`; got[0].text != want {
		t.Errorf("got %s", got[0].text)
	}
	feed.Connected()
	publish(feed, frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)[:5])
	if got := read(t, conn, 7); !strings.Contains(got[0].text, "live") {
		t.Errorf("got %+v", got[0])
	}
}

// A viewer takes silence for a line that is cut: while no picture comes it is told so.
func TestViewerHearsWhileNoPictureComes(t *testing.T) {
	tests := []struct {
		name  string
		begin func(*testing.T, *streams.Feed)
		sent  int // messages of what is there
		then  func(*streams.Feed)
		want  string // of the next message
	}{
		{"away, for another reason now", func(_ *testing.T, f *streams.Feed) { f.Disconnected(&devices.Problem{Code: "camera_unreachable"}) }, 1, func(f *streams.Feed) { f.Disconnected(&devices.Problem{Code: "camera_password"}) }, "camera_password"},
		{"paused", func(t *testing.T, f *streams.Feed) {
			f.Connected()
			publish(f, frames(t, streams.H264, load(t, "../rtsp/testdata/small.h264"), nil)[:5])
		}, 7, func(*streams.Feed) {}, `"mode":"lag"`},
		{"no key frame yet", func(_ *testing.T, f *streams.Feed) { f.Connected() }, 0, func(*streams.Feed) {}, "camera_connecting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			feed := streams.NewFeed(streams.FeedConfig{})
			tt.begin(t, feed)
			conn, _ := watch(t, fmp4.New(feed, fmp4.Config{Told: 100 * time.Millisecond}))
			read(t, conn, tt.sent)
			tt.then(feed)
			if got := readAll(t, conn, 1); !strings.Contains(got[0].text, tt.want) {
				t.Errorf("got %q, want %s", got[0].text, tt.want)
			}
		})
	}
}

func TestClosedFeedEndsTheSession(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	m := fmp4.New(feed, fmp4.Config{})
	conn, ended := watch(t, m)
	feed.Close()
	var err error
	for err == nil { // it may have been told first that the camera is being connected to
		_, _, err = conn.Read(t.Context())
	}
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("viewer got %v", err)
	}
	if err := <-ended; !errors.Is(err, streams.ErrClosed) {
		t.Errorf("session ended with %v", err)
	}
}

func TestLeavingViewerIsForgotten(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	m := fmp4.New(feed, fmp4.Config{})
	conn, ended := watch(t, m)
	_ = conn.Close(websocket.StatusNormalClosure, "")
	if err := <-ended; err == nil {
		t.Error("session ended without an error")
	}
	if m.Viewers() != 0 || feed.State().Readers != 0 {
		t.Errorf("%d viewers, %d readers", m.Viewers(), feed.State().Readers)
	}
}

func FuzzFragments(f *testing.F) {
	f.Add(load(f, "../rtsp/testdata/small.h264")[:3000], false, int64(40))
	f.Fuzz(func(t *testing.T, data []byte, h265 bool, step int64) {
		codec := streams.H264
		if h265 {
			codec = streams.H265
		}
		a := streams.NewAssembler(codec, nil, nil, nil)
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		m := fmp4.New(feed, fmp4.Config{})
		for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
			frame, err := a.Frame(u, time.Duration(int64(i)*step), time.Now())
			if err != nil || frame == nil {
				continue
			}
			feed.Publish(frame)
			fmp4.CodecString(frame.Params)
			if frame.Seq != 0 {
				_, _ = m.Fragment(frame)
			}
		}
	})
}
