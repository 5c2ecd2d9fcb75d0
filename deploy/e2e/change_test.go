package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"offsite/devices/modbus/modbustest"
	"offsite/edge/dispatch/wire"
	"offsite/gateway/api/contract"
	"offsite/streams/rtsp/rtsptest"
)

// changeWithin is how soon a change of the registry must be felt.
const changeWithin = time.Second

// modbusSlave runs a slave for the test's time.
func modbusSlave(t *testing.T) *modbustest.Slave {
	t.Helper()
	slave, err := modbustest.Listen(t.Context(), modbustest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = slave.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return slave
}

// plc registers a Modbus device that is polled ten times a second, with one point.
func (p *program) plc(slave *modbustest.Slave, id string, unit byte, value float32) {
	p.t.Helper()
	slave.Unit(unit).Put(modbustest.Holding, 0, "ABCD", value)
	p.outlet(id, thing{"id": id, "driver": "modbus", "endpoint": slave.Endpoint(), "period": "100ms", "modbus": thing{"unit": unit}}, []string{"v"}, 1e6,
		func(string) thing {
			return thing{"register": thing{"table": "holding", "address": 0, "type": "float32"}}
		})
}

// felt does something and waits until it is felt, which may take a second.
func (p *program) felt(what string, do func(), ready func() error) {
	p.t.Helper()
	began := time.Now()
	do()
	p.await(what, ready)
	took := time.Since(began)
	p.t.Logf("%s was felt after %s", what, took.Round(time.Millisecond))
	if took > changeWithin {
		p.t.Errorf("%s was felt after %s", what, took)
	}
}

// lastIs is nil while the newest value of a point is want.
func (p *program) lastIs(point string, want float64) func() error {
	return func() error {
		var last struct {
			Value float64 `json:"value"`
		}
		err := p.Do(p.t.Context(), "GET", "/points/"+point+"/last", nil, &last)
		if err == nil && last.Value != want {
			err = fmt.Errorf("%s is %g, want %g", point, last.Value, want)
		}
		return err
	}
}

// polls gives the times at which a unit was asked.
func polls(u *modbustest.Unit) []time.Time {
	var list []time.Time
	for _, r := range u.Seen() {
		list = append(list, r.At)
	}
	return list
}

func TestChangesAreFeltWithinASecondAndByNobodyElse(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "")
	slave, cameras := modbusSlave(t), rtspCameras(t, rtsptest.Config{Paths: []string{"steady", "cam"}})
	p.plc(slave, "steady", 1, 1)
	p.post("/cameras", thing{"id": "steady", "site": "plant", "name": "steady", "url": cameras.URL("steady"), "outlets": []string{"steady"}})
	publish := p.sensor(t, "signed")
	publish("offsite/signed/v", at(-time.Minute, 1))
	for what, ready := range map[string]func() error{
		"neighbour is polled": p.lastIs("steady.v", 1), "neighbour plays": func() error { return p.plays("steady") },
		"neighbour is signed in": func() error { return p.online("signed") },
	} {
		p.await(what, ready)
	}
	before := p.neighbours(t)
	began := time.Now()

	p.changeDevice(slave)
	p.changeCamera(cameras)
	p.changeLimit(publish)

	if after := p.neighbours(t); !slices.Equal(before, after) {
		t.Errorf("neighbours were disturbed:\n%v\n%v", before, after)
	}
	last, longest, n := began, time.Duration(0), 0
	for _, at := range append(polls(slave.Unit(1)), time.Now()) {
		if at.After(began) {
			longest, last, n = max(longest, at.Sub(last)), at, n+1
		}
	}
	t.Logf("the neighbour was polled %d times in %s, the longest pause was %s", n-1, time.Since(began).Round(time.Millisecond), longest)
	if longest > 500*time.Millisecond {
		t.Errorf("the neighbour's polls paused for %s", longest)
	}
	for _, subject := range []string{"device/steady", "device/signed", "camera/steady"} {
		if rows, err := p.losses("gap", subject); err != nil || slices.ContainsFunc(rows, func(l contract.Loss) bool { return l.To.After(began) }) {
			t.Errorf("gaps of %s: %+v, %v", subject, rows, err)
		}
	}
}

// neighbours gives since when those that are left alone are as they are.
func (p *program) neighbours(t *testing.T) (since []string) {
	t.Helper()
	for _, id := range []string{"steady", "signed"} {
		d, err := p.device(id)
		if err != nil || !d.Online || d.Problem != nil {
			t.Errorf("device %s: %+v, %v", id, d, err)
		}
		since = append(since, d.Since.String())
	}
	c, err := p.camera("steady")
	if err != nil || !c.Connected {
		t.Errorf("camera: %+v, %v", c, err)
	}
	return append(since, c.Since.String())
}

func (p *program) changeDevice(slave *modbustest.Slave) {
	p.felt("an added device", func() { p.plc(slave, "pump", 2, 7) }, p.lastIs("pump.v", 7))
	slave.Unit(2).Put(modbustest.Holding, 10, "ABCD", float32(8))
	p.felt("a changed binding", func() {
		p.change("/bindings/pump-v", func(b thing) { b["register"] = thing{"table": "holding", "address": 10, "type": "float32"} })
	}, p.lastIs("pump.v", 8))
	slave.Unit(3).Put(modbustest.Holding, 10, "ABCD", float32(9))
	p.felt("a changed device", func() { p.change("/devices/pump", func(d thing) { d["modbus"] = thing{"unit": 3} }) }, p.lastIs("pump.v", 9))
	p.felt("a removed device", func() {
		if err := p.Do(p.t.Context(), "DELETE", "/devices/pump", nil, nil); err != nil {
			p.t.Fatal(err)
		}
	}, func() error {
		if _, err := p.device("pump"); err == nil {
			return errors.New("still in the status")
		}
		return nil
	})
	seen := len(polls(slave.Unit(3)))
	settled := len(polls(slave.Unit(1))) + 5 // half a second of the neighbour's polls
	p.await("the neighbour's polls", func() error {
		if n := len(polls(slave.Unit(1))); n < settled {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if n := len(polls(slave.Unit(3))); n > seen+1 {
		p.t.Errorf("a removed device was polled %d times more", n-seen)
	}
}

func (p *program) changeCamera(cameras *rtsptest.Server) {
	p.felt("an added camera", func() {
		p.post("/cameras", thing{"id": "cam", "site": "plant", "name": "cam", "url": cameras.URL("nowhere"), "outlets": []string{"steady"}})
	}, func() error {
		c, err := p.camera("cam")
		if err == nil && c.Problem == nil {
			err = errors.New("no problem yet")
		}
		return err
	})
	if c, err := p.camera("cam"); err == nil {
		said(p.t, *c.Problem, "camera_path", "url", "路径", "path")
	}
	p.felt("a changed camera", func() { p.change("/cameras/cam", func(c thing) { c["url"] = cameras.URL("cam") }) }, func() error { return p.plays("cam") })
	p.felt("a removed camera", func() {
		if err := p.Do(p.t.Context(), "DELETE", "/cameras/cam", nil, nil); err != nil {
			p.t.Fatal(err)
		}
	}, func() error {
		if _, err := p.camera("cam"); err == nil {
			return errors.New("still in the status")
		}
		return nil
	})
}

func (p *program) changeLimit(publish func(topic, payload string)) {
	opened := func(n int) func() error {
		return func() error { return wantCount(p.told("signed.v", wire.EventStepOpened), n) }
	}
	closed := func(n int) func() error {
		return func() error { return wantCount(p.told("signed.v", wire.EventStepClosed), n) }
	}
	p.post("/limits", thing{"id": "hh", "point": "signed.v", "level": "HH", "value": 500, "averaging": "instant"})
	p.felt("an added limit", func() { publish("offsite/signed/v", at(-30*time.Second, 600)) }, opened(2)) // H at 100 too
	p.felt("the signal's return", func() { publish("offsite/signed/v", at(-29*time.Second, 50)) }, closed(2))
	p.change("/limits/hh", func(l thing) { l["value"] = 40 })
	p.felt("a changed limit", func() { publish("offsite/signed/v", at(-28*time.Second, 60)) }, opened(3))
	p.felt("a removed limit", func() {
		if err := p.Do(p.t.Context(), "DELETE", "/limits/hh", nil, nil); err != nil {
			p.t.Fatal(err)
		}
	}, closed(3))
	publish("offsite/signed/v", at(-27*time.Second, 60))
	publish("offsite/signed/v", at(-26*time.Second, 150))
	p.await("the other limit", opened(4))
	if e := p.told("signed.v", wire.EventStepOpened)[3]; e.Level != "H" {
		p.t.Errorf("a removed limit opened %+v", e)
	}
}
