package devices

import (
	"math"
	"time"
)

// AveragingInstant is the averaging of a limit that judges each reading by
// itself, the only one so far.
const AveragingInstant = "instant"

// Limit is a bound that a point, or every point of a kind of outlet and factor,
// must keep. An instant limit raises an alarm 报警, never an exceedance 超标.
type Limit struct {
	ID           string     `json:"id"`
	Point        string     `json:"point,omitempty"`       // point id; or both of the next two
	OutletKind   string     `json:"outlet_kind,omitempty"` //
	Factor       string     `json:"factor,omitempty"`      //
	Level        string     `json:"level"`                 // HH, H, upper (breached above Value); L, LL, lower (below)
	Value        float64    `json:"value"`                 // in Unit
	Unit         string     `json:"unit,omitempty"`
	Averaging    string     `json:"averaging"`           // instant
	Deadband     float64    `json:"deadband,omitempty"`  // in Unit; how far back inside before it can recover
	OnDelay      Duration   `json:"on_delay,omitempty"`  // breached this long, by the readings' times, before the alarm
	OffDelay     Duration   `json:"off_delay,omitempty"` // inside this long before it recovers
	ExcludeMarks []string   `json:"exclude_marks,omitempty"`
	Standard     string     `json:"standard,omitempty"` // number of the standard
	Clause       string     `json:"clause,omitempty"`
	ValidFrom    *time.Time `json:"valid_from,omitempty"`
	ValidTo      *time.Time `json:"valid_to,omitempty"`
	RegItem      string     `json:"reg_item,omitempty"` // regulatory item code of the city's list
	Meta
}

// Kind is KindLimit.
func (*Limit) Kind() Kind { return KindLimit }

// Key is the id.
func (l *Limit) Key() string { return l.ID }

// Above says that values over Value breach the limit; else those under it do.
func (l *Limit) Above() bool { return l.Level == "HH" || l.Level == "H" || l.Level == "upper" }

// Check tells every fault of the limit's own fields.
func (l *Limit) Check() error {
	var ps Problems
	ps.Add(CheckID("id", l.ID))
	switch {
	case l.Point != "" && (l.OutletKind != "" || l.Factor != ""):
		ps.Add(Invalid("point", "ambiguous", "测点与（点位类型、因子）只能填一种", "name either a point, or an outlet kind and a factor"))
	case l.Point != "":
		ps.Add(CheckPointID("point", l.Point))
	case l.OutletKind == "" || l.Factor == "":
		ps.Add(Invalid("point", "missing", "请填写测点，或同时填写点位类型和因子", "name a point, or both an outlet kind and a factor"))
	}
	ps.Add(checkOneOf("level", l.Level, "HH", "H", "upper", "lower", "L", "LL"))
	ps.Add(checkOneOf("averaging", l.Averaging, AveragingInstant))
	if math.IsNaN(l.Value) || math.IsInf(l.Value, 0) {
		ps.Add(Invalid("value", "not_finite", "限值须为有限数", "a limit is a finite number"))
	}
	if l.Deadband < 0 || math.IsNaN(l.Deadband) || math.IsInf(l.Deadband, 0) {
		ps.Add(Invalid("deadband", "out_of_range", "回差须为零或正数", "the deadband is zero or more"))
	}
	if l.OnDelay < 0 || l.OnDelay.D() > 24*time.Hour {
		ps.Add(Invalid("on_delay", "out_of_range", "报警延时须在 0 与 24h 之间", "delay an alarm by 0 to 24h"))
	}
	if l.OffDelay < 0 || l.OffDelay.D() > 24*time.Hour {
		ps.Add(Invalid("off_delay", "out_of_range", "恢复延时须在 0 与 24h 之间", "delay a recovery by 0 to 24h"))
	}
	if l.ValidFrom != nil && l.ValidTo != nil && !l.ValidTo.After(*l.ValidFrom) {
		ps.Add(Invalid("valid_to", "empty_span", "失效时间须晚于生效时间", "the end must come after the start"))
	}
	return ps.Err()
}
