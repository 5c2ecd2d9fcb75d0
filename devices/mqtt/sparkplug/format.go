// Package sparkplug reads Sparkplug B (Eclipse Sparkplug 3.0): protocol buffers
// on topics such as
//
//	spBv1.0/{group}/{NBIRTH NDATA NDEATH DBIRTH DDATA DDEATH}/{edge node}[/{device}]
//
// A birth names all metrics of an edge node or device, gives each its datatype
// and perhaps an alias; data messages then bring those that have changed, by
// name or alias. A death says that the node, with its devices, or one device has
// gone; the death of an earlier session (its bdSeq is not the birth's) says
// nothing. The messages of a node are numbered 0 to 255 and round again: a gap
// is told, and a node whose births were missed is asked for them by the command
// Node Control/Rebirth, at most once in ten seconds.
//
// Numbers and truth values are read; text, data sets, templates and arrays have
// names but no number. A metric whose property Quality is not 192 is invalid.
// Times are those of the metric, else those of the payload.
package sparkplug

import (
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Bounds of what is remembered.
const (
	mostNodes = 256
	mostNames = mostMetrics // of one node with its devices
	askAgain  = 10 * time.Second
)

// rebirth is the metric by which a node is asked for its births.
const rebirth = "Node Control/Rebirth"

// Format reads the messages of one session and remembers the births.
type Format struct {
	nodes map[string]*node // by "group/edge"
}

var _ payload.Format = (*Format)(nil)

// New gives a Format, for [payload.Formats].
func New() payload.Format { return &Format{nodes: make(map[string]*node)} }

// node is an edge node.
type node struct {
	born    bool
	bdSeq   float64 // of the birth; -1 when it said none
	seq     uint64  // of the last message
	asked   time.Time
	aliases map[uint64]metric
	types   map[string]Datatype // by "device\x00name"
}

type metric struct {
	device, name string
	datatype     Datatype
}

// address is a topic in its parts.
type address struct{ group, verb, edge, device string }

// parseTopic reads a topic.
func parseTopic(topic string) (a address, ok bool) {
	parts := strings.Split(topic, "/")
	if len(parts) < 4 || len(parts) > 5 || parts[0] != "spBv1.0" {
		return a, false
	}
	a = address{group: parts[1], verb: parts[2], edge: parts[3]}
	if len(parts) == 5 {
		a.device = parts[4]
	}
	return a, true
}

// scope is the filter of the bindings to the address itself.
func (a address) scope() string {
	if a.device == "" {
		return "spBv1.0/" + a.group + "/+/" + a.edge
	}
	return "spBv1.0/" + a.group + "/+/" + a.edge + "/" + a.device
}

// all is the filter of the bindings to the node and its devices.
func (a address) all() string { return "spBv1.0/" + a.group + "/+/" + a.edge + "/#" }

// Read gives what a message holds. With a Problem there may be samples
// nevertheless: those whose names are known.
func (f *Format) Read(topic string, message []byte, received time.Time) (payload.Sheet, *devices.Problem) {
	a, ok := parseTopic(topic)
	if !ok {
		return payload.Sheet{}, devices.Invalid("topic", "bad_topic",
			"主题 "+topic+" 不是 Sparkplug B 主题；须形如 spBv1.0/组/NDATA/边缘节点/设备", "topic "+topic+" is none of Sparkplug B; want spBv1.0/group/NDATA/edge/device")
	}
	if wantsDevice, known := verbs[a.verb]; !known || wantsDevice != (a.device != "") {
		return payload.Sheet{}, nil // commands, and what later versions add
	}
	if len(message) > maxPayload {
		return payload.Sheet{}, devices.Invalid("payload", "too_large", "Sparkplug 报文超过 1 MiB；请在边缘节点上减少测点", "the Sparkplug message has more than 1 MiB; have the edge node send fewer metrics")
	}
	p, err := Parse(message)
	if err != nil {
		problem := devices.Invalid("payload", "bad_sparkplug", "报文不是 Sparkplug B（"+err.Error()+"）；请核对设备的报文格式", "the message is not Sparkplug B ("+err.Error()+"); check the device's message format")
		problem.Cause = err
		return payload.Sheet{}, problem
	}
	n := f.node(a)
	switch a.verb {
	case "NBIRTH":
		return n.nodeBorn(a, p)
	case "NDEATH":
		return n.nodeDied(a, p), nil
	}
	sheet := payload.Sheet{Scope: a.scope()}
	n.count(a, p, received, &sheet)
	switch a.verb {
	case "DBIRTH":
		problem := n.register(a, p)
		sheet.Life, sheet.Whole = payload.Born, problem == nil
		if problem != nil {
			return sheet, problem
		}
	case "DDEATH":
		sheet.Life = payload.Died
		return sheet, nil
	}
	return n.values(a, p, received, sheet)
}

// verbs are the messages that are read, and whether they name a device.
var verbs = map[string]bool{"NBIRTH": false, "NDATA": false, "NDEATH": false, "DBIRTH": true, "DDATA": true, "DDEATH": true}

// node gives what is known of the edge node; of too many, one is forgotten and
// will be asked for its births.
func (f *Format) node(a address) *node {
	key := a.group + "/" + a.edge
	n := f.nodes[key]
	if n == nil {
		if len(f.nodes) >= mostNodes {
			for other := range f.nodes {
				delete(f.nodes, other)
				break
			}
		}
		n = &node{bdSeq: -1}
		f.nodes[key] = n
	}
	return n
}

func (n *node) nodeBorn(a address, p *Payload) (payload.Sheet, *devices.Problem) {
	asked := n.asked
	*n = node{born: true, bdSeq: bdSeq(p), asked: asked}
	if p.Seq != nil {
		n.seq = *p.Seq
	}
	sheet := payload.Sheet{Life: payload.Born, Scope: a.scope(), Whole: true}
	if problem := n.register(a, p); problem != nil {
		sheet.Whole = false
		return sheet, problem
	}
	return n.values(a, p, time.Time{}, sheet)
}

// bdSeq is the number of the session that a birth begins and a death ends.
func bdSeq(p *Payload) float64 {
	for _, m := range p.Metrics {
		if m.Name == "bdSeq" {
			if v, ok := m.Value.Number(m.Datatype); ok {
				return v
			}
		}
	}
	return -1
}

func (n *node) nodeDied(a address, p *Payload) payload.Sheet {
	if dead := bdSeq(p); n.born && dead >= 0 && n.bdSeq >= 0 && dead != n.bdSeq {
		return payload.Sheet{} // the will of an earlier session
	}
	n.born = false
	return payload.Sheet{Life: payload.Died, Scope: a.all()}
}

// count looks for messages that are missing before this one.
func (n *node) count(a address, p *Payload, received time.Time, sheet *payload.Sheet) {
	if !n.born {
		n.ask(a, received, sheet)
		return
	}
	if p.Seq == nil || *p.Seq == n.seq { // the same number again is a message sent twice
		return
	}
	if missing := (*p.Seq - n.seq - 1) % 256; missing > 0 {
		sheet.Gap = &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "sequence_gap", Field: "seq",
			ZH: fmt.Sprintf("边缘节点 %s/%s 的报文缺 %d 条（序号 %d 之后为 %d），其测点可能停在旧值；已请求重新上报，请检查网络与消息服务器", a.group, a.edge, missing, n.seq, *p.Seq),
			EN: fmt.Sprintf("messages of edge node %s/%s are missing: %d (%d follows %d), so its points may show old values; it was asked to report anew, check the network and the broker", a.group, a.edge, missing, *p.Seq, n.seq),
		}
		sheet.Scope = a.all()
		n.ask(a, received, sheet)
	}
	n.seq = *p.Seq % 256
}

// ask lets the node be asked for its births, not too often.
func (n *node) ask(a address, now time.Time, sheet *payload.Sheet) {
	if !n.asked.IsZero() && now.Sub(n.asked) < askAgain && !now.Before(n.asked) {
		return
	}
	n.asked = now
	sheet.Ask = &payload.Outgoing{Topic: "spBv1.0/" + a.group + "/NCMD/" + a.edge, Payload: askForBirth(now)}
}

// askForBirth writes {timestamp, metrics: [{name, timestamp, datatype, boolean_value}]}.
func askForBirth(now time.Time) []byte {
	at := uint64(max(0, now.UnixMilli()))
	m := append([]byte{1<<3 | bytes, byte(len(rebirth))}, rebirth...)
	m = binary.AppendUvarint(append(m, 3<<3|varint), at)
	m = append(m, 4<<3|varint, byte(Boolean), 14<<3|varint, 1)
	out := binary.AppendUvarint([]byte{1<<3 | varint}, at)
	out = binary.AppendUvarint(append(out, 2<<3|bytes), uint64(len(m)))
	return append(out, m...)
}

// register takes in the names, aliases and datatypes of a birth.
func (n *node) register(a address, p *Payload) *devices.Problem {
	if n.aliases == nil {
		n.aliases, n.types = make(map[uint64]metric), make(map[string]Datatype)
	}
	for _, m := range p.Metrics {
		if m.Name == "" {
			continue
		}
		if len(n.types) >= mostNames || len(n.aliases) >= mostNames {
			return devices.Invalid("payload", "too_many", "边缘节点 "+a.group+"/"+a.edge+" 上报的测点超过 20000 个，其余未采用；请在边缘节点上减少测点",
				"edge node "+a.group+"/"+a.edge+" has more than 20,000 metrics and the rest is not taken; have it send fewer")
		}
		n.types[a.device+"\x00"+m.Name] = m.Datatype
		if m.Alias != nil {
			n.aliases[*m.Alias] = metric{a.device, m.Name, m.Datatype}
		}
	}
	return nil
}

// values gives the samples of a payload.
func (n *node) values(a address, p *Payload, received time.Time, sheet payload.Sheet) (payload.Sheet, *devices.Problem) {
	var unknown []uint64
	for i := range p.Metrics {
		m := &p.Metrics[i]
		name, datatype := m.Name, m.Datatype
		switch {
		case name == "" && m.Alias == nil:
			continue
		case name == "":
			known, ok := n.aliases[*m.Alias]
			if !ok || !n.born || known.device != a.device {
				unknown = append(unknown, *m.Alias)
				continue
			}
			name = known.name
			if datatype == 0 {
				datatype = known.datatype
			}
		case datatype == 0:
			datatype = n.types[a.device+"\x00"+name]
		}
		sheet.Samples = append(sheet.Samples, sample(m, p, name, datatype, sheet.Life == payload.Born))
	}
	if len(unknown) == 0 {
		return sheet, nil
	}
	if sheet.Ask == nil {
		n.ask(a, received, &sheet)
	}
	return sheet, devices.Invalid("alias", "unknown_alias",
		fmt.Sprintf("别名 %d 等 %d 个测点尚未由出生报文说明；已请求边缘节点 %s/%s 重新上报", unknown[0], len(unknown), a.group, a.edge),
		fmt.Sprintf("no birth has told what alias %d is (%d such metrics); edge node %s/%s was asked to report anew", unknown[0], len(unknown), a.group, a.edge))
}

// good is the Quality of a value that can be trusted, Sparkplug 3.0, 6.4.20.
const good = 192

func sample(m *Metric, p *Payload, name string, datatype Datatype, birth bool) payload.Sample {
	s := payload.Sample{Name: name, At: m.Time, Bad: m.Quality != nil && *m.Quality != good}
	if s.At.IsZero() {
		s.At = p.Time
	}
	var number bool
	s.Value, number = m.Value.Number(datatype)
	switch {
	case m.Null && birth:
		s.Null = true // it has no value yet
	case m.Null:
		s.Fault = devices.Invalid(name, "null_value", "测点 "+name+" 上报为空值；请检查仪器", "metric "+name+" has no value; check the instrument")
	case !number:
		s.Fault = devices.Invalid(name, "not_a_number", "测点 "+name+" 的类型为 "+datatype.String()+"，不是数字；请改绑数值测点", "metric "+name+" is of type "+datatype.String()+", not a number; bind a metric that is one")
	}
	return s
}

// Name fills in the names and datatypes that the births so far give to the
// aliases of a payload.
func (f *Format) Name(topic string, p *Payload) {
	a, ok := parseTopic(topic)
	n := f.nodes[a.group+"/"+a.edge]
	if !ok || n == nil {
		return
	}
	for i := range p.Metrics {
		m := &p.Metrics[i]
		if m.Name == "" && m.Alias != nil {
			if known, ok := n.aliases[*m.Alias]; ok && known.device == a.device {
				m.Name = known.name
				if m.Datatype == 0 {
					m.Datatype = known.datatype
				}
			}
		}
	}
}
