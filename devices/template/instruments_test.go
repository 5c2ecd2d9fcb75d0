package template_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/wire"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
	"offsite/devices/mqtt/sparkplug"
	"offsite/devices/registry"
	"offsite/devices/state"
	"offsite/devices/template"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// desk is a Sink that tells when it has one good reading of each of its points.
type desk struct {
	mu     sync.Mutex
	values map[string]float64
	faults []string
	want   int
	done   chan struct{}
	up     chan struct{} // the device said that it works
	once   sync.Once
}

func newDesk(want int) *desk {
	return &desk{values: map[string]float64{}, want: want, done: make(chan struct{}), up: make(chan struct{})}
}

func (d *desk) Accept(x devices.Delivery, done func(error)) {
	d.mu.Lock()
	had := len(d.values)
	for _, r := range x.Readings {
		if r.Quality == devices.Good {
			d.values[r.Point] = r.Value
		} else {
			d.faults = append(d.faults, fmt.Sprintf("%s = %g %s", r.Point, r.Value, r.Quality))
		}
	}
	if x.Letter != nil {
		d.faults = append(d.faults, x.Letter.Problem.Error())
	}
	if had < d.want && len(d.values) == d.want {
		close(d.done)
	}
	d.mu.Unlock()
	done(nil)
}

func (d *desk) Report(r devices.Report) {
	if r.Problem == nil {
		d.once.Do(func() { close(d.up) })
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, r.Problem.Error())
}

// yard is a registry with one site and outlet for each kind.
func yard(t *testing.T) *registry.Registry {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	r, err := registry.Open(t.Context(), db)
	must(t, err)
	must(t, r.Update(t.Context(), func(e *registry.Edit) error {
		return e.Create(&devices.Site{ID: "yard", Name: "厂区", SiteKind: "plant"})
	}))
	return r
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEveryTemplateReadsItsInstrument renders each template with its defaults
// and examples, registers what it gives, opens the driver and reads every point
// from an instrument that the test makes of the template's own addresses.
func TestEveryTemplateReadsItsInstrument(t *testing.T) {
	c, err := template.Open(template.Config{})
	must(t, err)
	for _, tpl := range c.List() {
		t.Run(tpl.ID, func(t *testing.T) {
			t.Parallel()
			for _, language := range []string{"zh", "en"} {
				if _, err := tpl.Render(request(tpl, language, nil)); err != nil {
					t.Fatalf("%s: %v", language, err)
				}
			}
			switch tpl.Driver {
			case devices.DriverModbus:
				readModbus(t, tpl)
			case devices.DriverMQTT:
				readMQTT(t, tpl)
			case devices.DriverBroker:
				readBroker(t, tpl)
			case devices.DriverHJ212:
				readHJ212(t, tpl)
			default:
				t.Fatalf("no instrument for driver %s", tpl.Driver)
			}
		})
	}
}

// request fills in a template with its examples and what else is given, and
// takes over every limit that can be judged.
func request(tpl *template.Template, language string, more map[string]any) template.Request {
	r := template.Request{Site: "yard", Outlet: "out", Device: "dev-1", Language: language, Parameters: map[string]any{}}
	for _, p := range tpl.Parameters {
		if p.Default == nil && !p.Optional {
			r.Parameters[p.Name] = p.Example
		}
	}
	for name, v := range more {
		r.Parameters[name] = v
	}
	for _, l := range tpl.Limits {
		if l.Judged() {
			r.Limits = append(r.Limits, l.ID)
		}
	}
	return r
}

// register gives the device and its bindings as the registry has them.
func register(t *testing.T, tpl *template.Template, more map[string]any) (devices.Device, []devices.Bound) {
	t.Helper()
	things, err := tpl.Render(request(tpl, "zh", more))
	must(t, err)
	r := yard(t)
	must(t, r.Update(t.Context(), func(e *registry.Edit) error {
		if err := e.Create(&devices.Outlet{ID: "out", Site: "yard", Name: "点位", OutletKind: tpl.OutletKind}); err != nil {
			return err
		}
		for _, thing := range things {
			if err := e.Create(thing); err != nil {
				return fmt.Errorf("%s: %w", thing.Kind(), err)
			}
		}
		return nil
	}))
	s := r.Snapshot()
	return *s.Devices["dev-1"], s.Bound("dev-1", time.Now().Add(time.Second))
}

// raw is what the instrument holds for the i-th point: whole, and inside the
// point's range once it is scaled.
func raw(b devices.Bound, i int) float64 {
	scale := b.Binding.Scale
	if scale == 0 {
		scale = 1
	}
	low, high := 0.0, 100*math.Abs(scale)
	if b.Point.Min != nil {
		low = *b.Point.Min
	}
	if b.Point.Max != nil {
		high = *b.Point.Max
	}
	share := (float64(i%5) + 2) / 8
	return math.Round((low + (high-low)*share - b.Binding.Offset) / scale)
}

func scaled(b devices.Bound, v float64) float64 {
	if b.Binding.Scale != 0 {
		v *= b.Binding.Scale
	}
	return v + b.Binding.Offset
}

// check runs the driver until it has read everything, and compares.
func check(t *testing.T, d devices.Driver, s *desk, want map[string]float64, play func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx, s) }()
	defer func() { stop(); <-ended }()
	if play != nil {
		select {
		case <-s.up:
			play()
		case <-time.After(10 * time.Second):
		}
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
	}
	s.compare(t, want)
}

func (d *desk) compare(t *testing.T, want map[string]float64) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for point, v := range want {
		if got, ok := d.values[point]; !ok || math.Abs(got-v) > 1e-6*(1+math.Abs(v)) {
			t.Errorf("%s = %g (%v), want %g; faults %q", point, got, ok, v, d.faults)
		}
	}
}

var tables = map[string]modbustest.Table{"coil": modbustest.Coil, "discrete": modbustest.Discrete, "holding": modbustest.Holding, "input": modbustest.Input}

func readModbus(t *testing.T, tpl *template.Template) {
	slave, err := modbustest.Listen(t.Context(), modbustest.Config{})
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- slave.Run(ctx) }()
	defer func() { stop(); <-ended }()
	dev, bounds := register(t, tpl, map[string]any{"address": slave.Endpoint(), "unit": 7, "period": "100ms"})
	if dev.Endpoint != slave.Endpoint() || dev.Modbus.Unit != 7 || dev.Modbus.Serial != nil {
		t.Errorf("device %+v %+v", dev, dev.Modbus)
	}
	want := map[string]float64{}
	unit := slave.Unit(7)
	for i, b := range bounds {
		v, r := raw(b, i), b.Binding.Register
		order := r.Order
		if order == "" {
			order = "ABCD"
		}
		unit.Set(tables[r.Table], r.Address, words(t, r.Type, order, v)...)
		want[b.Point.ID] = scaled(b, v)
	}
	pool := modbus.New(modbus.Config{})
	d, err := pool.Open(dev, bounds)
	must(t, err)
	check(t, d, newDesk(len(bounds)), want, nil)
	steps, err := pool.Probe(t.Context(), dev, bounds)
	must(t, err)
	seen := 0
	for _, s := range steps {
		seen += len(s.Values)
		if !s.OK && !s.Skipped {
			t.Errorf("probe: %s: %s", s.Name, s.EN)
		}
		for _, v := range s.Values {
			if v.Value == nil || math.Abs(*v.Value-want[v.Point]) > 1e-6*(1+math.Abs(want[v.Point])) {
				t.Errorf("probe: %+v, want %g", v, want[v.Point])
			}
		}
	}
	if seen != min(len(bounds), 200) {
		t.Errorf("probe: %d values of %d points", seen, len(bounds))
	}
}

func words(t *testing.T, kind, order string, v float64) []uint16 {
	t.Helper()
	switch kind {
	case "int16":
		return modbustest.Words(order, int16(v))
	case "uint16", "bit":
		return modbustest.Words(order, uint16(v))
	case "int32":
		return modbustest.Words(order, int32(v))
	case "uint32":
		return modbustest.Words(order, uint32(v))
	case "float32":
		return modbustest.Words(order, float32(v))
	case "float64":
		return modbustest.Words(order, v)
	}
	t.Fatalf("the test knows no %s", kind)
	return nil
}

// everybody lets all clients in.
type everybody struct{ mochi.HookBase }

func (*everybody) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*everybody) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*everybody) OnACLCheck(*mochi.Client, string, bool) bool { return true }

func readMQTT(t *testing.T, tpl *template.Template) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	server := mochi.New(&mochi.Options{InlineClient: true, Logger: slog.New(slog.DiscardHandler)})
	must(t, server.AddHook(new(everybody), nil))
	must(t, server.AddListener(listeners.NewNet("t", listener)))
	must(t, server.Serve())
	defer func() { must(t, server.Close()) }()
	host, port, err := net.SplitHostPort(listener.Addr().String())
	must(t, err)
	dev, bounds := register(t, tpl, map[string]any{"host": host, "port": port})
	d, err := mqtt.Open(dev, bounds, mqtt.Config{Formats: formats})
	must(t, err)
	want, messages := play(t, bounds)
	check(t, d, newDesk(len(bounds)), want, func() {
		for topic, payload := range messages {
			must(t, server.Publish(topic, payload, false, 1))
		}
	})
}

func readBroker(t *testing.T, tpl *template.Template) {
	b, err := broker.New(broker.Config{Address: "127.0.0.1:0", Formats: formats})
	must(t, err)
	dev, bounds := register(t, tpl, map[string]any{"password": "canary-word"})
	if dev.Password.Reveal() != "canary-word" {
		t.Error("the password was not taken")
	}
	must(t, b.Update([]broker.Client{{Device: dev, Bounds: bounds}}))
	s := newDesk(len(bounds))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, s) }()
	defer func() { stop(); <-ended }()
	<-b.Ready()
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + b.Addr().String()).SetClientID("x").SetUsername("dev-1").SetPassword("canary-word"))
	token := client.Connect()
	token.Wait()
	must(t, token.Error())
	defer client.Disconnect(0)
	want, messages := play(t, bounds)
	for topic, payload := range messages {
		token := client.Publish(topic, 1, false, payload)
		token.Wait()
		must(t, token.Error())
	}
	s.compare(t, want)
}

func readHJ212(t *testing.T, tpl *template.Template) {
	h, err := hj212.New(hj212.Config{Address: "127.0.0.1:0"})
	must(t, err)
	const mn = "OFFSITETEST0000000000001"
	dev, bounds := register(t, tpl, map[string]any{"mn": mn, "password": "123456"})
	must(t, h.Update([]hj212.Client{{Device: dev, Bounds: bounds}}))
	s := newDesk(len(bounds))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx, s) }()
	defer func() { stop(); <-ended }()
	<-h.Ready()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", h.Addr().String())
	must(t, err)
	defer conn.Close()
	want := map[string]float64{}
	factors := map[string]map[string][]string{"2011": {}, "2061": {}}
	for i, b := range bounds {
		v := raw(b, i)
		want[b.Point.ID] = scaled(b, v)
		place := b.Binding.Factor.Full()
		command := map[string]string{devices.KindRealtime: "2011", devices.KindHour: "2061"}[place.Kind]
		factors[command][place.Code] = append(factors[command][place.Code], fmt.Sprintf("%s-%s=%g", place.Code, place.Field, v))
	}
	now := time.Now().In(time.FixedZone("", 8*60*60))
	for command, codes := range factors {
		data := "DataTime=" + now.Truncate(time.Hour).Format("20060102150405")
		for code, values := range codes {
			data += ";" + strings.Join(values, ",") + "," + code + "-Flag=N"
		}
		if len(codes) == 0 {
			continue
		}
		segment := []byte("QN=" + now.Format("20060102150405") + "000;ST=" + dev.HJ212.ST[0] + ";CN=" + command + ";PW=123456;MN=" + mn + ";Flag=4;CP=&&" + data + "&&")
		_, err := conn.Write(wire.AppendFrame(nil, segment, wire.CRC(segment)))
		must(t, err)
	}
	select {
	case <-s.done:
	case <-time.After(time.Minute):
	}
	s.compare(t, want)
}

// formats are those of the program.
var formats = payload.Formats{devices.FormatSenML: senml.New, devices.FormatSparkplug: sparkplug.New}

// play makes one message for each topic out of the paths of its points.
func play(t *testing.T, bounds []devices.Bound) (want map[string]float64, messages map[string][]byte) {
	t.Helper()
	want = map[string]float64{}
	documents, records := map[string]map[string]any{}, map[string][]any{}
	births := map[string][]byte{}
	for i, b := range bounds {
		place := b.Binding.Topic
		topic := "offsite/dev-1"
		if place.Topic != "" {
			topic = place.Topic
		}
		v := raw(b, i)
		want[b.Point.ID] = scaled(b, v)
		switch place.Format {
		case devices.FormatSenML:
			records[topic] = append(records[topic], map[string]any{"n": place.Path, "u": b.Point.Unit, "v": v})
		case devices.FormatSparkplug:
			topic = strings.Replace(topic, "+", "NBIRTH", 1)
			births[topic] = append(births[topic], metric(place.Path, v)...)
		default:
			if documents[topic] == nil {
				documents[topic] = map[string]any{}
			}
			put(documents[topic], place.Path, v)
			if place.TimePath != "" {
				put(documents[topic], place.TimePath, time.Now().UnixMilli())
			}
		}
	}
	messages = births
	var err error
	for topic, d := range documents {
		messages[topic], err = json.Marshal(d)
		must(t, err)
	}
	for topic, d := range records {
		messages[topic], err = json.Marshal(d)
		must(t, err)
	}
	for topic, d := range births {
		if strings.Contains(topic, "/NBIRTH/") {
			messages[topic] = append(metric("bdSeq", 0), append(d, 0x18, 0)...) // sequence 0
		}
	}
	return want, messages
}

// metric is one of a Sparkplug payload, of type Double (Sparkplug 3.0, 6.4).
func metric(name string, v float64) []byte {
	m := append([]byte{0x0a, byte(len(name))}, name...)
	m = append(m, 0x20, 10, 0x69)
	m = binary.LittleEndian.AppendUint64(m, math.Float64bits(v))
	return append([]byte{0x12, byte(len(m))}, m...)
}

func put(into map[string]any, path string, v any) {
	name, rest, deep := strings.Cut(path, ".")
	if !deep {
		into[name] = v
		return
	}
	if into[name] == nil {
		into[name] = map[string]any{}
	}
	put(into[name].(map[string]any), rest, v)
}
