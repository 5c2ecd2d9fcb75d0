package edge

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/yardtest"
	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
	"offsite/streams/scene"
)

// TestFaultsOfACameraBecomeEvents finds a camera black, well, and retired.
func TestFaultsOfACameraBecomeEvents(t *testing.T) {
	s := idleLookout(t)
	box := s.Box
	find := func(rule string, sure bool) {
		t.Helper()
		standing, err := box.Events.Faults(t.Context())
		if err == nil {
			err = s.tell(t.Context(), "eye", rule, sure, standing)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	faults := func() (list []string) {
		t.Helper()
		standing, err := box.Events.Faults(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range standing {
			list = append(list, ev.Kind+" "+ev.Camera+" "+ev.Outlet+" "+ev.Limit+" "+ev.State)
		}
		return list
	}
	steps := []struct {
		name string
		rule string
		sure bool
		want []string
	}{
		{"black", breach.CameraBlack, true, []string{"fault eye stack camera_black unacknowledged"}},
		{"still black", breach.CameraBlack, true, []string{"fault eye stack camera_black unacknowledged"}},
		{"not sure after a restart", "", false, []string{"fault eye stack camera_black unacknowledged"}},
		{"moved instead", breach.CameraMoved, true, []string{"fault eye stack camera_moved unacknowledged"}},
		{"well", "", true, nil},
		{"lost", breach.CameraLost, true, []string{"fault eye stack camera_lost unacknowledged"}},
	}
	for _, step := range steps {
		find(step.rule, step.sure)
		if diff := cmp.Diff(step.want, faults()); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
	}
	if err := s.round(t.Context()); err != nil { // no task runs for the camera: it is as good as retired
		t.Fatal(err)
	}
	if left := faults(); left != nil {
		t.Errorf("left %v", left)
	}
	all, err := box.Events.Events(t.Context(), breach.Filter{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%d events: %v", len(all), err)
	}
	ends := map[string]string{}
	for _, ev := range all {
		ends[ev.Limit] = ev.EndReason + " " + ev.Signal
		if r, err := box.Evidence.Of(t.Context(), ev.ID); err != nil || len(r.Items) != 4 || r.Items[0].Camera != "eye" {
			t.Errorf("evidence %+v: %v", r, err)
		}
	}
	want := map[string]string{breach.CameraBlack: "recovered recovered", breach.CameraMoved: "recovered recovered", breach.CameraLost: "not_measured unknown"}
	if diff := cmp.Diff(want, ends); diff != "" {
		t.Error(diff)
	}
	if depth, err := box.Outbox.Depth(t.Context()); err != nil || depth.Waiting != 6 {
		t.Errorf("%d messages wait: %v", depth.Waiting, err)
	}
}

// idleLookout is that of a box that does not run, with a camera that watches the stack.
func idleLookout(t *testing.T) *lookout {
	t.Helper()
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = t.TempDir(), "127.0.0.1:0", "none"
	box, err := Open(t.Context(), cfg, Parts{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	yardtest.Register(t, box.Registry, yardtest.Yard()...)
	yardtest.Register(t, box.Registry, &devices.Camera{ID: "eye", Site: "plant", Name: "眼", URL: "rtsp://127.0.0.1:1/x", Outlets: []string{"stack"}})
	return &lookout{Box: box, watches: map[string]*watched{}}
}

// TestARealCameraIsLookedAt pulls a camera that plays and looks at it.
func TestARealCameraIsLookedAt(t *testing.T) {
	t.Parallel()
	server, err := rtsptest.Listen(rtsptest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	defer func() { cancel(); <-done }()
	b := startBoxWith(t, t.TempDir(), nil, func(cfg *Config) { cfg.Video.Watch.Every = unwatched })
	yardtest.Register(t, b.Registry, &devices.Camera{ID: "eye", Site: "plant", Name: "眼", URL: server.URL("cam"), Pull: devices.PullAlways})
	b.await("the camera", func(u Update) bool { return u.Camera != nil && u.Camera.Connected })
	b.awaitKeys(ctx, 3)
	s := restarted(b)
	for i := 0; i < 3 || !s.knows("") && i < 20; i++ { // looks alike make a reference
		if rule := s.looks(t); rule != "" || s.watches["eye"].looks != i+1 || s.watches["eye"].view.Colour == 0 {
			t.Errorf("found %q at look %d", rule, i)
		}
	}
	referenceMustBe(t, b, "")

	standing := func() []breach.Event {
		t.Helper()
		list, err := b.Events.Faults(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if err := s.tell(t.Context(), "eye", breach.CameraMoved, true, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.References.Forget(t.Context(), "eye"); err != nil {
		t.Fatal(err)
	}
	s = restarted(b) // with nothing known of what it ought to show
	for range 5 {
		if rule := s.looks(t); rule != breach.CameraMoved || len(standing()) != 1 {
			t.Fatalf("found %q after a restart, %d stand", rule, len(standing()))
		}
	}
	audited := false
	_, err = b.SetReference(t.Context(), "eye", "li", func(context.Context, *sql.Tx) error { audited = true; return nil })
	if err != nil || !audited {
		t.Fatal(err)
	}
	referenceMustBe(t, b, "li")
	if rule := s.looks(t); rule != "" || len(standing()) != 0 {
		t.Errorf("found %q after a person has set the reference, %d stand", rule, len(standing()))
	}
}

// unwatched is a pause between two looks that no test lasts: the box's own lookout leaves
// its cameras to the test's.
const unwatched = devices.Duration(time.Hour)

// restarted is a lookout as it begins.
func restarted(b *runningBox) *lookout { return &lookout{Box: b.Box, watches: map[string]*watched{}} }

// knows says that a reference of the place is kept, of which a busy machine may not have made
// a picture in time at the look that it was learnt by.
func (s *lookout) knows(place string) bool {
	w := s.watches["eye"]
	return w != nil && w.kept[aspect{place, w.view.Night()}].Edges != nil
}

// looks looks once at every camera and gives the rule that the only one breaks. A
// round whose picture a busy machine did not decode in time is gone again.
func (s *lookout) looks(t *testing.T) string {
	t.Helper()
	seen := func() int {
		if w := s.watches["eye"]; w != nil {
			return w.looks
		}
		return 0
	}
	for before, tries := seen(), 0; seen() == before; tries++ {
		if err := s.round(t.Context()); err != nil || tries == 20 {
			t.Fatalf("no look in %d rounds: %v", tries+1, err)
		}
	}
	set, err := s.References.Cameras(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w := s.watches["eye"]; !w.set.Equal(set["eye"]) {
		t.Errorf("watched by the reference of %v, not of %v", w.set, set["eye"])
	}
	list, err := s.Events.Faults(t.Context())
	if err != nil || len(list) == 0 {
		return ""
	}
	return list[0].Limit
}

// referenceMustBe looks for the one reference of the camera, which by has set.
func referenceMustBe(t *testing.T, b *runningBox, by string) {
	t.Helper()
	list, err := b.References.Of(t.Context(), "eye")
	if err != nil || len(list) != 1 || list[0].SetBy != by || list[0].Night {
		t.Fatalf("references %+v, %v", list, err)
	}
	if v, err := scene.ViewOf(list[0].Still); err != nil || v.Reference() == nil {
		t.Error(err)
	}
}

func TestSameKeys(t *testing.T) {
	key := func(text string) *streams.Frame { return &streams.Frame{Key: true, NALUs: [][]byte{[]byte(text)}} }
	tests := []struct {
		name string
		keys []*streams.Frame
		want bool
	}{
		{"none", nil, false},
		{"one says nothing", []*streams.Frame{key("a")}, false},
		{"two alike", []*streams.Frame{key("a"), key("a")}, true},
		{"one of three differs", []*streams.Frame{key("a"), key("b"), key("b")}, false},
	}
	for _, tt := range tests {
		if _, same := sameKeys(tt.keys); same != tt.want {
			t.Errorf("%s: %v", tt.name, same)
		}
	}
}
