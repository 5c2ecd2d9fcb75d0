package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge"
	"offsite/edge/history"
	"offsite/edge/ledger"
	"offsite/timeseries/influx/influxtest"
)

const influxDevice = "influx-sensor"

// influxBox is a site whose history is a real InfluxDB and whose one device
// publishes to the embedded broker.
type influxBox struct {
	t      *testing.T
	box    *edge.Box
	client paho.Client
	points []string
	acked  sync.WaitGroup
}

func startInfluxBox(t *testing.T, url string, points ...string) *influxBox {
	t.Helper()
	cfg := edge.Defaults()
	cfg.State, cfg.Broker.Listen = t.TempDir(), "127.0.0.1:0"
	cfg.History.Store = "influx"
	cfg.History.Retention = 0 // the test's times are its own
	cfg.History.Influx = history.Influx{URL: url, Database: "offsite"}
	cfg.Video.FFmpeg = "none"
	box, err := edge.Open(t.Context(), cfg, edge.Parts{Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- box.Run(ctx) }()
	b := &influxBox{t: t, box: box, points: points}
	t.Cleanup(func() {
		if b.client != nil {
			b.client.Disconnect(100)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the site ended with %v", err)
		}
		if err := box.Close(); err != nil {
			t.Error(err)
		}
	})
	b.register()
	b.connect()
	return b
}

func (b *influxBox) register() {
	b.t.Helper()
	err := b.box.Registry.Update(b.t.Context(), func(e *registry.Edit) error {
		things := []devices.Thing{
			&devices.Site{ID: "yard", Name: "工地", SiteKind: "construction"},
			&devices.Outlet{ID: "gate", Site: "yard", Name: "大门", OutletKind: "dust"},
			&devices.Device{ID: influxDevice, Site: "yard", Name: "扬尘仪", Driver: devices.DriverBroker, Password: "sensor password"},
		}
		for _, p := range b.points {
			things = append(things,
				&devices.Point{ID: "gate." + p, Name: p, Factor: "a34004", Unit: "ug/m3"},
				&devices.Binding{ID: "bind-" + p, Point: "gate." + p, Device: influxDevice, Topic: &devices.Topic{}})
		}
		for _, thing := range things {
			if err := e.Create(thing); err != nil {
				return fmt.Errorf("create %s: %w", thing.Key(), err)
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// connect signs the device in; that may take as long as the registry's change
// needs to reach the broker.
func (b *influxBox) connect() {
	b.t.Helper()
	select {
	case <-b.box.Broker.Ready():
	case <-time.After(20 * time.Second):
		b.t.Fatal("the broker does not listen")
	}
	options := paho.NewClientOptions().AddBroker("tcp://" + b.box.Broker.Addr().String()).
		SetClientID(influxDevice).SetUsername(influxDevice).SetPassword("sensor password").
		SetConnectRetry(true).SetConnectRetryInterval(100 * time.Millisecond)
	b.client = paho.NewClient(options)
	if token := b.client.Connect(); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		b.t.Fatalf("sign in: %v", token.Error())
	}
}

// publish sends a reading and counts its acknowledgement.
func (b *influxBox) publish(point string, at time.Time, value float64) {
	token := b.client.Publish("offsite/"+influxDevice+"/"+point, 1, false, fmt.Sprintf(`{"value":%g,"time":%d}`, value, at.UnixMilli()))
	b.acked.Go(func() {
		if !token.WaitTimeout(30*time.Second) || token.Error() != nil {
			b.t.Errorf("reading of %s at %s was not acknowledged: %v", point, at, token.Error())
		}
	})
}

// influxAwait asks until ok, for as long as a minute.
func influxAwait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("still waiting for %s", what)
		}
	}
}

func influxCount(t *testing.T, server *influxtest.Server, where string) int {
	t.Helper()
	rows, err := server.Query("offsite", "SELECT count(v) FROM reading WHERE "+where)
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) == 0 {
		return 0
	}
	return int(rows[0][1].(float64))
}

// TestInfluxAwayAndBack stops InfluxDB under load. Afterwards every reading
// that was acknowledged is there by the server's own query interface, once,
// with its value and time.
func TestInfluxAwayAndBack(t *testing.T) {
	t.Parallel()
	server := influxtest.Start(t, "offsite")
	b := startInfluxBox(t, server.URL, "pm10", "pm25")
	start := time.Now().Add(-time.Hour).Truncate(time.Second)
	const third = 600
	n := 0
	publish := func(pace time.Duration) {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for range third {
			<-tick.C
			at := start.Add(time.Duration(n) * time.Second)
			b.publish("pm10", at, float64(n)/4)
			b.publish("pm25", at, -float64(n))
			n++
		}
	}
	publish(time.Millisecond)
	influxAwait(t, "the first readings in InfluxDB", func() bool { return influxCount(t, server, "point = 'pm10'") > 0 })
	server.Stop()
	publish(5 * time.Millisecond) // three seconds without InfluxDB
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(time.Millisecond)
	b.acked.Wait()

	influxAwait(t, "the last reading", func() bool {
		return influxCount(t, server, "point = 'pm25'") >= n && influxCount(t, server, "point = 'pm10'") >= n
	})
	rows, err := server.Query("offsite", "SELECT v, q FROM reading WHERE site = 'yard' AND outlet = 'gate' AND point = 'pm10'")
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != n {
		t.Fatalf("%d readings, want %d: nothing missing, nothing doubled", len(rows), n)
	}
	for i, row := range rows {
		at := start.Add(time.Duration(i) * time.Second).UnixMilli()
		if int64(row[0].(float64)) != at || row[1] != float64(i)/4 || row[2] != float64(0) {
			t.Fatalf("row %d is %v, want %d %v 0", i, row, at, float64(i)/4)
		}
	}
	if got := influxCount(t, server, "q >= 0"); got != 2*n {
		t.Errorf("%d readings in all, want %d", got, 2*n)
	}
}

// TestInfluxRefusesOneLine lets InfluxDB refuse a reading for the type of its
// field. It becomes a loss that people can see; its neighbours are stored.
func TestInfluxRefusesOneLine(t *testing.T) {
	t.Parallel()
	server := influxtest.Start(t, "offsite")
	// Field types are those of a shard, which spans a week: this one is poisoned.
	old := time.Now().Add(-60 * 24 * time.Hour).Truncate(time.Second)
	line := fmt.Sprintf("reading,site=yard,outlet=gate,point=pm10 v=1i,q=0i %d", old.UnixMilli())
	if err := server.Write("offsite", line); err != nil {
		t.Fatal(err)
	}
	b := startInfluxBox(t, server.URL, "pm10", "pm25")
	now := time.Now().Add(-time.Minute).Truncate(time.Second)
	for i := range 20 {
		b.publish("pm25", now.Add(time.Duration(i)*time.Second), float64(i))
		if i == 10 {
			b.publish("pm10", old.Add(time.Second), 99)
		}
	}
	b.acked.Wait()
	influxAwait(t, "the neighbours in InfluxDB", func() bool { return influxCount(t, server, "point = 'pm25'") == 20 })
	influxAwait(t, "the loss", func() bool {
		losses, err := b.box.Ledger.Losses(t.Context(), ledger.Filter{Max: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range losses {
			if l.Kind == ledger.LossRefused && l.Subject == "point/gate.pm10" && l.Count == 1 && l.Why.Code == "line_refused" {
				return true
			}
		}
		return false
	})
	if got := influxCount(t, server, "point = 'pm10'"); got != 1 {
		t.Errorf("%d readings of pm10, want only the one that stood there", got)
	}
}
