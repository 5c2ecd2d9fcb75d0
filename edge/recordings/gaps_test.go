package recordings

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/streams"
)

func TestAGapIsCutWhereItsReasonChanges(t *testing.T) {
	zero := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return zero.Add(time.Duration(s) * time.Second) }
	reason := func(from, to int, code string) Reason {
		return Reason{at(from), at(to), &devices.Problem{Code: code}}
	}
	for _, tt := range []struct {
		name     string
		from, to int
		reasons  []Reason
		want     []string
	}{
		{"nothing is known", 0, 600, nil, []string{"0-600 usual"}},
		{"one reason", 0, 600, []Reason{reason(0, 600, "lost")}, []string{"0-600 lost"}},
		{"noticed late, back early", 0, 600, []Reason{reason(12, 590, "lost")}, []string{"0-600 lost"}},
		{"noticed while it was over", 0, 10, []Reason{reason(8, 30, "lost")}, []string{"0-10 lost"}},
		{"one after the other", 0, 600, []Reason{reason(10, 200, "silent"), reason(200, 600, "unreachable")}, []string{"0-200 silent", "200-600 unreachable"}},
		{"a minute's trouble and then a day off", 0, 600, []Reason{reason(0, 90, "lost")}, []string{"0-90 lost", "90-600 usual"}},
		{
			"the gateway was off while the camera was away", 0, 600,
			[]Reason{reason(0, 600, "lost"), reason(100, 300, "gateway_stopped")},
			[]string{"0-100 lost", "100-300 gateway_stopped", "300-600 lost"},
		},
		{"a row of many gaps", 100, 300, []Reason{reason(-3000, 3000, "flapping"), reason(100, 300, "gateway_cut_off")}, []string{"100-300 gateway_cut_off"}},
		{"the disk was full, then its camera went", 0, 600, []Reason{reason(0, 400, "recording_stopped"), reason(380, 600, "lost")}, []string{"0-380 recording_stopped", "380-600 lost"}},
		{"slivers", 0, 60, []Reason{reason(0, 30, "lost"), reason(30, 33, "other"), reason(33, 60, "lost")}, []string{"0-60 lost"}},
		{"older than is kept, then off", 0, 6000, []Reason{reason(-100000, 2000, "recording_expired")}, []string{"0-2000 recording_expired", "2000-6000 usual"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, p := range explain(Reason{From: at(tt.from), To: at(tt.to)}, tt.reasons, &devices.Problem{Code: "usual"}) {
				got = append(got, fmt.Sprintf("%v-%v %s", p.From.Sub(zero).Seconds(), p.To.Sub(zero).Seconds(), p.Why.Code))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestARetiredCamerasGapSaysSo asks for what was recorded of a camera that was
// retired in the middle.
func TestARetiredCamerasGapSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		zero := time.Now()
		run(t, r, func() {
			s.feed.Connected()
			film(t, s.feed, 20*time.Second)
			err := r.cfg.Registry.Update(t.Context(), func(e *registry.Edit) error { return e.Retire(devices.KindCamera, "cam") })
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		})
		want := []string{"0-20", "20-80 camera_retired"}
		if diff := cmp.Diff(want, told(timeline(t, r, zero, zero.Add(time.Hour)), zero)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPicturesThatTheDiskWasTooSlowForAreTold records from a ring that has forgotten
// some before they were written.
func TestPicturesThatTheDiskWasTooSlowForAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s := open(t, devices.Camera{Record: devices.RecordAlways}, nil)
		s.feed = streams.NewFeed(streams.FeedConfig{Ring: time.Second, RingBytes: 10 << 10})
		run(t, r, func() {
			s.feed.Connected()
			film(t, s.feed, 5*time.Second)
			burst(t, s.feed, 200)
			time.Sleep(time.Second)
			film(t, s.feed, 5*time.Second)
		})
		s.mu.Lock()
		defer s.mu.Unlock()
		if diff := cmp.Diff([]string{"recording/cam recording_late"}, slices.Compact(s.missed)); diff != "" {
			t.Error(diff)
		}
	})
}

// TestAStopIsToldOfEveryCameraThatItConcerns has cameras become recorded and
// retired while the disk is full.
func TestAStopIsToldOfEveryCameraThatItConcerns(t *testing.T) {
	r, s := open(t, devices.Camera{Record: devices.RecordEvents}, nil)
	now := time.Now()
	step := func(used float64) (told []string) {
		s.missed, s.over = nil, nil
		r.judge(now, used)
		for _, m := range s.missed {
			told = append(told, "+"+m)
		}
		for _, o := range s.over {
			told = append(told, "-"+o)
		}
		return told
	}
	edit := func(do func(e *registry.Edit) error) {
		t.Helper()
		if err := r.cfg.Registry.Update(t.Context(), do); err != nil {
			t.Fatal(err)
		}
	}
	later := devices.Camera{ID: "later", Site: "k", Name: "L", URL: "rtsp://127.0.0.1/later", Record: devices.RecordAlways}
	for _, tt := range []struct {
		name string
		do   func()
		used float64
		want []string
	}{
		{"room", nil, 0.5, nil},
		{"full", nil, 0.91, []string{"+recording/cam recording_stopped"}},
		{"still full", nil, 0.95, nil},
		{"another camera", func() { edit(func(e *registry.Edit) error { return e.Create(&later) }) }, 0.89, []string{"+recording/later recording_stopped"}},
		{"one is retired", func() { edit(func(e *registry.Edit) error { return e.Retire(devices.KindCamera, "later") }) }, 0.89, []string{"-recording/later"}},
		{"room again", nil, 0.5, []string{"-recording/cam"}},
		{"still room", nil, 0.5, nil},
	} {
		if tt.do != nil {
			tt.do()
		}
		if diff := cmp.Diff(tt.want, step(tt.used)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// burst shows many pictures at once.
func burst(t *testing.T, feed *streams.Feed, n int) {
	t.Helper()
	data, err := os.ReadFile("../../streams/rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	units := streams.CutUnits(streams.H264, streams.SplitAnnexB(data))
	for i := range n {
		f, err := a.Frame(units[i%len(units)], time.Duration(time.Now().UnixMilli())*time.Millisecond+time.Duration(i), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		feed.Publish(f)
	}
}
