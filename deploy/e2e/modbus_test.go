package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

// modbusDesk is a devices.Sink that keeps all.
type modbusDesk struct {
	mu         sync.Mutex
	deliveries []devices.Delivery
	reports    []devices.Report
	first      chan struct{} // closed by the first delivery; may be nil
}

func (d *modbusDesk) Accept(x devices.Delivery, done func(error)) {
	d.mu.Lock()
	d.deliveries = append(d.deliveries, x)
	if len(d.deliveries) == 1 && d.first != nil {
		close(d.first)
	}
	d.mu.Unlock()
	done(nil)
}

func (d *modbusDesk) Report(r devices.Report) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.reports = append(d.reports, r)
}

// modbusTools skips the test where a program is not installed.
func modbusTools(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed; deploy/test installs it", name)
		}
	}
}

func modbusBound(device, point string, reg devices.Register) devices.Bound {
	return devices.Bound{
		Binding: devices.Binding{ID: strings.ReplaceAll(point, ".", "-"), Point: point, Device: device, Register: &reg},
		Point:   devices.Point{ID: point},
		Site:    "site",
	}
}

func modbusDevice(id, endpoint string, unit uint8, period time.Duration) devices.Device {
	return devices.Device{
		ID: id, Site: "site", Name: id, Driver: devices.DriverModbus, Endpoint: endpoint,
		Period: devices.Duration(period), Modbus: &devices.ModbusSettings{Unit: unit},
	}
}

// startLibmodbusSlave compiles and starts a slave of testdata and gives the line
// that it prints.
func startLibmodbusSlave(t *testing.T, name string, args ...string) string {
	t.Helper()
	modbusTools(t, "gcc", "pkg-config")
	flags, err := exec.CommandContext(t.Context(), "pkg-config", "--cflags", "--libs", "libmodbus").Output()
	if err != nil {
		t.Skip("libmodbus-dev is not installed; deploy/test installs it")
	}
	binary := filepath.Join(t.TempDir(), name)
	build := append([]string{"-Wall", "-Werror", "-o", binary, "testdata/" + name + ".c"}, strings.Fields(string(flags))...)
	if out, err := exec.CommandContext(t.Context(), "gcc", build...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	slave := exec.CommandContext(t.Context(), binary, args...)
	stdout, err := slave.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := slave.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = slave.Process.Kill(), slave.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// modbusFirstPoll runs a driver until its first delivery.
func modbusFirstPoll(t *testing.T, dev devices.Device, bounds []devices.Bound) *modbusDesk {
	t.Helper()
	driver, err := modbus.New(modbus.Config{}).Open(dev, bounds)
	if err != nil {
		t.Fatal(err)
	}
	desk := &modbusDesk{first: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- driver.Run(ctx, desk) }()
	select {
	case <-desk.first:
	case <-ctx.Done():
	}
	cancel()
	<-ended
	return desk
}

// modbusValues gives the values of the first delivery by point.
func modbusValues(t *testing.T, desk *modbusDesk) map[string]float64 {
	t.Helper()
	if len(desk.deliveries) == 0 {
		t.Fatalf("nothing came; told %v", desk.reports)
	}
	values := map[string]float64{}
	for _, r := range desk.deliveries[0].Readings {
		values[r.Point] = r.Value
	}
	return values
}

// modbusSerialServer is a serial device server: it carries bytes between a TCP
// port and a pseudo-terminal, and gives the port's address and the terminal.
func modbusSerialServer(t *testing.T) (addr, terminal string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	line := os.NewFile(uintptr(fd), "pty")
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_, _ = listener.Close(), line.Close()
		running.Wait()
	})
	running.Go(func() {
		conn, err := listener.Accept() // one master; nobody reads the line before it is there
		if err != nil {
			return
		}
		running.Go(func() { _, _ = io.Copy(conn, line) })
		_, _ = io.Copy(line, conn)
		_ = conn.Close()
	})
	return listener.Addr().String(), fmt.Sprintf("/dev/pts/%d", number)
}

func TestModbusReadsALibmodbusSlaveBehindASerialServer(t *testing.T) {
	addr, terminal := modbusSerialServer(t)
	startLibmodbusSlave(t, "modbus_rtu_slave", terminal)
	desk := modbusFirstPoll(t, modbusDevice("meter", "modbus+rtu://"+addr, 5, time.Second), []devices.Bound{
		modbusBound("meter", "p.float", devices.Register{Table: "holding", Address: 0, Type: "float32"}),
		modbusBound("meter", "p.int16", devices.Register{Table: "holding", Address: 119, Type: "int16"}),
		modbusBound("meter", "p.bit15", devices.Register{Table: "input", Address: 3, Type: "bit", Bit: 15}),
		modbusBound("meter", "p.beyond", devices.Register{Table: "input", Address: 100, Type: "uint16"}),
	})
	want := map[string]float64{"p.float": float64(float32(123.456)), "p.int16": -1234, "p.bit15": 1}
	if diff := cmp.Diff(want, modbusValues(t, desk)); diff != "" {
		t.Error(diff)
	}
	if first := desk.reports[0]; len(first.Points) != 1 || first.Points[0] != "p.beyond" || first.Problem.Code != "exception_2" {
		t.Errorf("the register that libmodbus does not have was told as %+v", first)
	}
}

func TestModbusReadsALibmodbusSlave(t *testing.T) {
	addr := net.JoinHostPort("127.0.0.1", startLibmodbusSlave(t, "modbus_slave"))
	at := func(table string, address uint16, typ, order string, bit uint8) devices.Register {
		return devices.Register{Table: table, Address: address, Type: typ, Order: order, Bit: bit}
	}
	f := float64(float32(123.456))
	registers := []struct {
		point string
		reg   devices.Register
		want  float64
	}{
		{"p.abcd", at("holding", 0, "float32", "ABCD", 0), f},
		{"p.cdab", at("holding", 2, "float32", "CDAB", 0), f},
		{"p.badc", at("holding", 4, "float32", "BADC", 0), f},
		{"p.dcba", at("holding", 6, "float32", "DCBA", 0), f},
		{"p.int32", at("holding", 8, "int32", "", 0), -123456789},
		{"p.uint32", at("holding", 10, "uint32", "", 0), 4000000000},
		{"p.int16", at("holding", 12, "int16", "", 0), -1234},
		{"p.uint16", at("holding", 13, "uint16", "", 0), 64302},
		{"p.bit4", at("holding", 14, "bit", "", 4), 0},
		{"p.bit5", at("holding", 14, "bit", "", 5), 1},
		{"p.float64", at("holding", 15, "float64", "", 0), -273.15},
		{"p.float64-cdab", at("holding", 19, "float64", "CDAB", 0), -273.15},
		{"p.input", at("input", 0, "uint32", "", 0), 0x01020304},
	}
	var bounds []devices.Bound
	want := map[string]float64{}
	for _, r := range registers {
		bounds = append(bounds, modbusBound("plc", r.point, r.reg))
		want[r.point] = r.want
	}
	bounds = append(bounds, modbusBound("plc", "p.beyond", at("holding", 23, "uint16", "", 0)))
	desk := modbusFirstPoll(t, modbusDevice("plc", "modbus://"+addr, 1, time.Second), bounds)
	if diff := cmp.Diff(want, modbusValues(t, desk)); diff != "" {
		t.Error(diff)
	}
	if first := desk.reports[0]; len(first.Points) != 1 || first.Points[0] != "p.beyond" || first.Problem.Code != "exception_2" {
		t.Errorf("the register that libmodbus does not have was told as %+v", first)
	}
}

func TestModbusSlaveOfOursAnswersMbpoll(t *testing.T) {
	modbusTools(t, "mbpoll")
	ctx, cancel := context.WithCancel(t.Context())
	slave, err := modbustest.Listen(ctx, modbustest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- slave.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	u := slave.Unit(7)
	u.Put(modbustest.Holding, 0, "ABCD", float32(123.456))
	u.Put(modbustest.Holding, 2, "CDAB", float32(-0.5))
	u.Put(modbustest.Holding, 4, "ABCD", int32(-123456789))
	u.Set(modbustest.Holding, 6, 4711, 0xfb2e)
	u.Set(modbustest.Input, 100, 17, 18, 19)
	u.Set(modbustest.Coil, 0, 1, 0, 1, 1, 0, 0, 0, 1, 1)
	u.Set(modbustest.Discrete, 5, 0, 1)
	tests := []struct {
		name string
		args string // and the values to write behind the host
		put  string
		want []string // what mbpoll prints behind each reference
	}{
		{"float, big-endian words", "-t 4:float -B -r 0 -c 1", "", []string{"123.456"}},
		{"float, little-endian words", "-t 4:float -r 2 -c 1", "", []string{"-0.5"}},
		{"int32", "-t 4:int -B -r 4 -c 1", "", []string{"-123456789"}},
		{"holding registers", "-t 4:hex -r 6 -c 2", "", []string{"0x1267", "0xFB2E"}},
		{"input registers", "-t 3 -r 100 -c 3", "", []string{"17", "18", "19"}},
		{"coils", "-t 0 -r 0 -c 9", "", []string{"1", "0", "1", "1", "0", "0", "0", "1", "1"}},
		{"discrete inputs", "-t 1 -r 5 -c 2", "", []string{"0", "1"}},
		{"write one register", "-t 4 -r 6", "815", nil},
		{"and read it", "-t 4 -r 6 -c 1", "", []string{"815"}},
		{"write several registers", "-t 4:float -B -r 0", "2.5", nil},
		{"and read them", "-t 4:float -B -r 0 -c 1", "", []string{"2.5"}},
		{"write one coil", "-t 0 -r 1", "1", nil},
		{"write several coils", "-t 0 -r 3", "0 1 1", nil},
		{"and read them", "-t 0 -r 0 -c 7", "", []string{"1", "1", "1", "0", "1", "1", "0"}},
	}
	_, port, err := net.SplitHostPort(slave.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\[\d+\]:\s+(\S+)`)
	for _, tt := range tests {
		args := append([]string{"-m", "tcp", "-p", port, "-a", "7", "-0", "-1", "-q"}, strings.Fields(tt.args)...)
		args = append(append(args, "127.0.0.1"), strings.Fields(tt.put)...)
		out, err := exec.CommandContext(ctx, "mbpoll", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: mbpoll %v: %v\n%s", tt.name, args, err, out)
		}
		var got []string
		for _, m := range line.FindAllStringSubmatch(string(out), -1) {
			got = append(got, m[1])
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s\n%s", tt.name, diff, out)
		}
	}
}

// modbusSlack is how late a machine may be that measures whether polls are on time: a
// quarter of their period.
const modbusSlack = 50 * time.Millisecond

func TestModbusOneSilentSlaveOfFour(t *testing.T) {
	for _, rtu := range []bool{false, true} {
		t.Run(fmt.Sprintf("rtu=%v", rtu), func(t *testing.T) {
			t.Parallel()
			measure(t, modbusSlack, func(t testing.TB) { modbusSilentOfFour(t, rtu) })
		})
	}
}

func modbusSilentOfFour(t testing.TB, rtu bool) {
	const period, healthy, watched = 200 * time.Millisecond, 2 * time.Second, 16 * time.Second
	ctx, cancel := context.WithTimeout(t.Context(), healthy+watched)
	defer cancel()
	slave, err := modbustest.Listen(ctx, modbustest.Config{RTU: rtu})
	if err != nil {
		t.Fatal(err)
	}
	pool, desk := modbus.New(modbus.Config{}), &modbusDesk{}
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { _ = slave.Run(ctx) })
	for unit := uint8(1); unit <= 4; unit++ {
		id := fmt.Sprintf("d%d", unit)
		slave.Unit(unit).Set(modbustest.Holding, 40, uint16(unit))
		driver, err := pool.Open(modbusDevice(id, slave.Endpoint(), unit, period), []devices.Bound{
			modbusBound(id, "p."+id, devices.Register{Table: "holding", Address: 40, Type: "uint16"}),
		})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = driver.Run(ctx, desk) })
	}
	fall := time.NewTimer(healthy)
	defer fall.Stop()
	<-fall.C
	slave.Unit(3).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
	running.Wait()
	for _, id := range []string{"d1", "d2", "d4"} {
		modbusOnTime(t, desk, id, period, healthy+watched)
	}
	modbusToldSilent(t, desk)
}

// modbusOnTime demands that 99 % of a device's polls came before the next was due.
func modbusOnTime(t testing.TB, desk *modbusDesk, id string, period, span time.Duration) {
	t.Helper()
	moments := map[time.Time]bool{}
	var worst time.Duration
	for _, d := range desk.deliveries {
		if d.Origin.Device != id {
			continue
		}
		if len(d.Readings) != 1 || "d"+fmt.Sprint(d.Readings[0].Value) != id {
			t.Errorf("%s delivered %+v", id, d.Readings)
		}
		moment := d.Received.Truncate(period) // of the grid that all drivers share
		moments[moment] = true
		if len(moments) > 1 { // the first poll comes at once
			worst = max(worst, d.Received.Sub(moment))
		}
	}
	want := int(span / period)
	t.Logf("%s: %d of %d polls, the latest %v after its moment", id, len(moments), want, worst)
	if len(moments)*100 < want*99 {
		t.Errorf("%s: %d of %d polls on time", id, len(moments), want)
	}
}

func modbusToldSilent(t testing.TB, desk *modbusDesk) {
	t.Helper()
	for _, r := range desk.reports {
		if r.Problem != nil && (r.Device != "d3" || r.Problem.Code != "no_answer") {
			t.Errorf("told of %s: %s", r.Device, r.Problem.Bilingual())
		}
		if r.Problem != nil && r.Device == "d3" {
			return
		}
	}
	t.Error("nobody was told that d3 is silent")
}
