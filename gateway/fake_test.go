package gateway_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/duty"
	"offsite/gateway/api/instruments"
	"offsite/streams"
	"offsite/streams/whep"
	"offsite/timeseries"
)

// site stands in for the edge: what the registry and the trail do is real,
// what instruments, cameras and the platform would do is told to it.
type site struct {
	db *state.DB

	mu       sync.Mutex
	samples  map[timeseries.Series][]timeseries.Sample
	away     bool // history is being opened again
	latest   []devices.Reading
	events   map[string]breach.Event
	asked    breach.Filter // of the newest list of events
	pictures map[string]contract.Evident
	blobs    map[string]blob
	status   []contract.DeviceStatus
	notices  []contract.Notice
	updates  chan duty.Update
	panics   bool
	viewing  whep.Viewing // the newest
}

type blob struct {
	content []byte
	sites   []string
	damaged bool
	deleted *devices.Problem
}

func newSite(db *state.DB) *site {
	return &site{
		db: db, samples: map[timeseries.Series][]timeseries.Sample{}, events: map[string]breach.Event{},
		pictures: map[string]contract.Evident{}, blobs: map[string]blob{}, updates: make(chan duty.Update),
	}
}

// keep adds samples to the history of a point, one a minute.
func (s *site) keep(site, point string, from time.Time, values ...float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	series := timeseries.Series{Site: site, Point: point}
	for i, v := range values {
		s.samples[series] = append(s.samples[series], timeseries.Sample{At: from.Add(time.Duration(i) * time.Minute), Value: v})
	}
}

var errAway = &devices.Problem{Kind: devices.ErrUnavailable, Code: "history_closed", ZH: "历史库正在重新打开", EN: "the history is being opened again"}

func (s *site) Range(_ context.Context, series timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return nil, errAway
	}
	var list []timeseries.Sample
	for _, x := range s.samples[series] {
		if !x.At.Before(from) && x.At.Before(to) && len(list) < most {
			list = append(list, x)
		}
	}
	return list, nil
}

func (s *site) Windows(ctx context.Context, series timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error) {
	list, err := s.Range(ctx, series, from, to, 1<<30)
	var windows []timeseries.Window
	for _, x := range list {
		start := timeseries.Align(x.At, every)
		if n := len(windows); n == 0 || !windows[n-1].Start.Equal(start) {
			windows = append(windows, timeseries.Window{Start: start, Min: x.Value, Max: x.Value, First: x.Value})
		}
		w := &windows[len(windows)-1]
		w.Mean = (w.Mean*float64(w.Count) + x.Value) / float64(w.Count+1)
		w.Count++
		w.Min, w.Max, w.Last = min(w.Min, x.Value), max(w.Max, x.Value), x.Value
	}
	return windows, err
}

func (s *site) Last(_ context.Context, series timeseries.Series) (timeseries.Sample, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.samples[series]
	switch {
	case s.away:
		return timeseries.Sample{}, errAway
	case len(list) == 0:
		return timeseries.Sample{}, timeseries.NoSample(series)
	}
	return list[len(list)-1], nil
}

func (s *site) Devices() []contract.DeviceStatus { return s.status }

func (s *site) Cameras() []contract.CameraStatus {
	return []contract.CameraStatus{{Camera: "cam-a", Site: "a", Connected: true, Since: day, Codec: "H264", Width: 640, Height: 360}}
}

func (s *site) Still(_ context.Context, camera string, width int) (streams.Still, error) {
	if s.panics {
		panic("still of " + camera)
	}
	if camera != "cam-a" {
		return streams.Still{}, &devices.Problem{Kind: devices.ErrUnavailable, Code: "camera_silent", ZH: "摄像机无画面", EN: "the camera is silent"}
	}
	return streams.Still{JPEG: []byte("\xff\xd8picture" + strings.Repeat(".", width)), At: day, Width: 640, Height: 360, Step: "ffmpeg"}, nil
}

func (s *site) View(ctx context.Context, camera string, _ devices.Profile, conn *websocket.Conn) error {
	if camera != "cam-a" {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "camera_silent", ZH: "摄像机无画面", EN: "the camera is silent"}
	}
	ctx = conn.CloseRead(ctx)
	if err := conn.Write(ctx, websocket.MessageText, []byte(`{"mime":"video/mp4"}`)); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// HLS answers with the name of the file.
func (s *site) HLS(w http.ResponseWriter, _ *http.Request, camera string, profile devices.Profile, name string) error {
	if camera != "cam-a" || name == "gone.m3u8" {
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "hls_renewed", ZH: "请重新打开", EN: "open it again"}
	}
	w.Header().Set("Content-Type", "application/vnd.apple.mpegurl")
	_, err := io.WriteString(w, string(profile)+"/"+name)
	return err
}

// WHEP answers with the offer and tells at once how the session ended.
func (s *site) WHEP(_ context.Context, camera string, profile devices.Profile, v whep.Viewing) (whep.Answer, error) {
	if camera != "cam-a" {
		return whep.Answer{}, &devices.Problem{Kind: devices.ErrConflict, Code: "codec_not_offered", ZH: "无此编码", EN: "no such codec"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.viewing = v
	return whep.Answer{ID: "secret-" + string(profile), SDP: v.Offer}, nil
}

func (s *site) TrickleWHEP(session, _ string) error { return s.noSession(session) }

func (s *site) CloseWHEP(session string) error {
	if err := s.noSession(session); err != nil {
		return err
	}
	s.viewing.Ended(whep.End{Why: whep.ErrLeft, Took: 3 * time.Second, Bytes: 4000, Frames: 75, Lost: 2})
	return nil
}

func (s *site) noSession(session string) error {
	if !strings.HasPrefix(session, "secret-") {
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "no_session", ZH: "会话已结束", EN: "the session is over"}
	}
	return nil
}

func (s *site) Retry(string) error { return nil }

func (s *site) Events(_ context.Context, f breach.Filter) ([]breach.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = f
	list := []breach.Event{}
	for _, ev := range s.events {
		open := ev.EndedAt == nil
		fits := (f.Sites == nil || slices.Contains(f.Sites, ev.Site)) && (f.Point == "" || ev.Point == f.Point) &&
			(f.State != "open" || open) && (f.State != "closed" || !open) && (f.State != "unacknowledged" || ev.Acknowledgment == nil) &&
			(f.Before == "" || ev.Cursor() < f.Before)
		if fits {
			list = append(list, ev)
		}
	}
	slices.SortFunc(list, func(x, y breach.Event) int { return y.StartedAt.Compare(x.StartedAt) })
	return list[:min(len(list), f.Max)], nil
}

func (s *site) Event(_ context.Context, id string) (breach.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ev, ok := s.events[id]
	if !ok {
		return ev, &devices.Problem{Kind: devices.ErrNotFound, Code: "event_not_found", ZH: "没有事件", EN: "there is no such event"}
	}
	return ev, nil
}

func (s *site) Acknowledge(ctx context.Context, id, who, note string, at time.Time, also func(context.Context, *sql.Tx) error) (breach.Event, error) {
	ev, err := s.Event(ctx, id)
	if err != nil {
		return ev, err
	}
	if ev.Acknowledgment != nil {
		return ev, &devices.Problem{Kind: devices.ErrConflict, Code: "already_acknowledged", ZH: "已确认", EN: "acknowledged already"}
	}
	if err := s.db.Update(ctx, func(tx *sql.Tx) error { return also(ctx, tx) }); err != nil {
		return ev, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ev.Acknowledgment = &breach.Acknowledgment{By: who, At: at, Note: note}
	ev.State = breach.Acknowledged
	s.events[id] = ev
	return ev, nil
}

func (s *site) Evident(_ context.Context, event string) (contract.Evident, error) {
	return s.pictures[event], nil
}

func (s *site) HoldEvidence(ctx context.Context, event string, h evidence.Hold, also func(context.Context, *sql.Tx) error) error {
	e := s.pictures[event]
	h.At = day
	e.Hold = &h
	s.pictures[event] = e
	return s.db.Update(ctx, func(tx *sql.Tx) error { return also(ctx, tx) })
}

func (s *site) ReleaseEvidence(ctx context.Context, event string, also func(context.Context, *sql.Tx) error) error {
	e := s.pictures[event]
	if e.Hold == nil {
		return &devices.Problem{Kind: devices.ErrNotFound, Code: "not_held", ZH: "没有被保全", EN: "it is not held"}
	}
	e.Hold = nil
	s.pictures[event] = e
	return s.db.Update(ctx, func(tx *sql.Tx) error { return also(ctx, tx) })
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func (s *site) OpenBlob(_ context.Context, sum string) (*duty.Exhibit, error) {
	b, ok := s.blobs[sum]
	if !ok {
		return nil, devices.ErrNotFound
	}
	if b.deleted != nil {
		return &duty.Exhibit{Sites: b.sites}, b.deleted
	}
	if b.damaged {
		return nil, &devices.Problem{Kind: contract.ErrDamaged, Code: "evidence_damaged", ZH: "证据文件已损坏", EN: "the evidence no longer has its hash"}
	}
	kind := "image/jpeg"
	if bytes.Contains(b.content, []byte("ftyp")) {
		kind = "video/mp4"
	}
	return &duty.Exhibit{ReadSeekCloser: content{bytes.NewReader(b.content)}, ContentType: kind, Sites: b.sites, Taken: day}, nil
}

// exhibit puts a blob into the vault and gives its hash.
func (s *site) exhibit(text string, sites ...string) string {
	sum := sha256.Sum256([]byte(text))
	name := hex.EncodeToString(sum[:])
	s.blobs[name] = blob{content: []byte(text), sites: sites}
	return name
}

func (s *site) Updates() (<-chan duty.Update, func() int64, func()) {
	return s.updates, func() int64 { return 0 }, func() {}
}

func (s *site) Latest() []devices.Reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.latest)
}

func (s *site) Newest(point string) (devices.Reading, bool) {
	for _, r := range s.Latest() {
		if r.Point == point {
			return r, true
		}
	}
	return devices.Reading{}, false
}

func (s *site) Condition(context.Context) (contract.Status, error) {
	return contract.Status{Version: "test", StartedAt: day, History: "local"}, nil
}

func (s *site) Notices() []contract.Notice { return s.notices }

// Letters gives one message, of device dev-a, that cannot be understood.
func (s *site) Letters(_ context.Context, f instruments.LetterFilter) ([]contract.DeadLetter, error) {
	l := contract.DeadLetter{ID: 7, Device: firstOf["devices"], Site: "a", Topic: "t", Encoding: contract.Base64, Payload: "/w==", Size: 1, ReceivedAt: day, Problem: contract.FieldProblem{Code: "bad_utf8", Zh: "不是文本", En: "no text"}}
	if (f.Device != "" && f.Device != l.Device) || (f.Before != 0 && f.Before <= l.ID) || (len(f.IDs) > 0 && !slices.Contains(f.IDs, l.ID)) {
		return nil, nil
	}
	return []contract.DeadLetter{l}, nil
}

func (s *site) Replay(_ context.Context, ids []int64) (contract.ReplayResult, error) {
	return contract.ReplayResult{Understood: len(ids), Readings: 2 * len(ids), Failed: []contract.DeadLetter{}}, nil
}

// Losses gives three, of which the page before ends with the last but one.
func (s *site) Losses(_ context.Context, before string, most int, sees func(string) bool) (list []contract.Loss, next string, err error) {
	for id, site := range []string{"a", "b", ""} {
		if sees(site) && (before == "" || fmt.Sprint(id) > before) {
			list = append(list, contract.Loss{
				ID: int64(id), Kind: "gap", Subject: "device/x", Site: site, Count: 1, From: day, To: day, Why: contract.FieldProblem{Code: "timeout", Zh: "超时", En: "timed out"},
			})
		}
	}
	if len(list) > most {
		list, next = list[:most], fmt.Sprint(list[most-1].ID)
	}
	return list, next, nil
}

func (s *site) Decoder() (step string, why error) { return "sandbox", errors.New("no ffmpeg") }

func (s *site) Ready() error {
	if s.away {
		return errAway
	}
	return nil
}

func (s *site) Platform(context.Context) (contract.PlatformStatus, error) {
	return contract.PlatformStatus{Waiting: 3}, nil
}

func (s *site) Enrol(_ context.Context, _, code string) error {
	if code != "good" {
		return &devices.Problem{Kind: devices.ErrConflict, Code: "code_refused", Field: "code", ZH: "激活码无效", EN: "the platform refused the code"}
	}
	return nil
}

func (s *site) Receive(r *http.Request) (int, []byte, error) {
	body, err := io.ReadAll(r.Body)
	if r.Header.Get("X-Signature") == "" {
		return http.StatusUnauthorized, []byte(`{"code":"unsigned"}`), nil
	}
	return http.StatusOK, body, err
}
