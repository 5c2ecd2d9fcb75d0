package payload

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
)

// Message is one MQTT message as it arrived.
type Message struct {
	Topic    string
	Payload  []byte
	ID       string    // packet id; empty for QoS 0
	Received time.Time // by the gateway's clock
	Resent   bool      // DUP was set
	Retained bool      // a broker sent what it had kept, because of a new subscription
}

// Inbox turns the messages of one device into deliveries and remembers which
// points could not be read, so that each change is told once, and what the
// formats of its topics need. Its methods may be called by several goroutines.
type Inbox struct {
	device  string
	mapping *mapping
	status  *devices.StatusTopic // nil when the device has none
	stated  string               // topic of status
	size    int                  // most bytes of a payload; zero means what the formats take

	gone    atomic.Bool  // the status topic said so last
	failing atomic.Int32 // len(faulty), to keep the lock out of the common road
	asking  atomic.Int32 // len(asks)
	mu      sync.Mutex
	formats map[string]Format
	faulty  map[string]string // points that cannot be read, and the code of the reason
	asks    []Outgoing
}

// mostAsks bounds the messages that wait to be published.
const mostAsks = 64

// OpenInbox gives the inbox of dev with these bindings. With faulty bindings it
// gives the Problems and an inbox that knows only the others. Messages of a
// format that formats lacks become dead letters.
func OpenInbox(dev *devices.Device, bounds []devices.Bound, formats Formats) (*Inbox, error) {
	m, err := newMapping(bounds)
	in := &Inbox{device: dev.ID, mapping: m, faulty: make(map[string]string), formats: make(map[string]Format)}
	for name := range m.named {
		if open := formats[name]; open != nil {
			in.formats[name] = open()
		}
	}
	if dev.MQTT != nil {
		in.size = dev.MQTT.Size
	}
	if dev.MQTT != nil && dev.MQTT.Status != nil {
		in.status = dev.MQTT.Status
		in.stated = in.status.Listens(dev.ID)
	}
	return in, err
}

// Filters gives the topic filters to subscribe to, sorted.
func (in *Inbox) Filters() []string {
	filters := in.mapping.Filters()
	if in.status == nil || slices.ContainsFunc(filters, func(f string) bool { return devices.Covers(f, in.stated) }) {
		return filters
	}
	filters = append(filters, in.stated)
	slices.Sort(filters)
	return filters
}

// Bound says whether topic concerns the device: a point is bound to it, or it
// tells whether the device is there.
func (in *Inbox) Bound(topic string) bool {
	return in.mapping.Bound(topic) || (in.status != nil && topic == in.stated)
}

// Names says whether the device has just this topic or filter, rather than a
// wildcard that takes it in.
func (in *Inbox) Names(filter string) bool {
	return in.mapping.names(filter) || (in.status != nil && filter == in.stated)
}

// Covering gives the filters of the device that take in all that filter does.
func (in *Inbox) Covering(filter string) []string {
	var found []string
	for _, f := range in.Filters() {
		if devices.Covers(f, filter) {
			found = append(found, f)
		}
	}
	return found
}

// Points gives the ids of the points that are bound to a topic, or to the
// topics that a filter takes in.
func (in *Inbox) Points(filter string) []string { return in.mapping.points(filter) }

// PointsAt gives the ids of the points that are read from messages on topic.
func (in *Inbox) PointsAt(topic string) []string { return in.mapping.pointsAt(topic) }

// Begin forgets what was told of the device's status: a new session begins, and
// the broker says again what it has kept.
func (in *Inbox) Begin() { in.gone.Store(false) }

// Asks gives the messages that formats want published, and forgets them.
func (in *Inbox) Asks() []Outgoing {
	if in.asking.Load() == 0 {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	asks := in.asks
	in.asks = nil
	in.asking.Store(0)
	return asks
}

// Open decodes m. The reports, seldom any, tell which points have become
// unreadable or readable again by it, and whether the device is there.
func (in *Inbox) Open(m Message) (devices.Delivery, []devices.Report) {
	d := devices.Delivery{
		Origin:   devices.Origin{Device: in.device, ID: m.ID, Hash: Fingerprint(m.Topic, m.Payload), Resent: m.Resent},
		Received: m.Received.UTC(),
	}
	if in.size > 0 && len(m.Payload) > in.size {
		d.Letter = newLetter(m.Topic, m.Payload, devices.Problems{devices.Invalid("payload", "too_large",
			fmt.Sprintf("主题 %s 的报文为 %d 字节，超过该设备允许的 %d 字节（mqtt.size）；请减小报文或放宽限制", m.Topic, len(m.Payload), in.size),
			fmt.Sprintf("the message on topic %s has %d bytes, more than the %d that the device may send (mqtt.size); send less or raise the limit", m.Topic, len(m.Payload), in.size))})
		in.mu.Lock()
		defer in.mu.Unlock()
		return d, in.changes(m.Received, nil, in.mapping.pointsAt(m.Topic), d.Letter)
	}
	if in.status != nil && m.Topic == in.stated {
		reports := in.openStatus(m, &d)
		if in.mapping.Bound(m.Topic) {
			reports = append(reports, in.openValues(m, &d)...)
		}
		return d, reports
	}
	reports := in.openValues(m, &d)
	if in.gone.Load() && !m.Retained && len(d.Readings) > 0 {
		reports = append(in.backAgain(m.Received), reports...)
	}
	return d, reports
}

// openValues fills in the readings and the letter.
func (in *Inbox) openValues(m Message, d *devices.Delivery) (reports []devices.Report) {
	if len(in.mapping.named) > 0 {
		if format := in.mapping.formatOf(m.Topic); format != "" {
			reports = in.openNamed(format, m, d)
			if !in.mapping.has(m.Topic) {
				in.repeated(m, d)
				return reports
			}
		}
	}
	readings, failed, letter := in.mapping.decode(m.Topic, m.Payload, m.Received)
	if d.Readings == nil {
		d.Readings = readings
	} else {
		d.Readings = append(d.Readings, readings...)
	}
	if letter != nil {
		d.Letter = letter
	}
	in.repeated(m, d)
	if letter == nil && in.failing.Load() == 0 {
		return reports
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return append(reports, in.changes(m.Received, readings, failed, letter)...)
}

// repeated marks what a broker had retained.
func (in *Inbox) repeated(m Message, d *devices.Delivery) {
	if m.Retained {
		for i := range d.Readings {
			d.Readings[i].Repeat = true
		}
	}
}

// openNamed reads a message of a format.
func (in *Inbox) openNamed(name string, m Message, d *devices.Delivery) []devices.Report {
	in.mu.Lock()
	defer in.mu.Unlock()
	format, n := in.formats[name], in.mapping.named[name]
	if format == nil {
		d.Letter = newLetter(m.Topic, m.Payload, devices.Problems{devices.Invalid("topic.format", "no_format",
			"本网关不能读取 "+name+" 格式的报文；请升级网关", "this gateway cannot read messages of format "+name+"; update the gateway")})
		return in.changes(m.Received, nil, pointsOf(n.places(m.Topic)), d.Letter)
	}
	sheet, problem := format.Read(m.Topic, m.Payload, m.Received)
	received := m.Received.UTC().Truncate(time.Millisecond)
	readings, failed, faults := n.readings(&sheet, m.Topic, received)
	if problem != nil {
		faults = append(devices.Problems{problem}, faults...)
		if len(sheet.Samples) == 0 {
			failed = pointsOf(n.places(m.Topic))
		}
	}
	for i, p := range faults {
		faults[i] = at(m.Topic, p)
	}
	if len(faults) > 0 {
		d.Letter = newLetter(m.Topic, m.Payload, faults)
	}
	d.Readings = readings
	reports := in.lives(&sheet, n, m.Received)
	if sheet.Ask != nil && len(in.asks) < mostAsks {
		in.asks = append(in.asks, *sheet.Ask)
		in.asking.Store(int32(len(in.asks)))
	}
	return append(reports, in.changes(m.Received, readings, failed, d.Letter)...)
}

// lives tells who has gone, come back or missed something. in.mu is held.
func (in *Inbox) lives(sheet *Sheet, n *named, at time.Time) []devices.Report {
	switch {
	case sheet.Life == Died:
		return in.fail(n.points(sheet.Scope), at, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "device_offline",
			ZH: "设备已离线（收到死亡报文）；请检查设备的电源与网络", EN: "the device has gone (its death was announced); check its power and network",
		})
	case sheet.Gap != nil:
		return in.fail(n.points(sheet.Scope), at, sheet.Gap)
	case sheet.Life == Born:
		return in.heal(n.points(sheet.Scope), at)
	}
	return nil
}

// fail takes note of a reason that concerns points whatever was wrong before.
func (in *Inbox) fail(points []string, at time.Time, p *devices.Problem) []devices.Report {
	points = slices.DeleteFunc(points, func(id string) bool { return in.faulty[id] == p.Code })
	for _, id := range points {
		in.faulty[id] = p.Code
	}
	in.failing.Store(int32(len(in.faulty)))
	if len(points) == 0 {
		return nil
	}
	slices.Sort(points)
	return []devices.Report{{Device: in.device, Points: slices.Compact(points), At: at, Problem: p}}
}

// heal takes note that nothing is wrong with points any more.
func (in *Inbox) heal(points []string, at time.Time) []devices.Report {
	points = slices.DeleteFunc(points, func(id string) bool { _, was := in.faulty[id]; return !was })
	for _, id := range points {
		delete(in.faulty, id)
	}
	in.failing.Store(int32(len(in.faulty)))
	if len(points) == 0 {
		return nil
	}
	return []devices.Report{{Device: in.device, Points: points, At: at}}
}

// changes tells which points have become unreadable or readable again: read are
// the readings of one message, failed its points that could not be read. in.mu
// is held.
func (in *Inbox) changes(at time.Time, read []devices.Reading, failed []string, letter *devices.DeadLetter) []devices.Report {
	var better []string
	for i := range read {
		if _, was := in.faulty[read[i].Point]; was {
			delete(in.faulty, read[i].Point)
			better = append(better, read[i].Point)
		}
	}
	var worse []string
	for _, id := range failed {
		_, was := in.faulty[id]
		if !was && letter != nil && !slices.ContainsFunc(read, func(r devices.Reading) bool { return r.Point == id }) {
			in.faulty[id] = letter.Problem.Code
			worse = append(worse, id)
		}
	}
	in.failing.Store(int32(len(in.faulty)))
	var reports []devices.Report
	if len(better) > 0 {
		reports = append(reports, devices.Report{Device: in.device, Points: better, At: at})
	}
	if len(worse) > 0 {
		reports = append(reports, devices.Report{Device: in.device, Points: worse, At: at, Problem: letter.Problem})
	}
	return reports
}
