package hj212

import (
	"context"
	"slices"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// Commands (CN) that the host knows by name. HJ 212-2017, table 9; 9015 is of 2025.
const (
	cmdAskTime     = "1013" // the logger asks for the time
	cmdSetTime     = "1012"
	cmdSetPassword = "1072"
	cmdRealtime    = "2011"
	cmdState       = "2021"
	cmdStateStop   = "2022"
	cmdDay         = "2031"
	cmdRunning     = "2041"
	cmdMinute      = "2051"
	cmdHour        = "2061"
	cmdStartUp     = "2081"
	cmdRequested   = "9011" // answer to a request: QnRtn
	cmdExecuted    = "9012" // result of its execution: ExeRtn
	cmdNotified    = "9013" // answer to a notification
	cmdReceived    = "9014" // answer to data
	cmdHeartbeat   = "9015"
)

// stSystem is the ST of packets that concern the protocol itself.
const stSystem = "91"

// Values of QnRtn (HJ 212-2017, table 7).
const (
	returnReady = 1
	returnPW    = 3
	returnMN    = 4
)

// packet handles a packet of this connection's logger.
func (s *session) packet(ctx context.Context, l *logger, f wire.Frame, received time.Time) error {
	p := f.Packet
	awaited := s.deliver(p)
	switch p.CN {
	case cmdRequested, cmdExecuted, cmdNotified, cmdReceived:
		return nil
	case cmdHeartbeat:
		return s.owe(owed{answer: answer(p, l, cmdNotified)})
	case cmdAskTime:
		if err := s.owe(owed{answer: answer(p, l, cmdNotified)}); err != nil {
			return err
		}
		s.setTime(ctx, p)
		return nil
	}
	if !l.takes(p) {
		f.Refused = foreignST(p.ST)
		return s.bury(l, f, received)
	}
	key := l.key(p)
	if _, data := kinds[p.CN]; !data || !l.first(key) {
		if data {
			s.host.counts.repeated.Add(1)
			s.replayed(l, p, awaited, received)
		} else if p.CN == cmdStartUp {
			s.host.cfg.Log.Info("data logger started", "device", s.device, "restart", wire.Quote(p.Value("RestartTime")))
		}
		return s.hand(l, owed{answer: answer(p, l, cmdReceived)}, devices.Delivery{Origin: devices.Origin{Device: s.device}, Received: received})
	}
	out := l.open(p, received)
	for _, r := range out.reports {
		s.host.sink.Report(r)
	}
	for place, count := range l.unbound(out.unbound, received) {
		s.unbound(l, place, count, received)
	}
	if out.problem != nil {
		s.host.counts.refused.Add(1)
	}
	return s.hand(l, owed{answer: answer(p, l, cmdReceived), key: key}, l.delivery(l.origin(p, key, s.began), scrub(f.Raw), received, out))
}

// bury hands over a frame that is whole but cannot be used.
func (s *session) bury(l *logger, f wire.Frame, received time.Time) error {
	s.host.counts.refused.Add(1)
	return s.hand(l, owed{answer: answer(f.Packet, l, cmdReceived)},
		l.delivery(devices.Origin{Device: s.device}, scrub(f.Raw), received, opened{problem: f.Refused}))
}

// answer gives the frame that answers p, nil where none is wanted. It has the
// QN of p and an empty area.
func answer(p *wire.Packet, l *logger, cn string) []byte {
	if !p.Wanted() {
		return nil
	}
	a := wire.Packet{QN: p.QN, ST: stSystem, CN: cn, PW: l.device.Password.Reveal(), MN: p.MN, Flag: p.Flag &^ 3}
	return a.Append(nil, nil)
}

// returned gives the 9011 that tells why p is refused. It has the password of
// p, not the registered one: who asks may be anybody.
func returned(p *wire.Packet, code int) []byte {
	if !p.Wanted() || p.QN == "" || p.PW == "" {
		return nil
	}
	a := wire.Packet{
		QN: p.QN, ST: stSystem, CN: cmdRequested, PW: p.PW, MN: p.MN, Flag: p.Flag &^ 3,
		CP: []wire.Item{{{Name: "QnRtn", Value: strconv.Itoa(code)}}},
	}
	return a.Append(nil, nil)
}

// setTime sends the time to a logger that asked for it.
func (s *session) setTime(ctx context.Context, p *wire.Packet) {
	c := Command{CN: cmdSetTime, CP: []wire.Item{{{Name: "SystemTime", Value: wire.FormatTime(time.Now())}}}}
	if id := p.Value("PolId"); id != "" {
		c.CP = slices.Insert(c.CP, 0, wire.Item{{Name: "PolId", Value: id}})
	}
	s.writing.Go(func() {
		if _, err := s.request(ctx, c); err != nil && ctx.Err() == nil {
			s.host.cfg.Log.Warn("time not set", "device", s.device, "err", err)
		}
	})
}

// replayed tells of a packet that came again, unless the logger says so or a
// command asked for it.
func (s *session) replayed(l *logger, p *wire.Packet, awaited bool, at time.Time) {
	if p.Resent || awaited {
		return
	}
	s.host.notes.add(Note{
		Device: l.device.ID, MN: p.MN, Remote: s.remote, At: at, Detail: "QN=" + wire.Quote(p.QN) + " CN=" + p.CN,
		Problem: devices.Invalid("qn", "replayed",
			"数据包重复：已应答，未再次记录；若反复出现，请检查数采仪是否收到应答", "the packet came again: it was answered and not recorded twice; if this goes on, see whether the logger hears the answers"),
	}, false)
}

func (s *session) unbound(l *logger, f devices.FactorPlace, count int64, at time.Time) {
	detail := wire.Quote(f.Code) + " " + f.Kind + " " + f.Field
	s.host.notes.add(Note{
		Device: l.device.ID, MN: l.settings.MN, Remote: s.remote, At: at, Detail: detail, Count: count,
		Problem: devices.Invalid("factor.code", CodeUnknownFactor,
			"数采仪发送的因子 "+detail+" 没有绑定测点，未被记录；请为该因子添加绑定", "no point is bound to factor "+detail+", which the logger sends, and nothing is recorded from it; add a binding"),
	}, true)
}
