package hj212

import (
	"context"
	"crypto/subtle"
	"fmt"
	"slices"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// Command is what the host asks of a logger.
type Command struct {
	CN       string        // one of Commands
	ST       string        // kind of system; empty: as the logger last sent
	CP       []wire.Item   // such as {{"PolId", "w01018"}} or {{"BeginTime", …}}, {{"EndTime", …}}
	OverTime time.Duration // for the next packet of the answer; zero means Config.OverTime
	ReCount  int           // how often it is sent again; zero means Config.ReCount, less than zero never
}

// Result is a logger's answer to a command.
type Result struct {
	QN      string
	Packets []*wire.Packet // those with content, 9011 and 9012 apart, in order
}

// CommandKind tells about a command.
type CommandKind struct {
	CN, ZH, EN string
	Writes     bool // it changes the logger or what hangs on it
	Notifies   bool // it is a notification: answered by 9013, nothing is executed
}

// Commands are those that a host may send: HJ 212-2017, table 9. A command that
// writes is for authorised people only, and for the audit; that is the caller's
// part. After 1072 the device's registered password must be changed too.
func Commands() []CommandKind {
	return []CommandKind{
		{CN: "1000", ZH: "设置超时时间及重发次数", EN: "set time-out and repeats", Writes: true},
		{CN: "1011", ZH: "提取现场机时间", EN: "read the time"},
		{CN: "1012", ZH: "设置现场机时间", EN: "set the time", Writes: true},
		{CN: "1061", ZH: "提取实时数据间隔", EN: "read the real-time interval"},
		{CN: "1062", ZH: "设置实时数据间隔", EN: "set the real-time interval", Writes: true},
		{CN: "1063", ZH: "提取分钟数据间隔", EN: "read the minute interval"},
		{CN: "1064", ZH: "设置分钟数据间隔", EN: "set the minute interval", Writes: true},
		{CN: "1072", ZH: "设置现场机密码", EN: "set the password", Writes: true},
		{CN: "2011", ZH: "取污染物实时数据", EN: "read real-time data"},
		{CN: "2012", ZH: "停止察看实时数据", EN: "stop real-time data", Notifies: true},
		{CN: "2021", ZH: "取设备运行状态数据", EN: "read the state of equipment"},
		{CN: "2022", ZH: "停止察看设备运行状态", EN: "stop the state of equipment", Notifies: true},
		{CN: "2031", ZH: "取污染物日历史数据", EN: "read day data"},
		{CN: "2041", ZH: "取设备运行时间日历史数据", EN: "read running times by day"},
		{CN: "2051", ZH: "取污染物分钟数据", EN: "read minute data"},
		{CN: "2061", ZH: "取污染物小时数据", EN: "read hour data"},
		{CN: "3011", ZH: "零点校准量程校准", EN: "calibrate zero and span", Writes: true},
		{CN: "3012", ZH: "即时采样", EN: "sample now", Writes: true},
		{CN: "3013", ZH: "启动清洗或反吹", EN: "clean or blow back", Writes: true},
		{CN: "3014", ZH: "比对采样", EN: "sample for comparison", Writes: true},
		{CN: "3015", ZH: "超标留样", EN: "keep a sample on exceedance", Writes: true},
		{CN: "3016", ZH: "设置采样时间周期", EN: "set the sampling cycle", Writes: true},
		{CN: "3017", ZH: "提取采样时间周期", EN: "read the sampling cycle"},
		{CN: "3018", ZH: "提取出样时间", EN: "read the time a sample takes"},
		{CN: "3019", ZH: "提取设备唯一标识", EN: "read the instrument's identity"},
		{CN: "3020", ZH: "提取现场机信息", EN: "read information"},
		{CN: "3021", ZH: "设置现场机参数", EN: "set parameters", Writes: true},
	}
}

// Request sends a command to a device's logger and waits for its answer: 9011,
// then data if there are any, then 9012; or 9013 alone. Data that come are
// recorded like all others, too: history that the logger had kept is late data.
// It sends again while nothing is answered. It returns Problems of kind
// ErrInvalid for a command that does not exist or that the logger refuses, and
// of kind ErrUnavailable where the logger is not connected, does not answer in
// time or could not do it.
func (h *Host) Request(ctx context.Context, device string, c Command) (Result, error) {
	h.mu.Lock()
	var s *session
	for _, other := range h.by {
		if other.device == device {
			s = other
			break
		}
	}
	h.mu.Unlock()
	if s == nil {
		return Result{}, offline()
	}
	return s.request(ctx, c)
}

// renewing lets the logger send by the password that c gives it, until the
// registered one changes, which ends the connection.
func (s *session) renewing(c *Command) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, item := range c.CP {
		for _, f := range item {
			if f.Name == "NewPW" {
				s.fresh = f.Value
			}
		}
	}
}

// renewed says whether pw is what the logger was given.
func (s *session) renewed(pw string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fresh != "" && subtle.ConstantTimeCompare([]byte(s.fresh), []byte(pw)) == 1
}

// exchange is a command under way.
type exchange struct {
	session *session
	kind    CommandKind
	frame   []byte
	answers chan *wire.Packet
	result  Result
	sent    time.Time // when it was last sent; zero once its first answer has come
	started bool      // 9011 has come
}

func (s *session) request(ctx context.Context, c Command) (Result, error) {
	all := Commands()
	at := slices.IndexFunc(all, func(k CommandKind) bool { return k.CN == c.CN })
	if at < 0 {
		return Result{}, devices.Invalid("cn", "unknown_command", "没有命令 "+wire.Quote(c.CN)+"；请选择 1011 至 3021 中的命令", "there is no command "+wire.Quote(c.CN)+"; choose one of 1011 to 3021")
	}
	l := s.host.logger(s.mn)
	if l == nil {
		return Result{}, offline()
	}
	x := &exchange{session: s, kind: all[at], answers: make(chan *wire.Packet, 64)}
	if problem := x.prepare(l, &c); problem != nil {
		return Result{}, problem
	}
	s.await(x)
	defer s.forget(x)
	if c.CN == cmdSetPassword {
		s.renewing(&c)
	}
	for range max(c.ReCount, 0) + 1 {
		x.sent = time.Now()
		if err := s.send(x.frame); err != nil {
			return x.result, offline()
		}
		done, err := x.wait(ctx, c.OverTime)
		if done || err != nil {
			return x.result, err
		}
	}
	return x.result, &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "no_answer",
		ZH: fmt.Sprintf("数采仪在 %s 内没有应答，已重发 %d 次；请检查数采仪是否支持命令 %s", c.OverTime, max(c.ReCount, 0), c.CN),
		EN: fmt.Sprintf("the logger did not answer within %s, %d repeats; see whether it knows command %s", c.OverTime, max(c.ReCount, 0), c.CN),
	}
}

// prepare fills in what c leaves open and makes the frame.
func (x *exchange) prepare(l *logger, c *Command) error {
	s := x.session
	if c.OverTime == 0 {
		c.OverTime = s.host.cfg.OverTime
	}
	if c.ReCount == 0 {
		c.ReCount = s.host.cfg.ReCount
	}
	x.result.QN = s.host.newQN()
	s.mu.Lock()
	p := wire.Packet{QN: x.result.QN, ST: c.ST, CN: c.CN, PW: l.device.Password.Reveal(), MN: s.mn, Flag: s.flag | 1, CP: c.CP}
	if p.ST == "" {
		p.ST = s.st
	}
	s.mu.Unlock()
	switch l.settings.Version {
	case wire.Version2005:
		p.Flag = 1
	case wire.Version2017:
		p.Flag = 1<<2 | 1
	case wire.Version2025:
		p.Flag = 2<<2 | 1
	}
	// What was written must read back as it was meant: no value may end its field.
	x.frame = p.Append(nil, nil)
	check := wire.Decoder{}
	_, _ = check.Write(x.frame)
	f, ok := check.Next()
	if !ok || f.Refused != nil || !slices.EqualFunc(f.Packet.CP, c.CP, slices.Equal[wire.Item]) {
		return devices.Invalid("cp", "bad_content", "命令内容不合规：名称和值不得含 ; , = &，总长不超过 1024 字节", "the command's content is not allowed: names and values hold none of ; , = &, and all of it has at most 1024 bytes")
	}
	x.frame = p.Append(nil, l.cipher)
	return nil
}

// wait takes answers until the command is done, or nothing more comes in time.
func (x *exchange) wait(ctx context.Context, overTime time.Duration) (done bool, err error) {
	timer := time.NewTimer(overTime)
	defer timer.Stop()
	for {
		select {
		case p := <-x.answers:
			x.metered()
			if done, err = x.take(p); done || err != nil {
				return done, err
			}
			timer.Reset(overTime)
		case <-x.session.ended:
			return false, offline()
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-timer.C:
			if x.started {
				return false, &devices.Problem{
					Kind: devices.ErrUnavailable, Code: "not_finished",
					ZH: "数采仪接受了命令，但未在时限内返回执行结果；请稍后查看数据或重试", EN: "the logger took the command but did not tell its result in time; look at the data later or try again",
				}
			}
			return false, nil
		}
	}
}

// metered tells a sink that wants to know it how long the logger took for its
// first answer.
func (x *exchange) metered() {
	h := x.session.host
	h.mu.Lock()
	meter, ok := h.sink.(devices.Meter)
	h.mu.Unlock()
	if ok && !x.sent.IsZero() {
		meter.Answered(x.session.device, time.Since(x.sent))
	}
	x.sent = time.Time{}
}

// take reads one packet of the answer.
func (x *exchange) take(p *wire.Packet) (done bool, err error) {
	switch p.CN {
	case cmdRequested:
		x.started = true
		return false, refusal(p, "QnRtn", qnReturns, devices.ErrInvalid)
	case cmdExecuted:
		return true, refusal(p, "ExeRtn", exeReturns, devices.ErrUnavailable)
	case cmdNotified:
		return x.kind.Notifies, nil
	case cmdReceived:
		return false, nil
	default:
		x.started = true
		x.result.Packets = append(x.result.Packets, p)
		return false, nil
	}
}

// await registers that x waits for its answers.
func (s *session) await(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[x.result.QN] = x
}

// forget ends what await begins.
func (s *session) forget(x *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, x.result.QN)
}

// deliver gives p to the command that it answers, and says whether there is
// one. A packet beyond those that a command can take is recorded all the same.
func (s *session) deliver(p *wire.Packet) bool {
	qn := p.QN
	if v := p.Value("QN"); v != "" { // loggers of 2005 name it in the area
		qn = v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.pending[qn]
	if x == nil || !x.answeredBy(p.CN) {
		return false
	}
	select {
	case x.answers <- p:
	default:
	}
	return true
}

// answeredBy says whether packets of cn may answer the command: both sides make
// QNs of their clocks' milliseconds, so that what the logger sends by itself at
// that moment has the same.
func (x *exchange) answeredBy(cn string) bool {
	switch cn {
	case cmdRequested, cmdExecuted, cmdNotified, cmdReceived, x.kind.CN:
		return true
	}
	return false
}

// newQN gives the QN of a command, later than that of the one before.
func (h *Host) newQN() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	qn := wire.FormatQN(now)
	for qn <= h.lastQN {
		now = now.Add(time.Millisecond)
		qn = wire.FormatQN(now)
	}
	h.lastQN = qn
	return qn
}

// words say what a code means.
type words struct{ zh, en string }

// The codes of 9011 and 9012 (HJ 212-2017, tables 7 and 8).
var (
	qnReturns = map[string]words{
		"2": {"请求被拒绝", "the request is refused"}, "3": {"密码 PW 错误", "PW is wrong"}, "4": {"MN 错误", "MN is wrong"},
		"5": {"ST 错误", "ST is wrong"}, "6": {"Flag 错误", "Flag is wrong"}, "7": {"QN 错误", "QN is wrong"},
		"8": {"CN 错误", "CN is wrong"}, "9": {"CRC 校验错误", "CRC is wrong"}, "100": {"未知错误", "an unknown fault"},
	}
	exeReturns = map[string]words{
		"2": {"执行失败，原因未知", "it failed"}, "3": {"命令请求条件错误", "the request's condition is wrong"}, "4": {"通讯超时", "the instrument's answer timed out"},
		"5": {"系统繁忙", "the system is busy"}, "6": {"系统故障", "the system has a fault"}, "100": {"没有数据", "there are no data"},
	}
)

// refusal gives the problem that a code tells of, nil for 1.
func refusal(p *wire.Packet, name string, meanings map[string]words, kind error) error {
	code := p.Value(name)
	if code == strconv.Itoa(returnReady) {
		return nil
	}
	m, ok := meanings[code]
	if !ok {
		m = words{"返回代码 " + wire.Quote(code), "it returned " + wire.Quote(code)}
	}
	return &devices.Problem{
		Kind: kind, Code: "logger_refused", Field: name,
		ZH: "数采仪未完成命令：" + m.zh + "；请核对命令与数采仪的设置", EN: "the logger did not carry out the command: " + m.en + "; check the command and the logger's settings",
	}
}
