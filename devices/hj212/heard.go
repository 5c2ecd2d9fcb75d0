package hj212

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// Heard is a data logger that speaks to the host, registered or not.
type Heard struct {
	MN      string           // as it is registered, else as it was sent
	Device  string           // id of the device; empty where none has the MN
	At      time.Time        // of its last packet, UTC
	Count   int64            // packets refused for Problem
	Sample  string           // its last packet, without the password
	Offers  []Offer          // realtime values first, then minutes, hours and days
	Problem *devices.Problem // why nothing is taken from it, and the cure
}

// Offer is a value in the packets of a registered logger that a point can be
// bound to.
type Offer struct {
	Place  devices.FactorPlace // with its defaults filled in
	Value  float64             // that it had last, as it was sent
	Points []string            // ids of those that are bound to it
}

// mostOffers bounds what is told of one logger.
const mostOffers = 200

// Heard tells what the loggers sent last, by MN, with those that were refused in
// the last hour. A device of "" means all.
func (h *Host) Heard(device string) []Heard {
	var list []Heard
	known := map[string]bool{}
	for mn, l := range *h.loggers.Load() {
		known[mn] = true
		if device != "" && l.device.ID != device {
			continue
		}
		heard := Heard{MN: mn, Device: l.device.ID}
		if sent := l.frames.list(); len(sent) > 0 {
			last := sent[len(sent)-1]
			heard.At, heard.Sample, heard.Offers = last.at.UTC(), devices.SampleOf(scrub(last.raw)), l.offers(sent)
		}
		if refused, ok := h.refusal(mn); ok && refused.At.After(heard.At) {
			heard.At, heard.Count, heard.Problem = refused.At.UTC(), refused.Count, refused.Problem
		}
		if !heard.At.IsZero() {
			list = append(list, heard)
		}
	}
	for _, n := range h.Notes() {
		if device == "" && n.Problem.Code == codeUnknownMN && !known[n.MN] && time.Since(n.At) < probeFresh {
			list = append(list, Heard{MN: n.MN, At: n.At.UTC(), Count: n.Count, Problem: n.Problem})
		}
	}
	slices.SortFunc(list, func(a, b Heard) int { return cmp.Compare(a.MN, b.MN) })
	return list
}

// offers gives the values of the packets, oldest first, each place once.
func (l *logger) offers(sent []keptFrame) []Offer {
	var list []Offer
	for _, k := range sent {
		p := l.read(k)
		if p == nil || kinds[p.CN] == "" {
			continue
		}
		for _, item := range p.CP {
			for _, f := range item {
				list = l.offer(list, f, kinds[p.CN])
			}
		}
	}
	order := []string{devices.KindRealtime, devices.KindMinute, devices.KindHour, devices.KindDay}
	slices.SortStableFunc(list, func(a, b Offer) int {
		return cmp.Compare(slices.Index(order, a.Place.Kind), slices.Index(order, b.Place.Kind))
	})
	return list[:min(len(list), mostOffers)]
}

// offer puts a value in the list, in the place of an older one.
func (l *logger) offer(list []Offer, f wire.Field, kind string) []Offer {
	code, field, ok := wire.SplitName(f.Name)
	if !ok || wire.IsAttribute(field) {
		return list
	}
	number, err := strconv.ParseFloat(strings.TrimSpace(f.Value), 64)
	place := devices.FactorPlace{Code: l.code(code), Kind: kind, Field: field}
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) || place.Check() != nil {
		return list
	}
	if at := slices.IndexFunc(list, func(o Offer) bool { return o.Place == place }); at >= 0 {
		list[at].Value = number
		return list
	}
	o := Offer{Place: place, Value: number}
	for _, s := range l.places[place] {
		o.Points = append(o.Points, s.point)
	}
	return append(list, o)
}

// read takes a kept frame apart; nil where it is not understood.
func (l *logger) read(k keptFrame) *wire.Packet {
	d := wire.Decoder{Tolerant: l.settings.Tolerant, Key: func(string) *wire.Cipher { return l.cipher }}
	_, _ = d.Write(k.raw) // it never fails
	f, ok := d.Next()
	if !ok {
		return nil
	}
	return f.Packet
}
