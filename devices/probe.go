package devices

import (
	"context"
	"strings"
	"time"
)

// Prober tries a device that need not be registered, as a form stands, and
// tells step by step what it saw.
//
// The error is about the form: Problems, every fault at once, each naming its
// field; nothing was tried then. What the device does or does not do is never an
// error but a step. A probe never disturbs a running poll: where the endpoint is
// polled it shares its connection and waits its turn, and what cannot be tried
// so is skipped, and said so. Bindings without an id are named by their place in
// the list. It ends when ctx does.
type Prober interface {
	Probe(ctx context.Context, dev Device, bounds []Bound) ([]Step, error)
}

// Step is one thing that a probe tried.
type Step struct {
	Name    string   `json:"name"`              // stable, such as address, resolve, connect, answer, framing, values
	OK      bool     `json:"ok"`                //
	Skipped bool     `json:"skipped,omitempty"` // was not tried; the text says why
	Took    Duration `json:"took"`
	ZH      string   `json:"zh"` // what was seen
	EN      string   `json:"en"`
	CureZH  string   `json:"cure_zh,omitempty"` // what to do about it
	CureEN  string   `json:"cure_en,omitempty"`
	Values  []Probed `json:"values,omitempty"`
}

// Probed is what stands at one binding.
type Probed struct {
	Binding   string         `json:"binding"`
	Point     string         `json:"point,omitempty"`
	Raw       string         `json:"raw,omitempty"`    // as it came: bytes in hexadecimal, or the payload
	Value     *float64       `json:"value,omitempty"`  // in the point's unit; nil if there is none
	Label     string         `json:"label,omitempty"`  // of an enumeration
	Plausible bool           `json:"plausible"`        // the value lies in the point's stated range, and is not next to nothing as wrong orders often are
	Orders    []OrderedValue `json:"orders,omitempty"` // what the same bytes say in every word order
	ZH        string         `json:"zh,omitempty"`     // why there is no value, or what to look at
	EN        string         `json:"en,omitempty"`
}

// OrderedValue is a value read in one word order.
type OrderedValue struct {
	Order     string   `json:"order"`
	Value     *float64 `json:"value,omitempty"` // nil if the bytes are no number in this order
	Plausible bool     `json:"plausible"`
}

// StepOf gives the step that p ended. A Problem's sentence holds its cure behind
// a semicolon.
func StepOf(name string, took time.Duration, p *Problem) Step {
	s := Step{Name: name, Took: Duration(took)}
	s.ZH, s.CureZH, _ = strings.Cut(p.ZH, "；")
	s.EN, s.CureEN, _ = strings.Cut(p.EN, "; ")
	return s
}
