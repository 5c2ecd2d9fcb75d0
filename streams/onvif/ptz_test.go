package onvif_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

func TestSteering(t *testing.T) {
	t.Parallel()
	d := device(t, onviftest.Config{Username: "u", Password: "p"})
	c := client(t, d.URL(), "u", "p", onvif.Config{})
	ctx := t.Context()
	profile, err := c.Steer(ctx, "")
	if err != nil || profile != "MainStream" {
		t.Fatal(profile, err)
	}
	if _, err := c.Steer(ctx, "elsewhere"); code(err) != onvif.CodeUnknown {
		t.Error(err)
	}
	if err := c.Move(ctx, profile, onvif.Vector{Pan: 0.5, Zoom: -1}, 2*time.Second); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([3]float64{0.5, 0, -1}, d.Moving()); diff != "" {
		t.Error(diff)
	}
	if err := c.Stop(ctx, profile); err != nil || d.Moving() != [3]float64{} {
		t.Error(err, d.Moving())
	}
	for _, wild := range []onvif.Vector{{Pan: 1.01}, {Tilt: math.NaN()}, {Zoom: math.Inf(-1)}} {
		if err := c.Move(ctx, profile, wild, time.Second); code(err) != "out_of_range" {
			t.Errorf("%+v: %v", wild, err)
		}
	}
	if err := c.Nudge(ctx, profile, onvif.Vector{Tilt: 0.1}); err != nil || d.Asked("RelativeMove") != 1 {
		t.Error(err)
	}
	token, err := c.SetPreset(ctx, profile, "", "<罐区> & 门")
	if err != nil || token == "" {
		t.Fatal(err)
	}
	list, err := c.Presets(ctx, profile)
	if diff := cmp.Diff([]onvif.Preset{{Token: "1", Name: "大门"}, {Token: "2", Name: "料堆"}, {Token: token, Name: "<罐区> & 门"}}, list); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := c.GoTo(ctx, profile, token); err != nil || d.Looks() != token {
		t.Error(err)
	}
	if err := c.RemovePreset(ctx, profile, token); err != nil {
		t.Error(err)
	}
	if err := c.GoTo(ctx, profile, token); code(err) != onvif.CodeRefused {
		t.Error(err)
	}
	none := device(t, onviftest.Config{NoPTZ: true})
	if err := client(t, none.URL(), "", "", onvif.Config{}).Stop(ctx, "x"); code(err) != onvif.CodeUnknown {
		t.Error(err)
	}
}

// listen gives the events that a client is told, and ends with stop.
func listen(t *testing.T, c *onvif.Client) (events <-chan onvif.Event, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	told, ended := make(chan onvif.Event, 16), make(chan error, 1)
	go func() { ended <- c.Listen(ctx, func(e onvif.Event) { told <- e }) }()
	return told, func() error {
		cancel()
		return <-ended
	}
}

// subscribed waits until the device keeps a subscription.
func subscribed(t *testing.T, d *onviftest.Device) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); d.Asked("PullMessages") == 0; {
		if time.Now().After(end) {
			t.Fatal("nobody subscribed")
		}
		time.Sleep(time.Millisecond) // a real socket lies between
	}
}

func TestEventsAreHeard(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		cfg  onviftest.Config
	}{
		{"as usual", onviftest.Config{}},
		{"reference parameters, odd prefixes", onviftest.Config{ReferenceID: true, Style: onviftest.Odd}},
		{"foreign host", onviftest.Config{Foreign: "192.0.2.1"}},
		{"wrong clock", onviftest.Config{Ahead: 3 * time.Hour}},
		{"digest", onviftest.Config{Auth: onviftest.AuthDigest}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Username, tc.cfg.Password = "u", "p"
			d := device(t, tc.cfg)
			events, stop := listen(t, client(t, d.URL(), "u", "p", onvif.Config{Pull: time.Second}))
			subscribed(t, d)
			d.Notify("tns1:Device/Trigger/Relay", "0", "LogicalState", "true") // of no type
			d.Notify("tns1:RuleEngine/CellMotionDetector/Motion", "VideoSource_1", "IsMotion", "true")
			d.Notify("tns1:RuleEngine/LineDetector/Crossed", "VideoSource_1", "ObjectId", "1")
			motion, line := <-events, <-events
			if at := time.Since(motion.At); at < -2*time.Second || at > 5*time.Second {
				t.Errorf("at %s", motion.At)
			}
			want := onvif.Event{Type: onvif.Motion, Topic: "tns1:RuleEngine/CellMotionDetector/Motion", Source: "VideoSource_1", Rule: "MyRule", At: motion.At, On: true}
			if diff := cmp.Diff(want, motion); diff != "" {
				t.Error(diff)
			}
			if line.Type != onvif.LineCrossing || !line.On || !line.Once {
				t.Errorf("%+v", line)
			}
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if d.Subscribed() != 0 {
				t.Error("the subscription is left behind")
			}
		})
	}
}

func TestForgottenSubscriptionsAreAnError(t *testing.T) {
	t.Parallel()
	d := device(t, onviftest.Config{Forgetful: 1})
	events, stop := listen(t, client(t, d.URL(), "", "", onvif.Config{Pull: time.Second}))
	subscribed(t, d)
	d.Notify("tns1:VideoSource/GlobalSceneChange/ImagingService", "1", "State", "true")
	if e := <-events; e.Type != onvif.Tamper || !e.On {
		t.Errorf("%+v", e)
	}
	defer func() { _ = stop() }()
	for end := time.Now().Add(5 * time.Second); d.Asked("Unsubscribe") == 0; { // it has ended by itself
		if time.Now().After(end) {
			t.Fatal("it listens to nothing")
		}
		time.Sleep(time.Millisecond) // a real socket lies between
	}
}

func TestTypes(t *testing.T) {
	t.Parallel()
	for topic, want := range map[string]onvif.Type{
		"tns1:RuleEngine/TamperDetector/Tamper":              onvif.Tamper,
		"tns1:VideoSource/MotionAlarm":                       onvif.Motion,
		"tns1:RuleEngine/FieldDetector/ObjectsInside":        onvif.Intrusion,
		"tns1:RuleEngine/tnshik:SmokeDetection/Smoke":        onvif.Smoke,
		"tns1:VideoAnalytics/tnsdahua:FireDetect":            onvif.Fire,
		"tns1:RuleEngine/tnsvendor:FlameDetector/Alarm":      onvif.Fire,
		"tns1:RuleEngine/tnsvendor:IntrusionDetection/Alarm": onvif.Intrusion,
		"tns1:Device/Firewall/State":                         "",
		"tns1:RuleEngine/tnsvendor:Fire":                     onvif.Fire,
		"tns1:Monitoring/ProcessorUsage":                     "",
		"":                                                   "",
	} {
		if got, _ := onvif.TypeOf(topic); got != want {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
}
