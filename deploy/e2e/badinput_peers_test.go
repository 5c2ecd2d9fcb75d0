package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/gateway/api/contract"
	"offsite/streams/rtsp/rtsptest"
	"offsite/timeseries/influx/influxtest"
)

// change replaces a thing by what edit makes of it.
func (p *program) change(path string, edit func(thing)) {
	p.t.Helper()
	var now thing
	if err := p.Do(p.t.Context(), "GET", path, nil, &now); err != nil {
		p.t.Fatal(err)
	}
	edit(now)
	if err := p.Do(p.t.Context(), "PUT", path, now, nil); err != nil {
		p.t.Fatal(err)
	}
}

func (p *program) camera(id string) (contract.CameraStatus, error) {
	st, err := p.status()
	if err != nil {
		return contract.CameraStatus{}, err
	}
	if i := slices.IndexFunc(st.Cameras, func(c contract.CameraStatus) bool { return c.Camera == id }); i >= 0 {
		return st.Cameras[i], nil
	}
	return contract.CameraStatus{}, fmt.Errorf("no camera %s in the status", id)
}

// plays is nil while the camera is connected.
func (p *program) plays(id string) error {
	c, err := p.camera(id)
	if err == nil && !c.Connected {
		return fmt.Errorf("%s is not connected: %+v", id, c.Problem)
	}
	return err
}

// notice gives the notice with this code.
func (p *program) notice(code string) (contract.FieldProblem, error) {
	st, err := p.status()
	if err != nil {
		return contract.FieldProblem{}, err
	}
	for _, n := range st.Notices {
		if n.Code == code {
			return contract.FieldProblem{Code: n.Code, Zh: n.Zh, En: n.En}, nil
		}
	}
	return contract.FieldProblem{}, fmt.Errorf("no notice %s among %+v", code, st.Notices)
}

// rtspCameras runs cameras for the test's time.
func rtspCameras(t *testing.T, cfg rtsptest.Config) *rtsptest.Server {
	t.Helper()
	server, err := rtsptest.Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return server
}

func (p *program) badCamera(t *testing.T) {
	p = p.in(t)
	server := rtspCameras(t, rtsptest.Config{User: "admin", Password: "right-canary"})
	publish := p.sensor(t, "seen")
	cam := thing{"id": "gate", "site": "plant", "name": "gate", "url": strings.Replace(server.URL("cam"), "//", "//admin:wrong-canary@", 1), "outlets": []string{"seen"}}
	got := p.refused(400, "/cameras", cam)
	said(t, contract.FieldProblem{Field: got.Field, Code: got.Code, Zh: got.Zh, En: got.En}, "password_in_url", "url")
	cam["url"], cam["username"], cam["password"] = server.URL("cam"), "admin", "wrong-canary"
	p.post("/cameras", cam)
	p.await("the camera's problem", func() error {
		c, err := p.camera("gate")
		if err == nil && c.Problem == nil {
			err = errors.New("none")
		}
		return err
	})
	c, err := p.camera("gate")
	if err != nil {
		t.Fatal(err)
	}
	said(t, *c.Problem, "camera_password", "password", "密码")
	publish("offsite/seen/v", at(-time.Second, 150))
	p.await("evidence", func() error { return wantCount(p.told("seen.v", wire.EventStepEvidence), 1) })
	e := p.told("seen.v", wire.EventStepEvidence)[0]
	it := ofBreach(e)
	if e.Evidence.State != wire.EvidenceStateNone || it.Camera == "" {
		t.Fatalf("evidence %+v", e.Evidence)
	}
	said(t, contract.FieldProblem{Zh: it.ReasonZh, En: it.Reason}, "", "", "密码", "password")
	p.change("/cameras/gate", func(c thing) { c["password"] = "right-canary" })
	p.await("the camera plays", func() error { return p.plays("gate") })
	if strings.Contains(p.Out.String(), "canary") {
		t.Error("a password is in the log")
	}
}

func (p *program) retainedAgain(t *testing.T) {
	p = p.in(t)
	broker, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Kill() })
	p.outlet("kept", thing{"id": "kept", "driver": "mqtt", "endpoint": "mqtt://" + broker.Addr}, []string{"v", "bare"}, 100, func(pt string) thing {
		if pt == "bare" {
			return thing{"topic": thing{"topic": "kept/bare"}}
		}
		return thing{"topic": thing{"topic": "kept/v", "path": "deep.v", "time_path": "t"}}
	})
	p.await("device online", func() error { return p.online("kept") })
	mosquittoPub(t, broker.Addr, "kept/v", []string{"-r"}, at(-time.Minute, 150))
	mosquittoPub(t, broker.Addr, "kept/bare", []string{"-r"}, "150")
	p.holds("kept.v", 150)
	p.holds("kept.bare", 150)
	for range 3 {
		if err := broker.Stop(); err != nil {
			t.Fatal(err)
		}
		away := time.Now()
		if err := broker.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.await("the retained values", func() error {
			d, err := p.device("kept")
			if err == nil && !d.LastReading.After(away) {
				return fmt.Errorf("last heard %s", d.LastReading)
			}
			return err
		})
	}
	mosquittoPub(t, broker.Addr, "kept/v", nil, at(0, 50)) // behind them on the same road
	p.holds("kept.v", 150, 50)
	p.holds("kept.bare", 150)
	for _, point := range []string{"kept.v", "kept.bare"} {
		if err := wantCount(p.told(point, wire.EventStepOpened), 1); err != nil {
			t.Errorf("alarms of %s: %v", point, err)
		}
	}
}

// deafDevice signs a device in that sends messages of QoS 1 for ever and reads
// nothing.
func (p *program) deafDevice(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "beside")
	p.outlet("deaf", thing{"id": "deaf", "driver": "broker", "password": "deaf-password-1"}, []string{"v"}, 1e6, func(string) thing { return thing{} })
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	conn, err := dialer.DialContext(t.Context(), "tcp", p.Broker)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	text := func(s string) []byte { return append([]byte{byte(len(s) >> 8), byte(len(s))}, s...) }
	body := slices.Concat(text("MQTT"), []byte{4, 0xc2, 0, 0}, text("deaf"), text("deaf"), text("deaf-password-1"))
	if _, err := conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		t.Fatal(err)
	}
	var burst []byte
	for id := range 1000 {
		m := slices.Concat(text("offsite/deaf/v"), []byte{byte((id + 1) >> 8), byte(id + 1)}, []byte("1"))
		burst = append(append(burst, 0x32, byte(len(m))), m...)
	}
	began, ended := time.Now(), make(chan time.Duration, 1)
	go func() {
		stalled := began
		for {
			wrote := time.Now()
			if _, err := conn.Write(burst); err != nil {
				ended <- time.Since(stalled)
				return
			}
			if time.Since(wrote) < time.Second {
				stalled = time.Now()
			}
		}
	}()
	slowest := time.Duration(0)
	for i, tick := 0, time.NewTicker(200*time.Millisecond); ; i++ {
		before := time.Now()
		publish("offsite/beside/v", at(0, float64(i)))
		slowest = max(slowest, time.Since(before))
		select {
		case <-tick.C:
			continue
		case after := <-ended:
			t.Logf("disconnected %s after the last byte was taken, %s after it signed in; slowest acknowledgement of its neighbour %s", after, time.Since(began), slowest)
			if after > 15*time.Second {
				t.Error("too late")
			}
		case <-time.After(40 * time.Second):
			t.Fatal("the deaf device was not disconnected")
		}
		tick.Stop()
		break
	}
	if slowest > 3*time.Second {
		t.Errorf("its neighbour waited %s for an acknowledgement", slowest)
	}
	p.await("the device's problem", func() error {
		d, err := p.device("deaf")
		if err == nil && d.Problem == nil {
			err = errors.New("none")
		}
		return err
	})
	d, err := p.device("deaf")
	if err != nil {
		t.Fatal(err)
	}
	said(t, *d.Problem, "deaf_device", "")
	p.lost("gap", "device/deaf", 1)
	if d, err := p.device("beside"); err != nil || !d.Online || d.Problem != nil {
		t.Errorf("its neighbour: %+v, %v", d, err)
	}
}

func (p *program) platformGarbage(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "told")
	for i, kind := range []platformtest.Misbehaviour{platformtest.Garbage, platformtest.CommitGarbage} {
		heal := p.platform.Inject(platformtest.Fault{Kind: kind, Route: "postEvent"})
		defer heal()
		before := time.Duration(i-2) * time.Minute
		publish("offsite/told/v", at(before, 150))
		var n contract.FieldProblem
		p.await("notice", func() (err error) {
			n, err = p.notice("platform_garbled")
			return err
		})
		said(t, n, "platform_garbled", "", "核对平台地址", "address")
		publish("offsite/told/v", at(before+time.Second, 50))
		heal()
		p.await("notice gone", func() error {
			if n, err := p.notice("platform_garbled"); err == nil {
				return fmt.Errorf("still %+v", n)
			}
			return nil
		})
	}
	p.await("both alarms closed", func() error { return wantCount(p.told("told.v", wire.EventStepClosed), 2) })
	if err := wantCount(p.told("told.v", wire.EventStepOpened), 2); err != nil {
		t.Errorf("opened: %v", err)
	}
	for key, n := range p.platform.Effects() {
		if n != 1 {
			t.Errorf("message %s took effect %d times", key, n)
		}
	}
	if v := p.platform.Violations(); len(v) > 0 {
		t.Errorf("violations: %v", v)
	}
}

func TestInfluxRefusesAndStaysAway(t *testing.T) {
	t.Parallel()
	influx := influxtest.Start(t, "offsite")
	p := startProgram(t, "history:\n  store: influx\n  retention: 0s\n  influx:\n    url: "+influx.URL+"\n    database: offsite\nreadings_log:\n  backlog: 16MiB\n")
	p.outlet("far", thing{"id": "far", "driver": "broker", "password": "far-password-1"}, []string{"v", "w"}, 1e6, func(pt string) thing {
		return thing{"topic": thing{"topic": "offsite/far/" + pt, "path": "v", "time_path": "t"}}
	})
	client := connectPaho(t, p.Broker, "far", "far-password-1")
	publish := func(pt string, at time.Time, v float64, ballast string) {
		t.Helper()
		if token := client.Publish("offsite/far/"+pt, 1, false, fmt.Sprintf(`{"t":%d,"v":%g%s}`, at.UnixMilli(), v, ballast)); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
			t.Fatalf("publish: %v", token.Error())
		}
	}
	count := func(pt string) (n int, err error) {
		rows, err := influx.Query("offsite", "SELECT count(v) FROM reading WHERE point = '"+pt+"'")
		if err != nil || len(rows) == 0 {
			return 0, err
		}
		return int(rows[0][1].(float64)), nil
	}
	have := func(pt string, n int) func() error {
		return func() error {
			got, err := count(pt)
			if err == nil && got != n {
				err = fmt.Errorf("%d readings, want %d", got, n)
			}
			return err
		}
	}

	// Field types are those of a shard, which spans a week: this one is poisoned.
	old := time.Now().Add(-60 * 24 * time.Hour).Truncate(time.Second)
	if err := influx.Write("offsite", fmt.Sprintf("reading,site=plant,outlet=far,point=v v=1i,q=0i %d", old.UnixMilli())); err != nil {
		t.Fatalf("poison: %v", err)
	}
	start := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range 20 {
		publish("w", start.Add(time.Duration(i)*time.Second), float64(i), "")
		if i == 10 {
			publish("v", old.Add(time.Second), 99, "")
		}
	}
	row := p.lost("refused", "point/far.v", 1)
	said(t, row.Why, "line_refused", "value", "InfluxDB", "float")
	p.await("neighbours of the refused line", have("w", 20))

	p.await("the answers to all writes", func() error {
		st, err := p.status()
		if err == nil && st.Backlog.HistoryBehind > 0 {
			err = fmt.Errorf("%d deliveries behind", st.Backlog.HistoryBehind)
		}
		return err
	})

	influx.Kill()
	const each = 500
	for i := range each {
		publish("w", start.Add(time.Minute+time.Duration(i)*time.Millisecond), float64(i), "")
	}
	var n contract.FieldProblem
	p.await("notice", func() (err error) {
		st, err := p.status()
		if err != nil {
			return err
		}
		for _, x := range st.Notices {
			if strings.HasPrefix(x.Code, "store_") || strings.Contains(x.En, "InfluxDB") {
				n = contract.FieldProblem{Code: x.Code, Zh: x.Zh, En: x.En}
				return nil
			}
		}
		return fmt.Errorf("notices %+v", st.Notices)
	})
	said(t, n, n.Code, "", "InfluxDB")
	letter := `","v":` + strings.Repeat("9", 60<<10) // no JSON: the log keeps it whole
	for range 300 {
		client.Publish("offsite/far/v", 1, false, letter)
	}
	for i := range each {
		publish("w", start.Add(2*time.Minute+time.Duration(i)*time.Millisecond), float64(i), "")
	}
	publish("w", start.Add(3*time.Minute), 2e6, "")
	p.await("judging goes on", func() error { return wantCount(p.told("far.w", wire.EventStepOpened), 1) })
	p.lost("dead_letter", "device/far", 300)
	sent := 20 + 2*each + 1
	p.await("the backlog's loss", func() error { // the newest five seconds of the log are never cut off
		publish("w", start.Add(3*time.Minute+time.Duration(sent)*time.Millisecond), 0, "")
		sent++
		rows, err := p.losses("backlog", "store/history")
		if err == nil && len(rows) == 0 {
			err = errors.New("none")
		}
		return err
	})
	if err := influx.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await("what is not lost is in InfluxDB", func() error {
		rows, err := p.losses("backlog", "store/history")
		if err != nil {
			return err
		}
		row = rows[0]
		got, err := count("w")
		if err == nil && int64(got)+row.Count != int64(sent) {
			err = fmt.Errorf("%d readings in InfluxDB and %d lost, of %d", got, row.Count, sent)
		}
		return err
	})
	said(t, row.Why, "backlog_full", "readings_log.backlog", "InfluxDB", "readings_log.backlog")
	t.Logf("lost %d of %d: %s to %s", row.Count, sent, row.From, row.To)
}
