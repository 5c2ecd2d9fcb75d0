package alerts

import (
	"context"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

// TestACameraIsHeard has a camera with a wrong clock tell of a fire over a real
// socket.
func TestACameraIsHeard(t *testing.T) {
	t.Parallel()
	device, err := onviftest.Listen(onviftest.Config{Username: "u", Password: "p", Ahead: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	book := &ledger{began: time.Now()}
	changed := make(chan string, 4)
	r := New(Config{Book: book, ONVIF: onvif.Config{Pull: time.Second}, Changed: func(camera string) { changed <- camera }})
	cam := devices.Camera{ID: "cam", ONVIF: device.URL(), Username: "u", Password: "p", Alerts: []string{"fire"}}
	r.cameras = func() map[string]*devices.Camera { return map[string]*devices.Camera{"cam": &cam} }
	ended := make(chan struct{}, 3)
	for _, task := range []func(){func() { _ = device.Run(ctx) }, func() { _ = r.decide(ctx, nil) }, func() { r.attend(ctx, cam) }} {
		go func() { task(); ended <- struct{}{} }()
	}
	<-changed
	if p := r.Drift("cam"); p == nil || p.Code != "camera_clock" {
		t.Errorf("%v", p)
	}
	opened := func() bool {
		device.Notify("tns1:RuleEngine/MotionDetector/Motion", "VideoSource_1", "State", "true") // not asked for
		device.Notify("tns1:RuleEngine/tnsvendor:FireDetector/Alarm", "VideoSource_1", "State", "true")
		book.mu.Lock()
		defer book.mu.Unlock()
		return len(book.told) > 0
	}
	for end := time.Now().Add(10 * time.Second); !opened(); {
		if time.Now().After(end) {
			t.Fatal("nothing was heard")
		}
		time.Sleep(10 * time.Millisecond) // a real socket lies between
	}
	cancel()
	for range 3 {
		<-ended
	}
	if len(r.clocks.list) != 0 {
		t.Error("the clock of a camera that nobody asks any more is remembered")
	}
	if len(book.told) != 1 || book.told[0][len(book.told[0])-len("open fire "):] != "open fire " {
		t.Errorf("%q", book.told)
	}
}
