package modbus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"offsite/devices"
	"offsite/devices/modbus/bus"
	"offsite/devices/modbus/register"
)

// mostProbed is how many requests a probe makes at most.
const mostProbed = 32

var _ devices.Prober = (*Pool)(nil)

// Probe tries a device as [devices.Prober] says. Its steps are resolve and
// address (on a network), connect, answer, framing (only if there is no answer)
// and values.
func (p *Pool) Probe(ctx context.Context, dev devices.Device, bounds []devices.Bound) ([]devices.Step, error) {
	dev, bounds = filledIn(dev, bounds)
	if err := check(&dev, bounds); err != nil {
		return nil, err
	}
	at, err := bus.EndpointOf(&dev)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err) // check has parsed it before
	}
	pr := &probe{pool: p, dev: dev, at: at, bounds: bounds, seen: make([]devices.Probed, len(bounds))}
	located := at.Serial
	if !at.Serial {
		pr.steps, located = devices.Places{Resolve: p.cfg.Resolve, Allow: p.cfg.Allow}.Locate(ctx, at.Addr)
	}
	if located {
		pr.talk(ctx)
	}
	return pr.steps, nil
}

// filledIn gives what a form may leave open, as far as nobody cares.
func filledIn(dev devices.Device, bounds []devices.Bound) (devices.Device, []devices.Bound) {
	return devices.Unsaved(dev, bounds, devices.DriverModbus)
}

// probe is one probe under way.
type probe struct {
	pool   *Pool
	dev    devices.Device
	at     bus.Endpoint
	bounds []devices.Bound
	steps  []devices.Step
	seen   []devices.Probed // by place in bounds
	spoke  bool             // something answered in this framing, be it a gateway for its unit
}

func (pr *probe) add(s devices.Step) { pr.steps = append(pr.steps, s) }

// fail adds the step that err ended.
func (pr *probe) fail(name string, took time.Duration, err error) {
	var p *devices.Problem
	var f *bus.Fault
	switch {
	case errors.As(err, &p):
	case errors.As(err, &f):
		p = f.Problem(pr.at.Addr, pr.dev.Modbus.Unit, pr.dev.Timeout.D())
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		p = &devices.Problem{Code: "out_of_time", ZH: "测试时间已到；请稍后再试，或缩短超时", EN: "the probe ran out of time; try again, or with a shorter timeout"}
	default:
		p = devices.AllProblems(err)[0]
	}
	pr.add(devices.StepOf(name, took, p))
}

// talk connects and asks.
func (pr *probe) talk(ctx context.Context) {
	g, err := pr.pool.visit(ctx, pr.dev)
	if err != nil { // in use with another framing or line
		pr.fail("connect", 0, err)
		pr.skipFraming()
		return
	}
	polled := g.seat.Polled()
	heard := pr.connect(ctx, g, polled) && pr.exchange(ctx, g)
	g.seat.Leave()
	last := pr.steps[len(pr.steps)-1]
	switch {
	case heard || pr.spoke || last.Name != "answer" || ctx.Err() != nil:
	case polled:
		pr.skipFraming()
	default:
		pr.otherFraming(ctx)
	}
	if heard && len(pr.bounds) > 0 {
		pr.values()
	}
}

func (pr *probe) connect(ctx context.Context, g *guest, polled bool) bool {
	took, err := g.seat.Reach(ctx)
	if err != nil {
		pr.fail("connect", took, err)
		return false
	}
	s := devices.Step{Name: "connect", OK: true, Took: devices.Duration(took), ZH: "已连接 " + pr.at.Addr, EN: "connected to " + pr.at.Addr}
	if pr.at.Serial {
		s.ZH, s.EN = fmt.Sprintf("串口 %s 已打开，%s", pr.at.Addr, pr.at.LineWords()), fmt.Sprintf("%s is open at %s", pr.at.Addr, pr.at.LineWords())
	}
	if polled {
		s.ZH, s.EN = "该地址正由本网关采集，测试共用其连接，不打断采集", "this gateway polls there already; the probe shares the connection and waits its turn"
	}
	pr.add(s)
	return true
}

// exchange asks for every binding, in parts where the device wants it so. It
// says whether the unit answered, be it by exceptions.
func (pr *probe) exchange(ctx context.Context, g *guest) bool {
	work := pr.blocks()
	began, asked, heard := time.Now(), 0, false
	var slowest time.Duration
	for ; len(work) > 0 && asked < mostProbed; asked++ {
		b := work[0]
		work = work[1:]
		since := time.Now()
		data, err := g.ask(ctx, b.query())
		slowest = max(slowest, time.Since(since))
		if !answered(err) {
			if !heard {
				var exception bus.Exception
				pr.spoke = errors.As(err, &exception)
				pr.fail("answer", time.Since(began), err)
				return false
			}
			pr.blame(b, err)
			break // one silence is what neighbours must bear
		}
		heard = true
		if err == nil {
			pr.note(b, data)
		} else if parts := b.split(); parts != nil {
			work = append(parts, work...)
		} else {
			pr.blame(b, err)
		}
	}
	unit := pr.dev.Modbus.Unit
	pr.add(devices.Step{
		Name: "answer", OK: true, Took: devices.Duration(time.Since(began)),
		ZH: fmt.Sprintf("单元 %d 已应答，%d 次请求，最慢 %s", unit, asked, slowest.Round(100*time.Microsecond)),
		EN: fmt.Sprintf("unit %d answered %d requests, the slowest within %s", unit, asked, slowest.Round(100*time.Microsecond)),
	})
	return true
}

// blocks are the requests for all bindings, or one for a register that may not
// even exist: an exception is an answer too.
func (pr *probe) blocks() []*block {
	if len(pr.bounds) == 0 {
		return []*block{{table: "holding", quantity: 1}}
	}
	pointers := make([]*devices.Bound, len(pr.bounds))
	for i := range pr.bounds {
		pointers[i] = &pr.bounds[i]
	}
	return plan(pointers, capsOf(pr.dev.Modbus))
}

// place is where a binding stands in the list.
func (pr *probe) place(bound *devices.Bound) int {
	return slices.IndexFunc(pr.bounds, func(b devices.Bound) bool { return b.Binding.ID == bound.Binding.ID })
}

func (pr *probe) note(b *block, data []byte) {
	for _, bound := range b.bounds {
		pr.seen[pr.place(bound)] = register.Probed(bound, b.of(bound, data))
	}
}

func (pr *probe) blame(b *block, err error) {
	for _, bound := range b.bounds {
		p := devices.AllProblems(err)[0]
		pr.seen[pr.place(bound)] = devices.Probed{ZH: p.ZH, EN: p.EN}
	}
}

// values adds what stands at each binding.
func (pr *probe) values() {
	s := devices.Step{Name: "values", OK: true, Values: pr.seen}
	read, odd := 0, false
	for i := range s.Values {
		v := &s.Values[i]
		v.Binding, v.Point = pr.bounds[i].Binding.ID, pr.bounds[i].Point.ID
		if v.Value != nil {
			read++
		} else if v.ZH == "" {
			v.ZH, v.EN = "未读取：请求太多或单元中途不再应答", "not read: too many requests, or the unit fell silent"
		}
		odd = odd || !v.Plausible
	}
	s.ZH, s.EN = fmt.Sprintf("读到 %d 个值，共 %d 个", read, len(s.Values)), fmt.Sprintf("read %d of %d values", read, len(s.Values))
	if odd {
		s.OK = read == len(s.Values)
		s.CureZH, s.CureEN = "请看各值旁的说明，并比较各字节序的结果", "see what stands beside the values, and compare the word orders"
	}
	pr.add(s)
}

// resync is how long a slave may hold what it could not make sense of: an ASCII
// slave waits 1 s for the next character (V1.02, 2.5.2.1), libmodbus half of it.
const resync = 1100 * time.Millisecond

// otherThan is the framing that people most often mean instead.
func otherThan(f bus.Framing, serial bool) bus.Framing {
	switch {
	case f == bus.TCP || f == bus.ASCII:
		return bus.RTU
	case serial:
		return bus.ASCII
	default:
		return bus.TCP
	}
}

func (pr *probe) skipFraming() {
	pr.add(devices.Step{
		Name: "framing", Skipped: true,
		ZH: "该地址正由本网关采集：第二个连接可能挤掉采集连接，未试其他协议", EN: "this gateway polls there: a second connection could evict the poller, so no other framing was tried",
		CureZH: "如需尝试，请先停用该地址上的设备", CureEN: "to try, stop the devices at this address first",
	})
}

// otherFraming asks once more in the other framing, on a connection of its own.
// A driver that starts meanwhile waits for the end.
func (pr *probe) otherFraming(ctx context.Context) {
	other := pr.at
	other.Framing = otherThan(pr.at.Framing, pr.at.Serial)
	if unit := pr.dev.Modbus.Unit; other.Framing.Untagged() && (unit == 0 || unit > 247) {
		return // nobody has that number there
	}
	seat, free := pr.pool.buses.Try(other, wishes(&pr.dev))
	if !free {
		pr.skipFraming()
		return
	}
	defer seat.Leave()
	g := newGuest(seat, other, pr.dev)
	if pr.at.Framing.Untagged() && !bus.Sleep(ctx, resync) {
		return
	}
	began := time.Now()
	_, err := g.ask(ctx, pr.blocks()[0].query())
	s := devices.Step{Name: "framing", Took: devices.Duration(time.Since(began))}
	if answered(err) {
		s.OK = true
		s.ZH, s.EN = fmt.Sprintf("以 %s 方式有应答", other.Framing), fmt.Sprintf("with %s framing it answers", other.Framing)
		s.CureZH, s.CureEN = fmt.Sprintf("请将地址改为 %s", other.URL()), fmt.Sprintf("write the address %s", other.URL())
	} else {
		s.ZH, s.EN = fmt.Sprintf("以 %s 方式也没有应答", other.Framing), fmt.Sprintf("with %s framing it does not answer either", other.Framing)
		s.CureZH, s.CureEN = pr.cure()
	}
	pr.add(s)
}

// cure is what to look at when no framing helps.
func (pr *probe) cure() (zh, en string) {
	if pr.at.Serial {
		return "请核对单元号、波特率与校验、A/B 线是否接反、仪表电源", "check unit id, baud rate and parity, whether A and B are swapped, and the instrument's power"
	}
	return "请核对单元号、端口、设备电源，以及串口服务器的波特率与工作方式", "check unit id, port and power, and baud rate and mode of a serial device server"
}
