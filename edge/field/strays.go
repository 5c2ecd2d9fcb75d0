package field

import (
	"context"
	"net"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/broker"
)

// straysEvery is how often the listeners are asked for what nothing is bound to.
const straysEvery = time.Second

// mostDetails bounds the rows that one device can fill; what it sends under
// further topics or factors shares a row.
const (
	mostDetails  = 64
	otherDetails = "…"
)

// topics is the embedded broker as Strays asks it; see devices/mqtt/broker.
type topics interface {
	Unbound() []broker.Unbound
}

// packets is the host for data loggers as Strays asks it; see devices/hj212.
type packets interface {
	Notes() []hj212.Note
}

// Strays tells what devices send that nothing is bound to, that is not theirs,
// or that comes from nobody who is registered.
type Strays struct {
	notes   notes
	topics  topics
	packets packets // nil where no logger can connect
	told    map[strayKey]int64
	rows    map[string]map[string]bool // by subject: details with a row of their own
}

// strayKey is what a listener counts by.
type strayKey struct{ origin, detail string }

// stray is one of the things that a listener counts since it first heard of it.
type stray struct {
	strayKey
	subject string // of the loss
	at      time.Time
	count   int64
	why     *devices.Problem
}

// NewStrays gives Strays that asks the listeners while it runs. p may be nil.
func NewStrays(n notes, t topics, p packets) *Strays {
	return &Strays{notes: n, topics: t, packets: p, told: map[strayKey]int64{}, rows: map[string]map[string]bool{}}
}

// Run asks until ctx ends.
func (s *Strays) Run(ctx context.Context) error {
	ticker := time.NewTicker(straysEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			heard := ofTopics(s.topics.Unbound())
			if s.packets != nil {
				heard = append(heard, ofPackets(s.packets.Notes())...)
			}
			s.tell(heard)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tell tells what is new in heard.
func (s *Strays) tell(heard []stray) {
	told := make(map[strayKey]int64, len(heard))
	for _, h := range heard {
		before := s.told[h.strayKey]
		if h.count < before { // the listener had forgotten it
			before = 0
		}
		told[h.strayKey] = h.count
		if h.count > before {
			s.notes.Unbound(h.subject, s.row(h.subject, h.detail), h.at, h.count-before, h.why)
		}
	}
	s.told = told
}

// row gives the detail of the row that takes it.
func (s *Strays) row(subject, detail string) string {
	rows := s.rows[subject]
	if rows == nil {
		rows = map[string]bool{}
		s.rows[subject] = rows
	}
	if !rows[detail] && len(rows) >= mostDetails {
		return otherDetails
	}
	rows[detail] = true
	return detail
}

func ofTopics(list []broker.Unbound) []stray {
	strays := make([]stray, len(list))
	for i, u := range list {
		strays[i] = stray{strayKey{u.Device, u.Topic}, "device/" + u.Device, u.At, u.Count, unboundProblem(u)}
	}
	return strays
}

func ofPackets(list []hj212.Note) []stray {
	strays := make([]stray, len(list))
	for i, n := range list {
		subject := "device/" + n.Device
		if n.Device == "" {
			subject = "gateway"
		}
		strays[i] = stray{strayKey{n.Device + " " + n.MN + " " + n.Problem.Code, noteDetail(n)}, subject, n.At, n.Count, n.Problem}
	}
	return strays
}

// noteDetail says which factor, or whose packets.
func noteDetail(n hj212.Note) string {
	if n.Problem.Code == hj212.CodeUnknownFactor {
		return n.Detail
	}
	if n.MN != "" {
		return "MN=" + n.MN
	}
	host, _, _ := net.SplitHostPort(n.Remote) // the port is another each time
	return host
}

func unboundProblem(u broker.Unbound) *devices.Problem {
	if u.Forbidden {
		return devices.Invalid("topic", "foreign_topic",
			"设备 "+u.Device+" 向不属于它的主题 "+u.Topic+" 发布，报文未被采用；请在设备上改为 offsite/"+u.Device+"/ 下的主题，或为该主题添加绑定",
			"device "+u.Device+" publishes to topic "+u.Topic+", which is not its own, and nothing is taken from it; set the device to a topic below offsite/"+u.Device+"/, or add a binding with this topic")
	}
	return devices.Invalid("topic", "unknown_topic",
		"设备 "+u.Device+" 的主题 "+u.Topic+" 没有绑定测点，报文未被记录；请为该主题添加绑定，或更正设备的主题",
		"no point is bound to topic "+u.Topic+" of device "+u.Device+" and nothing is recorded from it; add a binding with this topic, or correct the topic in the device")
}
