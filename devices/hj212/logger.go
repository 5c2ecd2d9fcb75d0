package hj212

import (
	"bytes"
	"crypto/sha256"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// remembered is how many packets of a logger are known again when they are
// repeated; a packet a second makes it four minutes.
const remembered = 256

// logger is what the host knows of a registered data logger.
type logger struct {
	device   devices.Device
	settings devices.HJ212Settings
	pw       [sha256.Size]byte
	secrets  [sha256.Size]byte // of password and key together
	cipher   *wire.Cipher      // nil where its area is plain
	bounds   []devices.Bound
	places   map[devices.FactorPlace][]spot // by canonical code
	topic    string                         // of its dead letters
	frames   *frames                        // what it sent last; outlives the logger

	mu     sync.Mutex
	faulty map[string]string // points whose last value could not be read, with the code of the reason
	lonely map[devices.FactorPlace]*lonely
	recent [remembered]uint64
	next   int       // where the next packet is remembered
	split  time.Time // DataTime of the packets of one exchange, for those that leave it out
}

// spot is a point at a place of a logger's packets.
type spot struct {
	point, site string
	conversion  devices.Conversion
}

func newLogger(c *Client) (*logger, error) {
	l := &logger{
		device: c.Device, bounds: c.Bounds, pw: sha256.Sum256([]byte(c.Device.Password.Reveal())),
		places: make(map[devices.FactorPlace][]spot), faulty: make(map[string]string),
		lonely: make(map[devices.FactorPlace]*lonely), frames: &frames{},
	}
	var ps devices.Problems
	if c.Device.HJ212 == nil {
		ps.Add(devices.Invalid("hj212.mn", "missing", "请填写数采仪的设备唯一标识 MN", "give the logger's identity MN"))
	} else {
		l.settings = *c.Device.HJ212
	}
	l.topic = "hj212/" + l.settings.MN
	l.secrets = sha256.Sum256([]byte(c.Device.Password.Reveal() + "\x00" + l.settings.SM4Key.Reveal()))
	if key := l.settings.SM4Key; key != "" {
		var err error
		if l.cipher, err = wire.NewCipher(key); err != nil {
			ps = append(ps, devices.AllProblems(err)...)
		}
	}
	for i := range c.Bounds {
		b := &c.Bounds[i]
		if b.Binding.Factor == nil {
			ps.Add(devices.Invalid("factor.code", "missing", "绑定“"+b.Binding.ID+"”没有因子编码", "binding "+b.Binding.ID+" has no factor code"))
			continue
		}
		place := b.Binding.Factor.Full()
		place.Code = l.code(place.Code)
		l.places[place] = append(l.places[place], spot{b.Point.ID, b.Site, b.Binding.Conversion()})
	}
	return l, ps.Err()
}

// code gives the code under which a factor of this logger is looked for.
func (l *logger) code(code string) string {
	if l.settings.Version == "" || l.settings.Version == wire.Version2005 {
		return wire.Canonical(code)
	}
	return strings.ToLower(code)
}

// key names a packet: a second one with the same key is a repeat. It is made of
// MN, QN, CN, PNO and the data area, so that the marks of a repetition in the
// header do not count.
func (l *logger) key(p *wire.Packet) uint64 {
	var d xxhash.Digest
	d.Reset()
	for _, s := range [...]string{p.MN, p.QN, p.CN, strconv.Itoa(p.PNO)} {
		_, _ = d.WriteString(s)
		_, _ = d.WriteString("\x00")
	}
	for _, item := range p.CP {
		for _, f := range item {
			if f.Name != "RF" {
				_, _ = d.WriteString(f.Name + "=" + f.Value + ",")
			}
		}
		_, _ = d.WriteString(";")
	}
	return d.Sum64()
}

// first remembers a packet, and says whether it was not remembered before: a
// repeat is on disk when its first coming is.
func (l *logger) first(key uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range l.recent {
		if k == key {
			return false
		}
	}
	l.recent[l.next] = key
	l.next = (l.next + 1) % remembered
	return true
}

// forget takes back that a packet was remembered: it could not be stored.
func (l *logger) forget(key uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, k := range l.recent {
		if k == key {
			l.recent[i] = 0
		}
	}
}

// origin of a packet. since is when its connection began: what was begun
// before may have been sent before.
func (l *logger) origin(p *wire.Packet, key uint64, since time.Time) devices.Origin {
	o := devices.Origin{Device: l.device.ID, Hash: key, Resent: p.Resent}
	if p.QN == "" {
		return o
	}
	o.ID = p.QN + "/" + p.CN
	if p.PNO > 0 {
		o.ID += "/" + strconv.Itoa(p.PNO)
	}
	if begun, ok := wire.ParseTime(p.QN); ok && begun.Before(since) {
		o.Resent = true
	}
	return o
}

// opened is what a packet brings.
type opened struct {
	readings []devices.Reading
	problem  *devices.Problem // of a dead letter
	reports  []devices.Report
	unbound  []devices.FactorPlace // places with values that no point is bound to
}

// open reads the values of a data packet. Units are those of the points: what a
// code's unit is by the standard does not matter.
func (l *logger) open(p *wire.Packet, received time.Time) opened {
	kind, ok := kinds[p.CN]
	if !ok {
		return opened{}
	}
	v := values{l: l, kind: kind, received: received, all: p.CP}
	if v.at, ok = l.dataTime(p); !ok {
		if len(p.CP) == 0 {
			return opened{}
		}
		v.out.problem = devices.Invalid("datatime", "no_time", "数据包没有 DataTime，无法确定数据时间；请检查数采仪", "the packet has no DataTime and so no time of its values; check the logger")
		return v.out
	}
	for _, item := range p.CP {
		v.item(item)
	}
	v.changes()
	return v.out
}

// dataTime gives the time of a packet's values. The later packets of one
// exchange may leave it out.
func (l *logger) dataTime(p *wire.Packet) (time.Time, bool) {
	at, ok := wire.ParseTime(p.Value("DataTime"))
	if p.PNUM == 0 {
		return at, ok
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !ok && p.PNO > 1 {
		return l.split, !l.split.IsZero()
	}
	l.split = at
	return at, ok
}

// values collects what one packet says.
type values struct {
	l        *logger
	kind     string
	all      []wire.Item // of the packet
	at       time.Time
	received time.Time
	out      opened
	read     []string          // points with a value
	faults   []devices.Report  // of one point each
	told     map[string]string // their codes, by point
}

// item reads the properties of one factor, which share mark and sample time.
func (v *values) item(item wire.Item) {
	for _, f := range item {
		code, field, ok := wire.SplitName(f.Name)
		if !ok || wire.IsAttribute(field) {
			continue
		}
		spots := v.l.places[devices.FactorPlace{Code: v.l.code(code), Kind: v.kind, Field: field}]
		number, err := strconv.ParseFloat(strings.TrimSpace(f.Value), 64)
		fine := err == nil && !math.IsNaN(number) && !math.IsInf(number, 0)
		if len(spots) == 0 {
			if fine {
				v.out.unbound = append(v.out.unbound, devices.FactorPlace{Code: code, Kind: v.kind, Field: field})
			}
			continue
		}
		mark := wire.Mark(v.attribute(item, code, "-Flag"))
		for i := range spots {
			if !fine {
				v.fault(spots[i].point, f, mark)
				continue
			}
			sampled, _ := wire.ParseTime(v.attribute(item, code, "-SampleTime"))
			v.reading(&spots[i], number, mark, v.when(sampled))
		}
	}
}

// attribute gives a property of a factor that is no value, such as its mark:
// that of the same item, else, since some loggers put a semicolon where a comma
// belongs, that of another.
func (v *values) attribute(item wire.Item, code, name string) string {
	for _, in := range [...][]wire.Item{{item}, v.all} {
		for _, other := range in {
			for _, f := range other {
				if len(f.Name) == len(code)+len(name) && strings.HasPrefix(f.Name, code) && strings.HasSuffix(f.Name, name) {
					return f.Value
				}
			}
		}
	}
	return ""
}

// mostSampleAge is how long before DataTime an analyser may have taken its
// sample; what claims more is not believed.
const mostSampleAge = 24 * time.Hour

// when gives the time of a value: real-time values of an analyser that works in
// cycles were true when the sample was taken.
func (v *values) when(sampled time.Time) time.Time {
	if v.kind != devices.KindRealtime || sampled.IsZero() || sampled.After(v.at) || v.at.Sub(sampled) > mostSampleAge {
		return v.at
	}
	return sampled
}

func (v *values) reading(s *spot, number float64, mark string, at time.Time) {
	value := s.conversion.Value(number)
	if math.IsInf(value, 0) || math.IsNaN(value) {
		v.fault(s.point, wire.Field{Name: s.point, Value: strconv.FormatFloat(number, 'g', -1, 64)}, mark)
		return
	}
	v.read = append(v.read, s.point)
	v.out.readings = append(v.out.readings, devices.Reading{
		Site: s.site, Point: s.point, Value: value, At: at.UTC(), Quality: devices.QualityOf(mark), Mark: mark,
	})
}

// fault tells that a point has no value. Where the mark says why, that is no
// fault of the packet.
func (v *values) fault(point string, f wire.Field, mark string) {
	field := strings.ToValidUTF8(f.Name[:min(len(f.Name), 64)], "?") // a logger may name it as it likes
	problem := devices.Invalid(field, "bad_number",
		"数采仪发送的 "+wire.Quote(f.Name)+" 不是数值："+wire.Quote(f.Value)+"；请检查数采仪的输出", "the logger sends "+wire.Quote(f.Value)+" for "+wire.Quote(f.Name)+", which is no number; check the logger's output")
	if devices.QualityOf(mark) != devices.Good {
		problem = devices.Invalid(field, "value_missing",
			"数采仪没有给出 "+wire.Quote(f.Name)+" 的数值，数据标记为 "+mark+"；请检查仪表", "the logger gives no value for "+wire.Quote(f.Name)+", its mark is "+mark+"; check the instrument")
	} else if v.out.problem == nil {
		v.out.problem = problem
	}
	if v.told == nil {
		v.told = make(map[string]string)
	}
	if v.told[point] == "" {
		v.told[point] = problem.Code
		v.faults = append(v.faults, devices.Report{Device: v.l.device.ID, Points: []string{point}, At: v.received, Problem: problem})
	}
}

// changes tells which points have become unreadable or readable again.
func (v *values) changes() {
	l := v.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.faulty) > 0 {
		var better []string
		for _, p := range v.read {
			if l.faulty[p] != "" && v.told[p] == "" {
				delete(l.faulty, p)
				better = append(better, p)
			}
		}
		if len(better) > 0 {
			v.out.reports = append(v.out.reports, devices.Report{Device: l.device.ID, Points: better, At: v.received})
		}
	}
	for _, r := range v.faults {
		if p := r.Points[0]; l.faulty[p] != r.Problem.Code {
			l.faulty[p] = r.Problem.Code
			v.out.reports = append(v.out.reports, r)
		}
	}
}

// takes says whether the logger may send as p's kind of system.
func (l *logger) takes(p *wire.Packet) bool {
	return len(l.settings.ST) == 0 || p.ST == stSystem || slices.Contains(l.settings.ST, p.ST)
}

// delivery puts together what a frame of this logger brought.
func (l *logger) delivery(o devices.Origin, raw []byte, received time.Time, out opened) devices.Delivery {
	d := devices.Delivery{Origin: o, Received: received, Readings: out.readings}
	if out.problem != nil {
		d.Letter = &devices.DeadLetter{Topic: l.topic, Payload: bytes.Clone(raw), Problem: out.problem}
	}
	return d
}

// Reread reads a frame again that became a dead letter, by the settings and
// bindings of c as they are now; readings are of the time that it states. Its
// password had been taken out and is that of c: after a change of password its
// CRC no longer fits. What is still not understood is
// told by the Problem, and the delivery has what could be read all the same.
func Reread(c Client, frame []byte, received time.Time) (devices.Delivery, *devices.Problem) {
	l, _ := newLogger(&c) // faulty bindings are left out, and told by the registry
	d := wire.Decoder{Tolerant: l.settings.Tolerant, Key: func(string) *wire.Cipher { return l.cipher }}
	_, _ = d.Write(bytes.Replace(frame, []byte(scrubbed), []byte("PW="+c.Device.Password.Reveal()), 1)) // it never fails
	d.End()
	f, ok := d.Next()
	switch {
	case !ok:
		return devices.Delivery{}, wire.Truncated()
	case f.Packet == nil || f.Refused != nil:
		return devices.Delivery{}, f.Refused
	case f.Packet.MN != l.settings.MN:
		return devices.Delivery{}, foreignMN(f.Packet.MN)
	case !l.takes(f.Packet):
		return devices.Delivery{}, foreignST(f.Packet.ST)
	}
	out := l.open(f.Packet, received)
	return devices.Delivery{Origin: devices.Origin{Device: l.device.ID}, Received: received, Readings: out.readings}, out.problem
}

// kinds gives the kind of data that a command carries.
var kinds = map[string]string{
	cmdRealtime: devices.KindRealtime, cmdState: devices.KindRealtime, cmdStateStop: devices.KindRealtime,
	cmdMinute: devices.KindMinute, cmdHour: devices.KindHour,
	cmdDay: devices.KindDay, cmdRunning: devices.KindDay,
}
