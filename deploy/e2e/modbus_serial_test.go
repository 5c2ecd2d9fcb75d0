package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/modbus/modbustest"
)

// socatPair gives the names of two pseudo-terminals that socat joins, as a
// cable joins two serial ports.
func socatPair(t *testing.T) (a, b string) {
	t.Helper()
	modbusTools(t, "socat")
	socat := exec.CommandContext(t.Context(), "socat", "-d", "-d", "pty,raw,echo=0", "pty,raw,echo=0")
	stderr, err := socat.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := socat.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = socat.Process.Kill(), socat.Wait() })
	name := regexp.MustCompile(`PTY is (\S+)`)
	var names []string
	for lines := bufio.NewScanner(stderr); len(names) < 2; {
		if !lines.Scan() {
			t.Skipf("socat made no pseudo-terminals: %v", lines.Err())
		}
		if m := name.FindStringSubmatch(lines.Text()); m != nil {
			names = append(names, m[1])
		}
	}
	return names[0], names[1]
}

// startASCIISlave starts pymodbus with ASCII frames and gives what it prints.
func startASCIISlave(t *testing.T, args ...string) string {
	t.Helper()
	const python = "/usr/bin/python3" // whose packages Debian installs
	if err := exec.CommandContext(t.Context(), python, "-c", "import pymodbus, serial_asyncio").Run(); err != nil {
		t.Skip("pymodbus is not installed; deploy/test installs it")
	}
	slave := exec.CommandContext(t.Context(), python, append([]string{"testdata/modbus_ascii_slave.py"}, args...)...)
	stdout, err := slave.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var complaint strings.Builder
	slave.Stderr = &complaint
	if err := slave.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = slave.Process.Kill(), slave.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("pymodbus: %v\n%s", err, complaint.String())
	}
	return strings.TrimSpace(line)
}

func TestModbusReadsALibmodbusSlaveOnASerialPort(t *testing.T) {
	port, far := socatPair(t)
	startLibmodbusSlave(t, "modbus_rtu_slave", far)
	dev := modbusDevice("meter", "modbus+rtu://"+port, 5, time.Second)
	dev.Modbus.Serial = &devices.SerialLine{Baud: 115200}
	desk := modbusFirstPoll(t, dev, []devices.Bound{
		modbusBound("meter", "p.float", devices.Register{Table: "holding", Address: 0, Type: "float32"}),
		modbusBound("meter", "p.bcd", devices.Register{Table: "holding", Address: 20, Type: "bcd16"}),
		modbusBound("meter", "p.text", devices.Register{Table: "holding", Address: 30, Type: "string", Length: 2}),
		modbusBound("meter", "p.int16", devices.Register{Table: "holding", Address: 119, Type: "int16"}),
		modbusBound("meter", "p.bits", devices.Register{Table: "input", Address: 3, Type: "bits", Bit: 14, Width: 2}),
		modbusBound("meter", "p.coil", devices.Register{Table: "coil", Address: 3, Type: "bit"}),
		modbusBound("meter", "p.coil-off", devices.Register{Table: "coil", Address: 4, Type: "bit"}),
		modbusBound("meter", "p.discrete", devices.Register{Table: "discrete", Address: 15, Type: "bit"}),
		modbusBound("meter", "p.beyond", devices.Register{Table: "discrete", Address: 16, Type: "bit"}),
	})
	want := map[string]float64{
		"p.float": float64(float32(123.456)), "p.bcd": 9876, "p.text": 12.5, "p.int16": -1234, "p.bits": 2,
		"p.coil": 1, "p.coil-off": 0, "p.discrete": 1,
	}
	if diff := cmp.Diff(want, modbusValues(t, desk)); diff != "" {
		t.Error(diff)
	}
	if first := desk.reports[0]; len(first.Points) != 1 || first.Points[0] != "p.beyond" || first.Problem.Code != "exception_2" {
		t.Errorf("the input that libmodbus does not have was told as %+v", first)
	}
}

func TestModbusReadsAPymodbusSlaveInASCII(t *testing.T) {
	over := map[string]func(t *testing.T) devices.Device{
		"a serial port": func(t *testing.T) devices.Device {
			port, far := socatPair(t)
			startASCIISlave(t, far)
			return modbusDevice("old", "modbus+ascii://"+port, 5, time.Second)
		},
		"TCP": func(t *testing.T) devices.Device {
			return modbusDevice("old", "modbus+ascii://"+net.JoinHostPort("127.0.0.1", startASCIISlave(t)), 5, time.Second)
		},
	}
	for name, start := range over {
		t.Run(name, func(t *testing.T) {
			desk := modbusFirstPoll(t, start(t), []devices.Bound{
				modbusBound("old", "p.float", devices.Register{Table: "holding", Address: 0, Type: "float32"}),
				modbusBound("old", "p.int16", devices.Register{Table: "holding", Address: 119, Type: "int16"}),
				modbusBound("old", "p.coil", devices.Register{Table: "coil", Address: 3, Type: "bit"}),
			})
			want := map[string]float64{"p.float": float64(float32(123.456)), "p.int16": -1234, "p.coil": 1}
			if diff := cmp.Diff(want, modbusValues(t, desk)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestModbusProbesWritesAndScansALibmodbusSlaveOnASerialPort(t *testing.T) {
	port, far := socatPair(t)
	startLibmodbusSlave(t, "modbus_rtu_slave", far)
	dev := modbusDevice("meter", "modbus+rtu://"+port, 5, time.Second)
	dev.Modbus.Serial, dev.Timeout = &devices.SerialLine{Baud: 115200}, devices.Duration(300*time.Millisecond)
	setPoint := modbusBound("meter", "p.set", devices.Register{Table: "holding", Address: 10, Type: "float32", Order: "CDAB"})
	pool := modbus.New(modbus.Config{})
	for _, tt := range []struct {
		bound devices.Bound
		value float64
	}{
		{setPoint, 36.5},
		{modbusBound("meter", "p.word", devices.Register{Table: "holding", Address: 14, Type: "uint16"}), 4711},
		{modbusBound("meter", "p.bit", devices.Register{Table: "holding", Address: 14, Type: "bit", Bit: 15}), 1},
		{modbusBound("meter", "p.coil", devices.Register{Table: "coil", Address: 7, Type: "bit"}), 1},
	} {
		if w, err := pool.Write(t.Context(), dev, tt.bound.Binding, tt.value, nil); err != nil || w.After != tt.value {
			t.Errorf("%s: %+v, %v", tt.bound.Point.ID, w, err)
		}
	}
	steps, err := pool.Probe(t.Context(), dev, []devices.Bound{setPoint, modbusBound("meter", "p.word", devices.Register{Table: "holding", Address: 14, Type: "uint16"})})
	if err != nil {
		t.Fatal(err)
	}
	values := steps[len(steps)-1].Values
	if len(values) != 2 || *values[0].Value != 36.5 || *values[1].Value != 4711|1<<15 {
		t.Errorf("%+v", steps)
	}
	wrong := dev
	wrong.Endpoint = "modbus+ascii://" + port
	if steps, err = pool.Probe(t.Context(), wrong, nil); err != nil || steps[len(steps)-1].Name != "framing" || !steps[len(steps)-1].OK {
		t.Errorf("ASCII asked of an RTU slave: %+v, %v", steps, err)
	}
	var found []uint8
	// libmodbus takes what follows a request to another unit for that unit's
	// answer, and needs half a second to find that it is none.
	_, err = pool.Scan(t.Context(), modbus.Scan{Device: dev, First: 3, Last: 6, Every: 1200 * time.Millisecond}, func(u modbus.Unit) { found = append(found, u.ID) })
	if diff := cmp.Diff([]uint8{5}, found); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// socatTo joins a pseudo-terminal by this name to a TCP port, as a USB adapter
// does that is plugged in, until unplug.
func socatTo(t testing.TB, name, addr string) (unplug func()) {
	t.Helper()
	modbusTools(t, "socat")
	socat := exec.CommandContext(t.Context(), "socat", "-d", "-d", "pty,raw,echo=0,link="+name, "tcp:"+addr)
	stderr, err := socat.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := socat.Start(); err != nil {
		t.Fatal(err)
	}
	var once sync.Once
	unplug = func() { once.Do(func() { _, _ = socat.Process.Kill(), socat.Wait(); _ = os.Remove(name) }) }
	t.Cleanup(unplug)
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		if strings.Contains(lines.Text(), "starting data transfer loop") {
			return unplug
		}
	}
	unplug()
	t.Skipf("socat may not make %s", name)
	return nil
}

// Four units on one serial port: one falls silent, then the adapter is pulled
// out and plugged in again.
func TestModbusSerialPortWithASilentUnitPulledOutAndPluggedIn(t *testing.T) {
	t.Parallel()
	measure(t, modbusSlack, modbusSerialPort)
}

func modbusSerialPort(t testing.TB) {
	const period = 200 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	slave, err := modbustest.Listen(ctx, modbustest.Config{RTU: true})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = slave.Run(ctx) })
	name := fmt.Sprintf("/dev/offsite-test-%d", os.Getpid())
	unplug := socatTo(t, name, slave.Addr().String())
	pool, desk := modbus.New(modbus.Config{}), &modbusDesk{}
	for unit := uint8(1); unit <= 4; unit++ {
		slave.Unit(unit).Set(modbustest.Holding, 40, uint16(unit))
		id := fmt.Sprintf("d%d", unit)
		dev := modbusDevice(id, "modbus+rtu://"+name, unit, period)
		dev.Modbus.Serial = &devices.SerialLine{Baud: 115200}
		driver, err := pool.Open(dev, []devices.Bound{modbusBound(id, "p."+id, devices.Register{Table: "holding", Address: 40, Type: "uint16"})})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() { _ = driver.Run(ctx, desk) })
	}
	// The polls of a spell, and what was told since the one before.
	spell := func(d time.Duration) (polls map[string]int, codes string) {
		desk.mu.Lock()
		desk.deliveries = nil
		desk.mu.Unlock()
		<-time.After(d)
		desk.mu.Lock()
		defer desk.mu.Unlock()
		polls = map[string]int{}
		for _, x := range desk.deliveries {
			if id := x.Origin.Device; len(x.Readings) != 1 || "d"+fmt.Sprint(x.Readings[0].Value) != id {
				t.Errorf("%s delivered %+v", id, x.Readings)
			}
			polls[x.Origin.Device]++
		}
		for _, r := range desk.reports {
			if r.Problem != nil {
				codes += r.Device + " " + r.Problem.Code + "; "
			}
		}
		desk.reports = nil
		return polls, codes
	}
	onTime := func(when string, polls map[string]int, d time.Duration, ids ...string) {
		t.Helper()
		for _, id := range ids {
			if want := int(d / period); polls[id]*100 < want*98-100 { // the ends of the spell may cost one
				t.Errorf("%s: %d of %d polls of %s", when, polls[id], want, id)
			}
		}
	}
	spell(time.Second)
	slave.Unit(3).Misbehave(modbustest.Fault{Kind: modbustest.Silent})
	polls, codes := spell(8 * time.Second)
	onTime("one silent", polls, 8*time.Second, "d1", "d2", "d4")
	if codes != "d3 no_answer; " {
		t.Errorf("with one silent unit told %q", codes)
	}
	slave.Unit(3).Misbehave()
	unplug()
	if polls, codes = spell(3 * time.Second); len(polls) > 0 || !strings.Contains(codes, "d1 port_missing") && !strings.Contains(codes, "d1 connection_closed") {
		t.Errorf("pulled out: %v, told %q", polls, codes)
	}
	defer socatTo(t, name, slave.Addr().String())()
	spell(11 * time.Second) // the longest pause between two tries
	polls, _ = spell(4 * time.Second)
	onTime("plugged in again", polls, 4*time.Second, "d1", "d2", "d4")
}
