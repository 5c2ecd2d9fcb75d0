package e2e

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"offsite/deploy/peers"
	"offsite/edge/dispatch/wire"
)

// mosquittoPub publishes the lines, each a message of QoS 1, by mosquitto_pub.
func mosquittoPub(t *testing.T, addr, topic string, args []string, lines ...string) {
	t.Helper()
	host, port := addr[:len("127.0.0.1")], addr[len("127.0.0.1:"):]
	cmd := exec.CommandContext(t.Context(), "mosquitto_pub", append([]string{"-h", host, "-p", port, "-q", "1", "-l", "-t", topic}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(in)
	for _, l := range lines {
		fmt.Fprintln(w, l)
	}
	_ = w.Flush()
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("mosquitto_pub: %v", err)
	}
}

// ramp gives n messages with times of their own, one millisecond apart, of
// which the values after the middle lie over 100.
func ramp(from time.Time, n int) []string {
	lines := make([]string, n)
	for i := range lines {
		v := 50
		if i >= n/2 {
			v = 150
		}
		lines[i] = fmt.Sprintf(`{"t":%d,"deep":{"v":%d}}`, from.UnixMilli()+int64(i), v)
	}
	return lines
}

func TestMosquittoToHistoryAndPlatform(t *testing.T) {
	broker, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { broker.Kill() })
	p := startProgram(t, "")
	p.outlet("far", thing{"id": "far", "driver": "mqtt", "endpoint": "mqtt://" + broker.Addr}, []string{"v"}, 100,
		func(string) thing {
			return thing{"topic": thing{"topic": "plant/far", "path": "deep.v", "time_path": "t"}}
		})
	p.await("device online", func() error { return p.online("far") })

	const n = 1000
	from := time.Now().Add(-time.Hour).Truncate(time.Second)
	lines := ramp(from, n)
	mosquittoPub(t, broker.Addr, "plant/far", nil, lines[:300]...)
	if err := broker.Stop(); err != nil {
		t.Fatal(err)
	}
	p.await("device offline", func() error {
		if p.online("far") == nil {
			return fmt.Errorf("still online")
		}
		return nil
	})
	if err := broker.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mosquittoPub(t, broker.Addr, "plant/far", nil, lines[300:]...)
	p.await("history", func() error {
		s, err := p.samples("far.v", from, from.Add(time.Minute))
		if err != nil {
			return err
		}
		return wantCount(s, n)
	})
	p.await("alarm", func() error { return wantCount(p.told("far.v", wire.EventStepOpened), 1) })
	if at := p.told("far.v", wire.EventStepOpened)[0].StartedAt; at.UnixMilli() != from.UnixMilli()+n/2 {
		t.Errorf("alarm began %s, want %s", at, from.Add(n/2*time.Millisecond))
	}
}

// online is nil while the API shows the device online.
func (p *program) online(id string) error {
	var status struct {
		Devices []struct {
			Device string `json:"device"`
			Online bool   `json:"online"`
		} `json:"devices"`
	}
	if err := p.Do(p.t.Context(), "GET", "/status", nil, &status); err != nil {
		return err
	}
	for _, d := range status.Devices {
		if d.Device == id && d.Online {
			return nil
		}
	}
	return fmt.Errorf("%s is not online: %+v", id, status.Devices)
}

func TestMosquittoPubToTheEmbeddedBroker(t *testing.T) {
	p := startProgram(t, "")
	p.outlet("near", thing{"id": "near", "driver": "broker", "password": "near-password-1"}, []string{"v"}, 100,
		func(string) thing { return thing{} })
	credentials := []string{"-i", "near", "-u", "near", "-P", "near-password-1"}
	p.await("sign-in", func() error {
		return exec.CommandContext(t.Context(), "mosquitto_pub", append(credentials, "-h", "127.0.0.1", "-p", p.Broker[len("127.0.0.1:"):],
			"-q", "1", "-t", "offsite/near/v", "-m", "42")...).Run()
	})
	mosquittoPub(t, p.Broker, "offsite/near/v", credentials, "50", "150", "50")
	p.await("history", func() error {
		s, err := p.samples("near.v", time.Now().Add(-time.Minute), time.Now().Add(time.Minute))
		if err != nil {
			return err
		}
		return wantCount(s, 4)
	})
	p.await("alarm closed", func() error { return wantCount(p.told("near.v", wire.EventStepClosed), 1) })
	if err := exec.CommandContext(t.Context(), "mosquitto_pub", "-h", "127.0.0.1", "-p", p.Broker[len("127.0.0.1:"):], "-i", "near",
		"-u", "near", "-P", "wrong", "-t", "offsite/near/v", "-m", "1").Run(); err == nil {
		t.Error("a wrong password was let in")
	}
}

// airFiles are real hourly readings of three stations in Beijing, 2016.
var airFiles = []string{"prsa_dongsi_2016.csv", "prsa_shunyi_2016.csv", "prsa_wanliu_2016.csv"}

func TestRealAirMakesAsManyAlarmsAsItHasRuns(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "air")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("real air readings are not at %s", dir)
	}
	const limit = 150.0
	p := startProgram(t, "history:\n  retention: 0s\n")
	p.outlet("air", thing{"id": "air", "driver": "broker", "password": "air-password-1"}, []string{"s0", "s1", "s2"}, limit,
		func(pt string) thing {
			return thing{"topic": thing{"topic": "offsite/air/" + pt, "path": "v", "time_path": "t"}}
		})
	client := connectPaho(t, p.Broker, "air", "air-password-1")
	for i, file := range airFiles {
		rows := readAir(t, filepath.Join(dir, file))
		point := "air.s" + strconv.Itoa(i)
		runs, over := 0, false
		var last mqtt.Token
		for _, r := range rows {
			if r.pm25 > limit && !over {
				runs++
			}
			over = r.pm25 > limit
			last = client.Publish("offsite/air/s"+strconv.Itoa(i), 1, false, fmt.Sprintf(`{"t":%d,"v":%g}`, r.at.UnixMilli(), r.pm25))
		}
		if !last.WaitTimeout(30*time.Second) || last.Error() != nil {
			t.Fatalf("publish: %v", last.Error())
		}
		p.await(file+": alarms", func() error { return wantCount(p.told(point, wire.EventStepOpened), runs) })
		p.await(file+": history", func() error { return p.historyHolds(point, rows) })
		t.Logf("%s: %d rows, %d runs over %g", file, len(rows), runs, limit)
	}
}

func connectPaho(t *testing.T, addr, id, password string) mqtt.Client {
	t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID(id).SetUsername(id).SetPassword(password).
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond))
	if tok := client.Connect(); !tok.WaitTimeout(20*time.Second) || tok.Error() != nil {
		t.Fatalf("connect %s: %v", id, tok.Error())
	}
	t.Cleanup(func() { client.Disconnect(100) })
	return client
}

type airRow struct {
	at   time.Time
	pm25 float64
}

// readAir reads the PM2.5 column; rows with NA are left out.
func readAir(t *testing.T, path string) []airRow {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	beijing := time.FixedZone("", 8*3600)
	var rows []airRow
	for _, l := range lines[1:] {
		v, err := strconv.ParseFloat(l[5], 64)
		if err != nil {
			continue
		}
		at, err := time.ParseInLocation("2006-1-2 15", l[1]+"-"+l[2]+"-"+l[3]+" "+l[4], beijing)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, airRow{at, v})
	}
	return rows
}

// historyHolds compares the first samples of a point with the file.
func (p *program) historyHolds(point string, rows []airRow) error {
	got, err := p.samples(point, rows[0].at, rows[len(rows)-1].at.Add(time.Hour))
	if err != nil {
		return err
	}
	if len(got) != len(rows) {
		return fmt.Errorf("%d samples, want %d", len(got), len(rows))
	}
	for i, g := range got {
		if !g.At.Equal(rows[i].at) || g.Value != rows[i].pm25 {
			return fmt.Errorf("sample %d is %+v, want %+v", i, g, rows[i])
		}
	}
	return nil
}
