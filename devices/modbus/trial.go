package modbus

import (
	"context"
	"fmt"
	"time"

	"offsite/devices"
)

// resync is how long a slave may hold what it could not make sense of: an ASCII
// slave waits 1 s for the next character (V1.02, 2.5.2.1), libmodbus half of it.
const resync = 1100 * time.Millisecond

// other is the framing that people most often mean instead.
func (f framing) other(serial bool) framing {
	switch {
	case f == framingTCP || f == framingASCII:
		return framingRTU
	case serial:
		return framingASCII
	default:
		return framingTCP
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
	other.framing = pr.at.framing.other(pr.at.serial)
	if unit := pr.dev.Modbus.Unit; other.framing.untagged() && (unit == 0 || unit > 247) {
		return // nobody has that number there
	}
	end, free := pr.pool.beginTrial(pr.at.addr)
	if !free {
		pr.skipFraming()
		return
	}
	defer end()
	g := &guest{bus: newBus(other, &pr.pool.cfg), dev: pr.dev}
	if g.dev.Timeout == 0 {
		g.dev.Timeout = devices.Duration(defaultTimeout)
	}
	defer g.bus.drop()
	if pr.at.framing.untagged() && !sleep(ctx, resync) {
		return
	}
	began := time.Now()
	_, err := g.ask(ctx, pr.blocks()[0].query())
	s := devices.Step{Name: "framing", Took: devices.Duration(time.Since(began))}
	if answered(err) {
		s.OK = true
		s.ZH, s.EN = fmt.Sprintf("以 %s 方式有应答", other.framing), fmt.Sprintf("with %s framing it answers", other.framing)
		s.CureZH, s.CureEN = fmt.Sprintf("请将地址改为 %s", other.url()), fmt.Sprintf("write the address %s", other.url())
	} else {
		s.ZH, s.EN = fmt.Sprintf("以 %s 方式也没有应答", other.framing), fmt.Sprintf("with %s framing it does not answer either", other.framing)
		s.CureZH, s.CureEN = pr.cure()
	}
	pr.add(s)
}

// cure is what to look at when no framing helps.
func (pr *probe) cure() (zh, en string) {
	if pr.at.serial {
		return "请核对单元号、波特率与校验、A/B 线是否接反、仪表电源", "check unit id, baud rate and parity, whether A and B are swapped, and the instrument's power"
	}
	return "请核对单元号、端口、设备电源，以及串口服务器的波特率与工作方式", "check unit id, port and power, and baud rate and mode of a serial device server"
}

// beginTrial keeps drivers from an address that nobody uses, until end.
func (p *Pool) beginTrial(addr string) (end func(), free bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buses[addr] != nil || p.trials[addr] != nil {
		return nil, false
	}
	done := make(chan struct{})
	p.trials[addr] = done
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.trials, addr)
		close(done)
	}, true
}
