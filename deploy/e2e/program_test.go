package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
)

// The tests below drive the program as it is shipped: `offsite serve` as a
// process, set up through its API like a newcomer would.

// programBinary is built once for all tests.
var programBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offsite-e2e-")
	if err != nil {
		return "", err
	}
	return peers.Build(context.Background(), dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if binary, err := programBinary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(code)
}

// program is a gateway process with a reference platform.
type program struct {
	*peers.Offsite
	t        *testing.T
	platform *platformtest.Platform
}

type thing = map[string]any

// startProgram starts a gateway, registers an entity and the site "plant", and
// enrols it with a platform of its own.
func startProgram(t *testing.T, yaml string) *program {
	t.Helper()
	return startProgramIn(t, filepath.Join(t.TempDir(), "state"), yaml)
}

// startProgramIn is startProgram with a state directory of the test's choice.
func startProgramIn(t *testing.T, state, yaml string) *program {
	t.Helper()
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	return startProgramAs(t, binary, state, yaml)
}

// startProgramAs is startProgramIn with a binary of the test's choice.
func startProgramAs(t *testing.T, binary, state, yaml string) *program {
	t.Helper()
	p := &program{t: t}
	address := p.startPlatform()
	var err error
	if p.Offsite, err = peers.StartOffsite(t.Context(), binary, t.TempDir(), state, yaml); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(p.Out)
		}
	})
	p.post("/entities", thing{"id": "ent", "name": "试验企业", "uscc": "91320411MA1DEM001L", "region_code": "320411"})
	p.post("/sites", thing{"id": "plant", "name": "试验厂", "kind": "plant", "entities": []thing{{"entity": "ent", "role": "operator"}}})
	p.post("/platform", thing{"url": address, "code": p.platform.Code()})
	return p
}

func (p *program) startPlatform() (address string) {
	p.t.Helper()
	var err error
	p.platform, err = platformtest.Open(platformtest.Config{})
	if err != nil {
		p.t.Fatal(err)
	}
	listener, err := platformtest.Listen(p.t.Context(), "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = p.platform.Run(ctx, listener)
	}()
	p.t.Cleanup(func() { cancel(); <-ended })
	return "http://" + listener.Addr().String()
}

func (p *program) post(path string, v thing) {
	p.t.Helper()
	if err := p.Do(p.t.Context(), "POST", path, v, nil); err != nil {
		p.t.Fatal(err)
	}
}

// outlet registers an outlet with points, each bound to a device of the given
// driver by binding(point), and a limit H at limit without deadband or delays.
func (p *program) outlet(id string, device thing, points []string, limit float64, binding func(point string) thing) {
	p.t.Helper()
	p.post("/outlets", thing{"id": id, "site": "plant", "name": id, "kind": "other"})
	device["site"], device["name"] = "plant", device["id"]
	p.post("/devices", device)
	for _, pt := range points {
		full := id + "." + pt
		p.post("/points", thing{"id": full, "name": pt, "factor": pt, "unit": "u", "digits": 2})
		b := binding(pt)
		b["id"], b["point"], b["device"] = id+"-"+pt, full, device["id"]
		p.post("/bindings", b)
		p.post("/limits", thing{"id": id + "-" + pt, "point": full, "level": "H", "value": limit, "averaging": "instant"})
	}
}

type historySample struct {
	At    time.Time `json:"at"`
	Value float64   `json:"value"`
}

// samples reads the raw history of a point by the API.
func (p *program) samples(point string, from, to time.Time) ([]historySample, error) {
	var got struct {
		Samples []historySample `json:"samples"`
	}
	q := url.Values{"point": {point}, "from": {from.Format(time.RFC3339Nano)}, "to": {to.Format(time.RFC3339Nano)}, "max": {strconv.Itoa(10000)}}
	err := p.Do(p.t.Context(), "GET", "/readings?"+q.Encode(), nil, &got)
	return got.Samples, err
}

// await waits up to a minute until ready is nil.
func (p *program) await(what string, ready func() error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), time.Minute)
	defer cancel()
	if err := peers.Await(ctx, ready); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// told gives the messages that the platform accepted about a point, in order.
func (p *program) told(point string, step wire.EventStep) []platformtest.Event {
	var list []platformtest.Event
	for _, e := range p.platform.Events() {
		if e.Point == point && e.Step == step {
			list = append(list, e)
		}
	}
	return list
}

func wantCount[T any](list []T, n int) error {
	if len(list) != n {
		return fmt.Errorf("%d, want %d", len(list), n)
	}
	return nil
}
