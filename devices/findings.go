package devices

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Findings gathers what a device sent of its own accord, binding by binding. It
// is not for several goroutines at once.
type Findings struct {
	bounds []Bound
	seen   []Probed
	heard  []bool
}

// NewFindings expects values of these bindings.
func NewFindings(bounds []Bound) *Findings {
	return &Findings{bounds: bounds, seen: make([]Probed, len(bounds)), heard: make([]bool, len(bounds))}
}

// mostRaw is how much of a payload stands beside a value, in bytes.
const mostRaw = 240

// Add takes note of what a message brought: values by point, or why there are
// none. A point that it does not concern is left as it was.
func (f *Findings) Add(raw string, readings []Reading, failed []string, why *Problem) {
	if len(raw) > mostRaw {
		raw = strings.ToValidUTF8(raw[:mostRaw], "") + "…"
	}
	for i := range f.bounds {
		b := &f.bounds[i]
		at := slices.IndexFunc(readings, func(r Reading) bool { return r.Point == b.Binding.Point })
		switch {
		case at >= 0:
			v := readings[at].Value
			f.heard[i] = true
			f.seen[i] = Probed{Raw: raw, Value: &v, Label: b.Point.Label(v), Plausible: b.Point.Plausible(v)}
			if !f.seen[i].Plausible {
				f.seen[i].ZH, f.seen[i].EN = "数值不合量程，请核对取值位置与缩放", "the value does not fit the point's range; check where it is read and its scale"
			}
		case why != nil && !f.heard[i] && slices.Contains(failed, b.Binding.Point):
			f.seen[i] = Probed{Raw: raw, ZH: why.ZH, EN: why.EN}
		}
	}
}

// Complete says whether every binding has a value.
func (f *Findings) Complete() bool { return !slices.Contains(f.heard, false) }

// Step is the step values.
func (f *Findings) Step() Step {
	s := Step{Name: "values", OK: true, Values: f.seen}
	read := 0
	for i := range s.Values {
		v := &s.Values[i]
		v.Binding, v.Point = f.bounds[i].Binding.ID, f.bounds[i].Point.ID
		switch {
		case v.Value != nil:
			read++
		case v.ZH == "":
			v.ZH, v.EN = "未收到此测点的数据；请核对取值位置", "nothing has come for this point; check where it is read"
		}
		if !v.Plausible {
			s.CureZH, s.CureEN = "请看各值旁的说明", "see what stands beside the values"
		}
	}
	s.OK = read == len(s.Values)
	s.ZH, s.EN = fmt.Sprintf("得到 %d 个值，共 %d 个", read, len(s.Values)), fmt.Sprintf("%d of %d values", read, len(s.Values))
	return s
}

// mostSample is how much of a message people are shown, in bytes.
const mostSample = 1 << 10

// SampleOf gives the beginning of a payload as text.
func SampleOf(payload []byte) string {
	return strings.ToValidUTF8(string(payload[:min(len(payload), mostSample)]), "�")
}

// Clock writes a time as people at a cabinet read it.
func Clock(t time.Time) string { return t.In(Beijing).Format("01-02 15:04:05") }

// Patience of a probe that can only listen.
const (
	overhearLook = 200 * time.Millisecond
	overhearMost = 12 * time.Second // until there should be something of each binding
	overhearRest = time.Second      // before the probe's own time is up, so that what was seen is told
)

// Overhear asks look again and again until it has seen all, or a device that is
// here has had its time; of one that is away only what it sent before is looked
// at. It gives the time that this took.
func Overhear(ctx context.Context, here bool, look func() (all bool)) time.Duration {
	began, most := time.Now(), time.Duration(0)
	if here {
		most = overhearMost
		if end, ok := ctx.Deadline(); ok {
			most = min(most, time.Until(end)-overhearRest)
		}
	}
	end, again := time.NewTimer(most), time.NewTicker(overhearLook)
	defer end.Stop()
	defer again.Stop()
	for !look() {
		select {
		case <-again.C:
			continue
		case <-end.C:
		case <-ctx.Done():
		}
		break
	}
	return time.Since(began)
}
