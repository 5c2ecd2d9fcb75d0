package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"sync"
	"testing"

	world "offsite/cmd/offsite/demo"
	"offsite/deploy/peers"
	"offsite/devices/modbus/modbustest"
	"offsite/streams/onvif/onviftest"
)

// testConsoleActs does on a phone what changes something in the field: a set
// point, commands to a data logger, messages read again, and cameras that are
// found, registered and turned.
func testConsoleActs(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	slave := fan(t)
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	for _, x := range []struct {
		path string
		body thing
	}{
		{"/devices", thing{"id": "fan-plc", "site": "hengyuan-plot-7", "name": "Fan", "driver": "modbus", "endpoint": slave.Endpoint(), "modbus": thing{"unit": 3}}},
		{"/points", thing{"id": "gate-dust.fan", "name": "Fan speed", "factor": "speed", "unit": "Hz", "digits": 1}},
		{"/bindings", thing{"id": "fan", "point": "gate-dust.fan", "device": "fan-plc", "register": thing{"table": "holding", "address": 3, "type": "uint16"}, "scale": 0.1, "write": thing{"low": 0, "high": 50}}},
		{"/devices", thing{"id": "haze", "site": "hengyuan-plot-7", "name": "Haze", "driver": "broker", "password": "Haze-Meter-7"}},
		{"/points", thing{"id": "gate-dust.haze", "name": "Haze", "factor": "a34002", "unit": "ug/m3", "digits": 0}},
		{"/bindings", thing{"id": "haze", "point": "gate-dust.haze", "device": "haze", "topic": thing{"topic": "offsite/haze", "path": "pm"}}},
	} {
		if err := gateway.Do(t.Context(), http.MethodPost, x.path, x.body, nil); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(d.Broker, ":")
	say := []string{"-h", host, "-p", port, "-u", "haze", "-P", "Haze-Meter-7", "-q", "1", "-t", "offsite/haze", "-m", `{"pm":"n/a","pm10":77}`}
	if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", say...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub: %v %s", err, out)
	}
	var got struct {
		Refused, Asks, Set, Clock, Filled, Letter, Replayed, CSV string
		Rates, Faults, Cameras                                   []string
	}
	task := visitor(t, d, chromium, "chief", "administrator")
	recorder := cameraRecorder(t)
	task["recorder"], task["recorderPassword"] = recorder.URL(), recorderPassword
	browse(t, "acts.mjs", task, &got)
	for _, f := range got.Faults {
		t.Error(f)
	}
	for _, x := range []struct{ what, got, want string }{
		{"set point beyond its range", got.Refused, "50"},
		{"question", got.Asks, "25.5 Hz"},
		{"set point", got.Set, "25.5 Hz"},
		{"clock", got.Clock, "20"},
		{"history", got.Filled, "个数据包"},
		{"letter", got.Letter, "n/a"},
		{"read again", got.Replayed, "1"},
		{"table", got.CSV, "gate-dust.haze,ug/m3,20"},
		{"outlets", strings.Join(got.Rates, " "), "扬尘"},
	} {
		if !strings.Contains(x.got, x.want) {
			t.Errorf("%s: %q lacks %q", x.what, x.got, x.want)
		}
	}
	if moves, stops := recorder.Asked("ContinuousMove"), recorder.Asked("Stop"); len(got.Cameras) != 2 || moves < 6 || stops < 2 || recorder.Moving() != [3]float64{} {
		t.Errorf("cameras %q; the first was moved %d times, stopped %d times and goes on by %v", got.Cameras, moves, stops, recorder.Moving())
	}
	if v, _ := slave.Unit(3).Get(modbustest.Holding, 3); v != 255 {
		t.Errorf("the register holds %d", v)
	}
	var trail struct {
		Items []struct{ Act, Result, Purpose string }
	}
	if err := gateway.Do(t.Context(), http.MethodGet, "/audit?act=point.write", nil, &trail); err != nil {
		t.Fatal(err)
	}
	if said := fmt.Sprint(trail.Items); strings.Count(said, "降尘") != 3 {
		t.Errorf("the trail says %s", said)
	}
}

// fan is a Modbus slave whose register 3 of unit 3 takes what is written to it.
func fan(t *testing.T) *modbustest.Slave {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	slave, err := modbustest.Listen(ctx, modbustest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	slave.Unit(3).Set(modbustest.Holding, 3, 210)
	var running sync.WaitGroup
	running.Go(func() { _ = slave.Run(ctx) })
	t.Cleanup(running.Wait)
	t.Cleanup(stop)
	return slave
}

const recorderPassword = "Lens-and-Motor-7"

// cameraRecorder is a recorder by ONVIF with two cameras that turn.
func cameraRecorder(t *testing.T) *onviftest.Device {
	t.Helper()
	server, addresses, err := world.Cameras("", 2, "admin", recorderPassword)
	if err != nil {
		t.Fatal(err)
	}
	recorder, err := world.Control("", addresses, "admin", recorderPassword)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	running.Go(func() { _ = recorder.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return recorder
}
