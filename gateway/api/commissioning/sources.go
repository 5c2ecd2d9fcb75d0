package commissioning

import (
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/wire"
	"offsite/devices/mqtt/hass"
	"offsite/devices/mqtt/payload"
	"offsite/devices/registry"
	"offsite/gateway/api/contract"
)

// Kinds of a Source.
const (
	sourceHomeAssistant = "home_assistant"
	sourceTopic         = "topic"  // JSON by paths, or a number
	sourceLogger        = "logger" // HJ 212
)

// hearing makes sources of what was heard.
type hearing struct {
	registered *registry.Snapshot
	sees       func(devices.Thing) bool
	device     *devices.Device // that was listened to
}

// own gives the sources of the gateway's own broker.
func (h hearing) own(heard []payload.Heard) []contract.Source {
	list := []contract.Source{}
	for i := range heard {
		dev := h.registered.Devices[heard[i].Device]
		if dev == nil || !h.sees(dev) {
			continue
		}
		of := hearing{h.registered, h.sees, dev}
		list = append(list, of.topic(&heard[i], nil))
	}
	return list
}

// loggers gives the data loggers that speak to the gateway. One that is not
// registered belongs to no site: only who sees them all hears of it.
func (h hearing) loggers(heard []hj212.Heard, seesAll bool) []contract.Source {
	list := []contract.Source{}
	for i := range heard {
		l := &heard[i]
		dev := h.registered.Devices[l.Device]
		if (l.Device == "" && !seesAll) || (l.Device != "" && (dev == nil || !h.sees(dev))) {
			continue
		}
		s := contract.Source{
			Kind: sourceLogger, Name: l.MN, Device: l.Device, Count: l.Count, At: l.At, Sample: l.Sample,
			Problem: contract.ProblemOf(l.Problem), Offers: []contract.SourceOffer{},
		}
		for _, o := range l.Offers {
			q := hj212.QuantityAt(o.Place)
			s.Offers = append(s.Offers, contract.SourceOffer{
				Name: o.Place.Code + "-" + o.Place.Field, Zh: q.ZH, En: q.EN, Place: &o.Place, Value: &o.Value,
				Factor: wire.Canonical(o.Place.Code), Unit: q.Unit, Digits: q.Digits, Points: o.Points,
			})
		}
		list = append(list, s)
	}
	return list
}

// external gives the sources of a broker elsewhere: first those that announce
// themselves, then the topics, without what is announced.
func (h hearing) external(topics *payload.Topics) contract.ListenReport {
	heard, missed := topics.List()
	announced := h.announced(heard, topics)
	claimed := map[devices.Topic]bool{}
	for i := range announced {
		for j := range announced[i].Offers {
			claimed[placeOf(*announced[i].Offers[j].Topic)] = true
		}
	}
	report := contract.ListenReport{Missed: missed, Sources: append([]contract.Source{}, announced...)}
	for i := range heard {
		if hass.Announces(heard[i].Topic) {
			continue
		}
		s := h.topic(&heard[i], claimed)
		if len(s.Offers) > 0 || len(heard[i].Offers) == 0 { // what is announced in full stands above
			report.Sources = append(report.Sources, s)
		}
	}
	return report
}

// placeOf is what two offers of one value have in common.
func placeOf(t devices.Topic) devices.Topic { return devices.Topic{Topic: t.Topic, Path: t.Path} }

func (h hearing) topic(heard *payload.Heard, claimed map[devices.Topic]bool) contract.Source {
	s := contract.Source{
		Kind: sourceTopic, Name: heard.Topic, Device: heard.Device, Topic: heard.Topic, Count: heard.Count, At: heard.At,
		Retained: heard.Retained, Sample: heard.Sample, Offers: []contract.SourceOffer{},
	}
	for _, o := range heard.Offers {
		if claimed[placeOf(o.Topic)] {
			continue
		}
		if o.Topic.Format != "" {
			s.Kind = o.Topic.Format
		}
		says := o.Name
		if o.Topic.Path == "" { // the payload is all there is
			says = heard.Topic
		}
		value := o.Value
		s.Offers = append(s.Offers, h.offer(o.Name, says, o.Unit, o.Topic, &value))
	}
	return s
}

// announced gathers what devices say of themselves by Home Assistant's
// discovery, a source for each of them.
func (h hearing) announced(heard []payload.Heard, topics *payload.Topics) []contract.Source {
	var list []contract.Source
	for i := range heard {
		said, problem := hass.Read(heard[i].Topic, topics.Payload(heard[i].Topic))
		if problem != nil {
			continue // not of discovery, or nothing that could be read
		}
		for _, v := range said {
			name := v.Device
			if name == "" {
				name = v.Topic.Topic
			}
			at := slices.IndexFunc(list, func(s contract.Source) bool { return s.Name == name && sameStatus(s.Status, v.Status) })
			if at < 0 {
				at = len(list)
				list = append(list, contract.Source{Kind: sourceHomeAssistant, Name: name, Status: v.Status, Offers: []contract.SourceOffer{}})
			}
			list[at].Offers = append(list[at].Offers, h.announcement(&v, topics))
			list[at].Count += heard[i].Count
			if heard[i].At.After(list[at].At) {
				list[at].At = heard[i].At
			}
		}
	}
	slices.SortStableFunc(list, func(x, y contract.Source) int { return strings.Compare(x.Name, y.Name) })
	return list
}

func sameStatus(x, y *devices.StatusTopic) bool { return x == y || (x != nil && y != nil && *x == *y) }

func (h hearing) announcement(v *hass.Source, topics *payload.Topics) contract.SourceOffer {
	var now *float64
	if value, ok := topics.Try(v.Topic); ok && v.Problem == nil {
		now = &value
	}
	says := v.Class
	if says == "" {
		says = v.Name
	}
	o := h.offer(v.Name, says, v.Unit, v.Topic, now)
	o.Problem = contract.ProblemOf(v.Problem)
	return o
}

// offer tells of a value at a place, by what its sender calls it.
func (h hearing) offer(name, says, unit string, place devices.Topic, value *float64) contract.SourceOffer {
	q := payload.GuessQuantity(says, unit)
	return contract.SourceOffer{Name: name, Topic: &place, Value: value, Factor: q.Factor, Unit: q.Unit, Digits: q.Digits, Points: h.boundTo(place)}
}

// boundTo gives the points that a binding in force ties to the place.
func (h hearing) boundTo(place devices.Topic) []string {
	var points []string
	for _, dev := range h.registered.Devices {
		if dev.Driver != h.device.Driver || dev.Endpoint != h.device.Endpoint || (dev.Driver == devices.DriverBroker && dev.ID != h.device.ID) || !h.sees(dev) {
			continue
		}
		for _, b := range h.registered.Bound(dev.ID, time.Now()) {
			t := b.Binding.Listens()
			if t.Topic == place.Topic && t.Path == place.Path && t.Each == place.Each {
				points = append(points, b.Point.ID)
			}
		}
	}
	slices.Sort(points)
	return points
}
