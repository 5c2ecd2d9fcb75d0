package hj212_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/probetest"
)

func probe(t *testing.T, p devices.Prober, c hj212.Client) []devices.Step {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	for i := range c.Bounds { // as a form has them
		c.Bounds[i].Binding.Device, c.Bounds[i].Binding.ID = "", ""
	}
	steps, err := p.Probe(ctx, devices.Device{Driver: devices.DriverHJ212, Password: c.Device.Password, HJ212: c.Device.HJ212}, c.Bounds)
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func TestProbeOfALogger(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{}, plant("plc-1", "M1", "w01018"))
	away := probe(t, h, plant("", "M1", "w01018"))
	if diff := cmp.Diff([]string{"setup", "sign_in failed", "message failed"}, probetest.Outline(away)); diff != "" {
		t.Error(diff)
	}
	if s := away[0]; !strings.Contains(s.EN, h.Addr().String()) || !strings.Contains(s.EN, "MN M1") {
		t.Errorf("%+v", s)
	}
	l := dial(t, h)
	l.send(realtime("20240101000000001", "24.5"))
	if got := l.heard(); !strings.HasPrefix(got, "9014 ") {
		t.Fatal(got)
	}
	// The form has a factor more than what is registered, and one that does not come.
	steps := probe(t, h, plant("", "M1", "w01018", "w21003"))
	if diff := cmp.Diff([]string{"setup", "sign_in", "message", "values failed"}, probetest.Outline(steps)); diff != "" {
		t.Fatal(diff)
	}
	if !strings.Contains(steps[1].EN, "from 127.0.0.1:") || !strings.Contains(steps[2].EN, "w01018-Rtd=24.5") || strings.Contains(steps[2].EN, pw) {
		t.Errorf("%+v", steps)
	}
	v := steps[3].Values
	if *v[0].Value != 24.5 || v[0].Raw != "w01018-Rtd=24.5,w01018-Flag=N" || v[1].Value != nil || v[1].EN == "" {
		t.Errorf("%+v", v)
	}
}

func TestProbeTellsWhyALoggerIsAway(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{}, plant("plc-1", "M1"))
	l := dial(t, h)
	l.send(frame("20240101000000001", strings.Replace(header, pw, "999999", 1), "DataTime=20240101000000;w01018-Rtd=1"))
	l.heard()
	wrong := probe(t, h, plant("", "M1"))
	if s := wrong[1]; s.OK || !strings.Contains(s.EN, "PW is wrong (") || !strings.Contains(s.EN, "127.0.0.1:") || s.CureEN == "" {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff([]string{"setup", "sign_in skipped"}, probetest.Outline(probe(t, h, plant("", "M7")))); diff != "" {
		t.Error(diff)
	}
	stranger := dial(t, h)
	stranger.send(frame("20240101000000001", strings.Replace(header, "MN=M1", "MN=M7", 1), "DataTime=20240101000000;w01018-Rtd=1"))
	stranger.heard()
	if s := probe(t, h, plant("", "M7"))[1]; s.OK || s.Skipped || !strings.Contains(s.EN, "M7 is registered") && !strings.Contains(s.EN, "no data logger with MN") {
		t.Errorf("%+v", s)
	}
	if diff := cmp.Diff([]string{"setup failed"}, probetest.Outline(probe(t, hj212.Absent{}, plant("", "M1")))); diff != "" {
		t.Error(diff)
	}
}
