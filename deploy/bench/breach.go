package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"offsite/deploy/peers"
)

// breach measures the whole road: a value over its limit is published to the
// embedded broker of a demo-size gateway; the clock stops when the reference
// platform has accepted the event as opened.
func breach(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("breach", flag.ContinueOnError)
	n := flags.Int("n", 300, "breaches")
	if err := flags.Parse(args); err != nil {
		return err
	}
	demo, err := startDemo(ctx)
	if err != nil {
		return err
	}
	defer demo.stop()
	client, err := demo.addDevice(ctx)
	if err != nil {
		return err
	}
	defer client.Disconnect(100)
	took := make([]time.Duration, 0, *n)
	began := time.Now()
	for i := range *n {
		for _, step := range []struct {
			value float64
			want  string
		}{{150, "opened"}, {50, "closed"}} {
			sent := time.Now()
			if t := client.Publish("offsite/bench/v", 1, false, fmt.Sprint(step.value)); t.Wait() && t.Error() != nil {
				return t.Error()
			}
			if err := demo.await(ctx, step.want); err != nil {
				return fmt.Errorf("breach %d: %w", i, err)
			}
			if step.want == "opened" {
				took = append(took, time.Since(sent))
			}
		}
	}
	seconds := time.Since(began).Seconds()
	slices.Sort(took)
	at := func(q float64) float64 { return took[int(q*float64(len(took)-1))].Seconds() * 1000 }
	fmt.Printf("bench=breach n=%d seconds=%.2f rate_per_s=%.1f p50_ms=%.2f p99_ms=%.2f\n", *n, seconds, float64(*n)/seconds, at(0.5), at(0.99))
	return nil
}

// demoProcess is `offsite demo --json` as a child.
type demoProcess struct {
	cmd    *exec.Cmd
	dir    string
	box    peers.Offsite // its API and broker
	link   string        // signs a browser in, once
	events chan demoEvent
}

type demoEvent struct {
	Event   string `json:"event"`
	Point   string `json:"point"`
	API     string `json:"api"`
	Token   string `json:"token"`
	Broker  string `json:"broker"`
	Console string `json:"console"`
}

// startDemo builds the gateway and runs its demo with further flags.
func startDemo(ctx context.Context, flags ...string) (*demoProcess, error) {
	dir, err := os.MkdirTemp("", "offsite-bench-")
	if err != nil {
		return nil, err
	}
	d := &demoProcess{dir: dir, events: make(chan demoEvent, 1024)}
	binary, err := peers.Build(ctx, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d.cmd = exec.CommandContext(ctx, binary, append([]string{"demo", "--json", "--state", dir + "/state"}, flags...)...) //nolint:gosec // just built
	d.cmd.Stderr = os.Stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := d.cmd.StdoutPipe()
	if err == nil {
		err = d.cmd.Start()
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		defer close(d.events)
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var e demoEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				d.events <- e
			}
		}
	}()
	ready, ok := <-d.events
	if !ok || ready.Event != "ready" {
		d.stop()
		return nil, errors.New("the demo did not start")
	}
	d.box = peers.Offsite{API: ready.API, Token: ready.Token, Broker: ready.Broker}
	d.link = ready.Console
	return d, nil
}

func (d *demoProcess) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	for range d.events { // until the child has closed its end
	}
	_ = d.cmd.Wait()
	_ = os.RemoveAll(d.dir)
}

// addDevice registers a device of one point with a limit at 100 and connects it.
func (d *demoProcess) addDevice(ctx context.Context) (mqtt.Client, error) {
	type thing = map[string]any
	for _, s := range []struct {
		path string
		v    thing
	}{
		{"/outlets", thing{"id": "bench", "site": "hengyuan-plot-7", "name": "bench", "kind": "other"}},
		{"/points", thing{"id": "bench.v", "name": "v", "factor": "x", "unit": "", "digits": 0}},
		{"/devices", thing{"id": "bench", "site": "hengyuan-plot-7", "name": "bench", "driver": "broker", "password": "bench-password"}},
		{"/bindings", thing{"id": "bench", "point": "bench.v", "device": "bench"}},
		{"/limits", thing{"id": "bench", "point": "bench.v", "level": "H", "value": 100, "averaging": "instant"}},
	} {
		if err := d.box.Do(ctx, "POST", s.path, s.v, nil); err != nil {
			return nil, err
		}
	}
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + d.box.Broker).SetClientID("bench").
		SetUsername("bench").SetPassword("bench-password").SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond))
	if t := client.Connect(); !t.WaitTimeout(10*time.Second) || t.Error() != nil {
		return nil, fmt.Errorf("connect to the embedded broker: %w", t.Error())
	}
	return client, nil
}

// await waits until the platform has accepted this step of our point.
func (d *demoProcess) await(ctx context.Context, step string) error {
	timeout := time.After(10 * time.Second)
	for {
		select {
		case e, ok := <-d.events:
			if !ok {
				return errors.New("the demo ended")
			}
			if e.Point == "bench.v" && e.Event == step {
				return nil
			}
		case <-timeout:
			return fmt.Errorf("%s did not reach the platform within 10 s", step)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
