package hj212_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// disk is a sink that keeps what it is given and says so at once, or when told.
type disk struct {
	mu      sync.Mutex
	got     []devices.Delivery
	reports []devices.Report
	held    []func(error)
	hold    bool
	err     error
	changed chan struct{} // closed and made anew at each change
}

func newDisk() *disk { return &disk{changed: make(chan struct{})} }

func (d *disk) Accept(v devices.Delivery, done func(error)) {
	d.mu.Lock()
	if d.err == nil && (len(v.Readings) > 0 || v.Letter != nil) {
		d.got = append(d.got, v)
	}
	err, hold := d.err, d.hold
	if hold {
		d.held = append(d.held, done)
	}
	d.tell()
	d.mu.Unlock()
	if !hold {
		done(err)
	}
}

func (d *disk) Report(r devices.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
	d.tell()
}

func (d *disk) deliveries() []devices.Delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.got)
}

func (d *disk) told() []devices.Report {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.reports)
}

func (d *disk) tell() {
	close(d.changed)
	d.changed = make(chan struct{})
}

// release lets n of the held deliveries be on disk, or fail.
func (d *disk) release(n int, err error) {
	d.mu.Lock()
	due := d.held[:n]
	d.held = d.held[n:]
	d.mu.Unlock()
	for _, done := range due {
		done(err)
	}
}

// await waits until ready, which is called with d.mu held, says yes.
func (d *disk) await(t *testing.T, what string, ready func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	for {
		d.mu.Lock()
		ok, changed := ready(), d.changed
		d.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("waited in vain for %s: %d deliveries, reports %v", what, len(d.got), d.reports)
		}
	}
}

const pw = "123456"

// plant is a registered logger with points at the given places, "w01018 hour Avg".
func plant(id, mn string, places ...string) hj212.Client {
	c := hj212.Client{Device: devices.Device{ID: id, Driver: devices.DriverHJ212, Password: pw, HJ212: &devices.HJ212Settings{MN: mn}}}
	for _, text := range places {
		var f devices.FactorPlace
		_, _ = fmt.Sscan(text, &f.Code, &f.Kind, &f.Field)
		name := strings.ToLower(strings.ReplaceAll(text, " ", "-"))
		c.Bounds = append(c.Bounds, devices.Bound{
			Site: "plant", Point: devices.Point{ID: "out." + name}, Binding: devices.Binding{ID: id + "-" + name, Point: "out." + name, Device: id, Factor: &f},
		})
	}
	return c
}

// host runs a host for the clients until the test ends.
func host(t *testing.T, sink devices.Sink, cfg hj212.Config, clients ...hj212.Client) *hj212.Host {
	t.Helper()
	cfg.Address = "127.0.0.1:0"
	h, err := hj212.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Update(clients); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Run(ctx, sink); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	<-h.Ready()
	return h
}

// line is a connection to the host by hand.
type line struct {
	t       *testing.T
	conn    net.Conn
	decoder wire.Decoder
}

func dial(t *testing.T, h *hj212.Host) *line {
	t.Helper()
	conn, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return &line{t: t, conn: conn}
}

func (l *line) send(text string) {
	l.t.Helper()
	if _, err := l.conn.Write([]byte(text)); err != nil {
		l.t.Fatal(err)
	}
}

// hear gives the next packet from the host, nil at the end of the connection.
func (l *line) hear() *wire.Packet {
	l.t.Helper()
	buf := make([]byte, 1024)
	for {
		f, ok := l.decoder.Next()
		if ok {
			if f.Refused != nil {
				l.t.Fatalf("the host sent %q: %v", f.Raw, f.Refused)
			}
			return f.Packet
		}
		n, err := l.conn.Read(buf)
		if n == 0 && err != nil {
			return nil
		}
		_, _ = l.decoder.Write(buf[:n])
	}
}

// heard gives CN, QN and content of the next packet.
func (l *line) heard() string {
	l.t.Helper()
	p := l.hear()
	if p == nil {
		return "closed"
	}
	return strings.TrimSpace(p.CN + " " + p.QN + " " + p.Value("QnRtn"))
}

// frame gives a frame; head stands between QN and CP.
func frame(qn, head, area string) string {
	segment := "QN=" + qn + ";" + head + ";CP=&&" + area + "&&"
	return string(wire.AppendFrame(nil, []byte(segment), wire.CRC([]byte(segment))))
}

const header = "ST=32;CN=2011;PW=123456;MN=M1;Flag=5"

func realtime(qn, value string) string {
	return frame(qn, header, "DataTime="+qn[:14]+";w01018-Rtd="+value+",w01018-Flag=N")
}

func beijing(y int, m time.Month, d, hh, mm, ss int) time.Time {
	return time.Date(y, m, d, hh, mm, ss, 0, time.FixedZone("", 8*3600)).UTC()
}

func TestWhatPacketsBring(t *testing.T) {
	at := beijing(2024, 1, 2, 3, 0, 0)
	read := func(point string, v float64, mark string, q devices.Quality, when time.Time) devices.Reading {
		return devices.Reading{Site: "plant", Point: "out." + point, Value: v, At: when, Mark: mark, Quality: q}
	}
	tests := []struct {
		name, head, area string
		bound            []string
		want             []devices.Reading
		letter           string // code of the dead letter
	}{
		{"real time", "ST=32;CN=2011", "w01018-Rtd=12.5,w01018-Flag=N", []string{"w01018"}, []devices.Reading{read("w01018", 12.5, "N", 0, at)}, ""},
		{"hour, every field", "ST=32;CN=2061", "w01018-Min=1,w01018-Avg=2,w01018-Max=3,w01018-Cou=4,w01018-ZsAvg=5,w01018-Flag=N", []string{"w01018 hour Avg", "w01018 hour Cou", "w01018 hour ZsAvg", "w01018"}, []devices.Reading{
			read("w01018-hour-avg", 2, "N", 0, at), read("w01018-hour-cou", 4, "N", 0, at), read("w01018-hour-zsavg", 5, "N", 0, at),
		}, ""},
		{"minute", "ST=31;CN=2051", "a21026-Avg=2,a21026-Flag=T", []string{"a21026 minute"}, []devices.Reading{read("a21026-minute", 2, "T", devices.UncertainOver, at)}, ""},
		{"day", "ST=31;CN=2031", "a21026-Avg=2", []string{"a21026 day"}, []devices.Reading{read("a21026-day", 2, "", 0, at)}, ""},
		{"codes of 2005", "ST=32;CN=2011", "011-Rtd=18,011-Flag=D;B01-Rtd=10", []string{"w01018", "w00000"}, []devices.Reading{read("w01018", 18, "D", devices.BadFault, at), read("w00000", 10, "", 0, at)}, ""},
		{"bound by the code of 2005", "ST=32;CN=2011", "w01018-Rtd=18", []string{"011"}, []devices.Reading{read("011", 18, "", 0, at)}, ""},
		{"sample time", "ST=32;CN=2011", "w01018-SampleTime=20240102021500,w01018-Rtd=1", []string{"w01018"}, []devices.Reading{read("w01018", 1, "", 0, beijing(2024, 1, 2, 2, 15, 0))}, ""},
		{"sample time of another day is not believed", "ST=32;CN=2011", "w01018-SampleTime=20230102021500,w01018-Rtd=1", []string{"w01018"}, []devices.Reading{read("w01018", 1, "", 0, at)}, ""},
		{"unknown mark", "ST=32;CN=2011", "w01018-Rtd=1,w01018-Flag=x", []string{"w01018"}, []devices.Reading{read("w01018", 1, "X", 0, at)}, ""},
		{"stopped", "ST=32;CN=2011", "w01018-Rtd=1,w01018-Flag=F", []string{"w01018"}, []devices.Reading{read("w01018", 1, "F", devices.BadStopped, at)}, ""},
		{"maintenance", "ST=32;CN=2011", "w01018-Rtd=1,w01018-Flag=M", []string{"w01018"}, []devices.Reading{read("w01018", 1, "M", devices.BadMaintenance, at)}, ""},
		{"calibration", "ST=32;CN=2011", "w01018-Rtd=1,w01018-Flag=C", []string{"w01018"}, []devices.Reading{read("w01018", 1, "C", devices.BadCalibration, at)}, ""},
		{"running time of equipment", "ST=32;CN=2041", "SB1-RT=23.5", []string{"SB1 day RT"}, []devices.Reading{read("sb1-day-rt", 23.5, "", 0, at)}, ""},
		{"one bad number beside a good one", "ST=32;CN=2011", "w01018-Rtd=abc;w01001-Rtd=7", []string{"w01018", "w01001"}, []devices.Reading{read("w01001", 7, "", 0, at)}, "bad_number"},
		{"infinite", "ST=32;CN=2011", "w01018-Rtd=Inf", []string{"w01018"}, nil, "bad_number"},
		{"no value, and the mark says why", "ST=32;CN=2011", "w01018-Rtd=,w01018-Flag=B;w01001-Rtd=7", []string{"w01018", "w01001"}, []devices.Reading{read("w01001", 7, "", 0, at)}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			h := host(t, d, hj212.Config{}, plant("logger", "M1", tt.bound...))
			l := dial(t, h)
			l.send(frame("20240102030405006", tt.head+";PW=123456;MN=M1;Flag=5", "DataTime=20240102030000;"+tt.area))
			if got := l.heard(); got != "9014 20240102030405006" {
				t.Errorf("heard %s", got)
			}
			var got []devices.Reading
			letter := ""
			for _, v := range d.deliveries() {
				got = append(got, v.Readings...)
				if v.Letter != nil {
					letter = v.Letter.Problem.Code
					if strings.Contains(string(v.Letter.Payload), pw) {
						t.Errorf("the dead letter tells the password: %s", v.Letter.Payload)
					}
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || letter != tt.letter {
				t.Error(diff, letter)
			}
		})
	}
}

func TestAnswersWaitForTheDiskAndKeepTheirOrder(t *testing.T) {
	d := newDisk()
	d.hold = true
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1") + frame("20240102030405002", "ST=91;CN=9015;PW=123456;MN=M1;Flag=9", "") + realtime("20240102030405003", "3"))
	d.await(t, "both data packets", func() bool { return len(d.held) == 2 })
	d.release(1, nil)
	for _, want := range []string{"9014 20240102030405001", "9013 20240102030405002"} {
		if got := l.heard(); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	d.release(1, nil)
	if got := l.heard(); got != "9014 20240102030405003" {
		t.Errorf("heard %s", got)
	}
}

func TestNothingIsAnsweredThatIsNotOnDisk(t *testing.T) {
	d := newDisk()
	d.hold = true
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1"))
	d.await(t, "the packet", func() bool { return len(d.held) == 1 })
	d.release(1, errors.New("disk full"))
	if got := l.heard(); got != "closed" {
		t.Errorf("heard %s", got)
	}
	d.mu.Lock()
	d.hold = false
	d.mu.Unlock()
	again := dial(t, h)
	again.send(realtime("20240102030405001", "1"))
	if got := again.heard(); got != "9014 20240102030405001" {
		t.Errorf("heard %s when it was sent again", got)
	}
	d.await(t, "two deliveries", func() bool { return len(d.got) == 2 }) // the log keeps them apart by Origin.Resent
	if !d.got[1].Origin.Resent || d.got[0].Origin.ID != d.got[1].Origin.ID {
		t.Errorf("origins %+v and %+v", d.got[0].Origin, d.got[1].Origin)
	}
}

func TestReplaysTakeNoSecondEffectAndAreTold(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	for range 3 {
		l.send(realtime("20240102030405001", "1"))
		if got := l.heard(); got != "9014 20240102030405001" {
			t.Fatalf("heard %s", got)
		}
	}
	l.send(realtime("20240102030405001", "2")) // the same QN with other content is a correction
	_ = l.heard()
	if len(d.got) != 2 || h.Counts().Repeated != 2 {
		t.Errorf("%d deliveries, counts %+v", len(d.got), h.Counts())
	}
	if notes := h.Notes(); len(notes) != 1 || notes[0].Problem.Code != "replayed" || notes[0].Count != 2 {
		t.Errorf("notes %+v", notes)
	}
}

func TestSplitPacketsAreEachAnswered(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w00000 hour Cou", "w01018 hour"))
	l := dial(t, h)
	part := func(qn, no, area string) string {
		return frame(qn, "ST=32;CN=2061;PW=123456;MN=M1;Flag=7;PNUM=2;PNO="+no, area)
	}
	l.send(part("20160801085857534", "1", "DataTime=20160801080000;w00000-Cou=63.0,w00000-Flag=N") + part("20160801085857535", "2", "w01018-Avg=40.1,w01018-Flag=N"))
	for _, want := range []string{"9014 20160801085857534", "9014 20160801085857535"} {
		if got := l.heard(); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	if len(d.got) != 2 || !d.got[1].Readings[0].At.Equal(beijing(2016, 8, 1, 8, 0, 0)) {
		t.Errorf("deliveries %+v", d.got)
	}
}

func TestStrangersAreRefusedAndTold(t *testing.T) {
	open := plant("open", "M3", "w01018")
	open.Device.Password = ""
	tests := []struct{ name, head, heard, note string }{
		{"unknown MN", "ST=32;CN=2011;PW=123456;MN=M9;Flag=5", "9011 20240102030405001 4", "unknown_mn"},
		{"wrong password", "ST=32;CN=2011;PW=654321;MN=M1;Flag=5", "9011 20240102030405001 3", "bad_password"},
		{"no password registered", "ST=32;CN=2011;PW=1;MN=M3;Flag=5", "9011 20240102030405001 3", "no_password"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newDisk()
			h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"), open)
			l := dial(t, h)
			l.send(frame("20240102030405001", tt.head, "DataTime=20240102030405;w01018-Rtd=1"))
			if got := l.heard(); got != tt.heard {
				t.Errorf("heard %s", got)
			}
			if got := l.heard(); got != "closed" {
				t.Errorf("then heard %s", got)
			}
			if notes := h.Notes(); len(d.got) > 0 || len(notes) != 1 || notes[0].Problem.Code != tt.note {
				t.Errorf("deliveries %v, notes %+v", d.got, notes)
			}
		})
	}
}

func TestAnotherConnectionsMNIsRefused(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("one", "M1", "w01018"), plant("two", "M2", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1"))
	_ = l.heard()
	l.send(frame("20240102030405002", strings.Replace(header, "M1", "M2", 1), "DataTime=20240102030405;w01018-Rtd=1"))
	if got := l.heard(); got != "9011 20240102030405002 4" {
		t.Errorf("heard %s", got)
	}
	l.send(realtime("20240102030406003", "3"))
	if got := l.heard(); got != "9014 20240102030406003" {
		t.Errorf("its own packet after that: heard %s", got)
	}
	if len(d.deliveries()) != 2 || h.Notes()[0].Problem.Code != "foreign_mn" {
		t.Errorf("%d deliveries, notes %+v", len(d.deliveries()), h.Notes())
	}
}

func TestModeIsThatOfTheDevice(t *testing.T) {
	tolerant := plant("two", "M2", "w01018")
	tolerant.Device.HJ212.Tolerant = true
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("one", "M1", "w01018"), tolerant)
	area := "DataTime=20240102030405;w01018-Rtd=1;" // ends with a semicolon
	strict, lax := dial(t, h), dial(t, h)
	strict.send(frame("20240102030405001", header, area))
	if got := strict.heard(); got != "9014 20240102030405001" { // a dead letter is answered, too
		t.Errorf("heard %s", got)
	}
	if len(d.deliveries()) != 1 || d.deliveries()[0].Letter == nil || d.deliveries()[0].Letter.Problem.Code != "trailing_semicolon" {
		t.Errorf("deliveries %+v", d.deliveries())
	}
	lax.send(strings.TrimSuffix(frame("20240102030405001", strings.Replace(header, "M1", "M2", 1), area), "\r\n"))
	if got := lax.heard(); got != "9014 20240102030405001" {
		t.Errorf("heard %s", got)
	}
	if len(d.deliveries()) != 2 || len(d.deliveries()[1].Readings) != 1 {
		t.Errorf("deliveries %+v", d.deliveries())
	}
}

func TestAModeThatIsChangedHoldsForOpenConnections(t *testing.T) {
	client := plant("one", "M1", "w01018")
	d := newDisk()
	h := host(t, d, hj212.Config{}, client)
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1"))
	_ = l.heard()
	tolerant := *client.Device.HJ212
	tolerant.Tolerant = true
	client.Device.HJ212 = &tolerant
	if err := h.Update([]hj212.Client{client}); err != nil {
		t.Fatal(err)
	}
	l.send(realtime("20240102030405002", "2")) // by the old rules, which it keeps to
	_ = l.heard()
	l.send(strings.TrimSuffix(realtime("20240102030405003", "3"), "\r\n"))
	if got := l.heard(); got != "9014 20240102030405003" {
		t.Errorf("heard %s", got)
	}
}

func TestAnyCutAndGarbage(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1"))
	_ = l.heard()
	stream := "noise" + realtime("20240102030405002", "2")[:50] + realtime("20240102030405003", "3") + realtime("20240102030405004", "4")
	for i := range stream {
		l.send(stream[i : i+1])
	}
	for _, want := range []string{"9014 20240102030405003", "9014 20240102030405004"} {
		if got := l.heard(); got != want {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	var codes []string
	for _, v := range d.deliveries() {
		if v.Letter != nil {
			codes = append(codes, v.Letter.Problem.Code)
		}
	}
	if diff := cmp.Diff([]string{"garbage", "truncated"}, codes); diff != "" {
		t.Error(diff)
	}
}

func TestANewConnectionTakesTheOldOnesPlace(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	old := dial(t, h)
	old.send(realtime("20240102030405001", "1"))
	_ = old.heard()
	fresh := dial(t, h)
	fresh.send(realtime("20240102030406001", "1"))
	if got := fresh.heard(); got != "9014 20240102030406001" {
		t.Errorf("heard %s", got)
	}
	if got := old.heard(); got != "closed" {
		t.Errorf("the old connection heard %s", got)
	}
	_ = fresh.conn.Close()
	d.await(t, "the end", func() bool { return len(d.reports) == 2 })
	if d.told()[0].Problem != nil || d.told()[1].Problem.Code != "device_offline" || h.Counts().Connected != 0 {
		t.Errorf("reports %+v", d.told())
	}
}

func TestRetiredLoggersAreDisconnected(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("one", "M1", "w01018"), plant("two", "M2", "w01018"))
	one := dial(t, h)
	one.send(realtime("20240102030405001", "1"))
	_ = one.heard()
	if err := h.Update([]hj212.Client{plant("two", "M2", "w01018")}); err != nil {
		t.Fatal(err)
	}
	if got := one.heard(); got != "closed" {
		t.Errorf("heard %s", got)
	}
}

func TestFaultsOfPointsAreToldOnce(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	for i, v := range []string{"x", "x", "1", "1", "x"} {
		l.send(realtime(fmt.Sprintf("20240102030405%03d", i), v))
		_ = l.heard()
	}
	var got []string
	for _, r := range d.told()[1:] {
		code := "well"
		if r.Problem != nil {
			code = r.Problem.Code
		}
		got = append(got, code)
	}
	if diff := cmp.Diff([]string{"bad_number", "well", "bad_number"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnboundFactorsAreNoted(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{}, plant("logger", "M1"))
	l := dial(t, h)
	l.send(realtime("20240102030405001", "1"))
	_ = l.heard()
	if notes := h.Notes(); len(notes) != 1 || notes[0].Problem.Code != "unknown_factor" || notes[0].Detail != `"w01018" realtime Rtd` {
		t.Errorf("notes %+v", notes)
	}
}

func TestADeafLoggerIsClosed(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{Patience: 200 * time.Millisecond}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	_ = l.conn.(*net.TCPConn).SetReadBuffer(2048)
	beat := []byte(strings.Repeat(frame("20240102030405002", "ST=91;CN=9015;PW=123456;MN=M1;Flag=9", ""), 50))
	for {
		_ = l.conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
		if _, err := l.conn.Write(beat); err != nil {
			break
		}
	}
	d.await(t, "the report", func() bool { n := len(d.reports); return n > 0 && d.reports[n-1].Problem != nil })
	if c := h.Counts(); c.Deaf != 1 {
		t.Errorf("counts %+v", c)
	}
}
