package devices

import (
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"
)

// Kind names a kind of registered thing; it is also the singular of its API path.
type Kind string

// The kinds of things that are registered.
const (
	KindEntity  Kind = "entity"
	KindSite    Kind = "site"
	KindOutlet  Kind = "outlet"
	KindPoint   Kind = "point"
	KindDevice  Kind = "device"
	KindBinding Kind = "binding"
	KindCamera  Kind = "camera"
	KindLimit   Kind = "limit"
)

// Thing is what the registry keeps. Check looks at the thing's own fields
// only; what it refers to is the registry's to check.
type Thing interface {
	Kind() Kind
	Key() string
	Check() error // Problems, all at once
	Life() *Meta
}

// Meta is what the registry itself knows of a thing.
type Meta struct {
	Version int64      `json:"version"`              // 1 at creation, one more at each replacement
	Created time.Time  `json:"created_at"`           //
	Updated time.Time  `json:"updated_at"`           //
	Retired *time.Time `json:"retired_at,omitempty"` // acquisition stopped then; history stays
}

// Life gives the thing's own Meta.
func (m *Meta) Life() *Meta { return m }

// Entity 监管对象 is a supervised enterprise or person in business.
type Entity struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	USCC   string `json:"uscc"`        // unified social credit code, GB 32100-2015
	Region string `json:"region_code"` // administrative division, GB/T 2260, 6, 9 or 12 digits
	Meta
}

// Kind is KindEntity.
func (*Entity) Kind() Kind { return KindEntity }

// Key is the id.
func (e *Entity) Key() string { return e.ID }

// Check tells every fault of the entity's own fields.
func (e *Entity) Check() error {
	var ps Problems
	ps.Add(CheckID("id", e.ID))
	ps.Add(checkName(e.Name))
	ps.Add(CheckUSCC("uscc", e.USCC))
	if !regionPattern.MatchString(e.Region) {
		ps.Add(Invalid("region_code", "bad_region", "行政区划代码须为 6、9 或 12 位数字（GB/T 2260）", "write the 6, 9 or 12 digits of GB/T 2260"))
	}
	return ps.Err()
}

// Role ties an entity to a site.
type Role struct {
	Entity string `json:"entity"` // entity id
	Role   string `json:"role"`   // owner, operator, contractor
}

// Site 场所 is a place. Several entities may share it.
type Site struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	SiteKind string   `json:"kind"` // construction, chemical, kitchen, plant, other
	Address  string   `json:"address,omitempty"`
	Lon      *float64 `json:"lon,omitempty"` // degrees east, WGS 84
	Lat      *float64 `json:"lat,omitempty"` // degrees north, WGS 84
	Entities []Role   `json:"entities,omitempty"`
	Meta
}

// Kind is KindSite.
func (*Site) Kind() Kind { return KindSite }

// Key is the id.
func (s *Site) Key() string { return s.ID }

// Check tells every fault of the site's own fields.
func (s *Site) Check() error {
	var ps Problems
	ps.Add(CheckID("id", s.ID))
	ps.Add(checkName(s.Name))
	ps.Add(checkOneOf("kind", s.SiteKind, "construction", "chemical", "kitchen", "plant", "other"))
	ps.Add(checkRange("lon", s.Lon, -180, 180))
	ps.Add(checkRange("lat", s.Lat, -90, 90))
	for i, r := range s.Entities {
		ps.Add(CheckID(fmt.Sprintf("entities[%d].entity", i), r.Entity))
		ps.Add(checkOneOf(fmt.Sprintf("entities[%d].role", i), r.Role, "owner", "operator", "contractor"))
	}
	return ps.Err()
}

// Outlet 监测点位, 排放口 is a monitoring location of a site.
type Outlet struct {
	ID         string `json:"id"`
	Site       string `json:"site"`
	Name       string `json:"name"`
	OutletKind string `json:"kind"` // waste_water, flue_gas, dust, noise, tank, gas_area, ambient, other
	Meta
}

// Kind is KindOutlet.
func (*Outlet) Kind() Kind { return KindOutlet }

// Key is the id.
func (o *Outlet) Key() string { return o.ID }

// Check tells every fault of the outlet's own fields.
func (o *Outlet) Check() error {
	var ps Problems
	ps.Add(CheckID("id", o.ID))
	ps.Add(CheckID("site", o.Site))
	ps.Add(checkName(o.Name))
	ps.Add(checkOneOf("kind", o.OutletKind, "waste_water", "flue_gas", "dust", "noise", "tank", "gas_area", "ambient", "other"))
	return ps.Err()
}

// Point 测点, 位号 is one measured quantity of an outlet.
type Point struct {
	ID     string   `json:"id"` // "outlet.point"
	Name   string   `json:"name"`
	Factor string   `json:"factor"` // HJ 212 factor code such as a34004, or a word of the trade such as level
	Unit   string   `json:"unit"`
	Min    *float64 `json:"min,omitempty"` // of the instrument's range, in Unit
	Max    *float64 `json:"max,omitempty"`
	Digits int      `json:"digits"`           // decimals to show
	Labels []Label  `json:"labels,omitempty"` // of an enumeration: what its values mean
	Meta
}

// Label says what one value of an enumeration means: 1 is "running".
type Label struct {
	Value float64 `json:"value"`
	Text  string  `json:"text"`
}

// mostLabels is how many values of an enumeration have names.
const mostLabels = 256

// Kind is KindPoint.
func (*Point) Kind() Kind { return KindPoint }

// Key is the id.
func (p *Point) Key() string { return p.ID }

// Outlet is the id of the outlet that the point belongs to.
func (p *Point) Outlet() string {
	outlet, _ := SplitPoint(p.ID)
	return outlet
}

// Check tells every fault of the point's own fields.
func (p *Point) Check() error {
	var ps Problems
	ps.Add(CheckPointID("id", p.ID))
	ps.Add(checkName(p.Name))
	if p.Factor == "" || len(p.Factor) > 32 {
		ps.Add(Invalid("factor", "bad_factor", "请填写监测因子编码，最长 32 个字符", "give the factor code, at most 32 characters"))
	}
	if len(p.Unit) > 32 {
		ps.Add(Invalid("unit", "too_long", "单位最长 32 个字符", "a unit has at most 32 characters"))
	}
	if p.Min != nil && p.Max != nil && *p.Min >= *p.Max {
		ps.Add(Invalid("max", "empty_range", "量程上限须大于下限", "the upper end of the range must lie above the lower"))
	}
	if p.Digits < 0 || p.Digits > 9 {
		ps.Add(Invalid("digits", "out_of_range", "小数位数须为 0 至 9", "show 0 to 9 decimals"))
	}
	p.checkLabels(&ps)
	return ps.Err()
}

func (p *Point) checkLabels(ps *Problems) {
	if len(p.Labels) > mostLabels {
		ps.Add(Invalid("labels", "too_many", fmt.Sprintf("枚举最多 %d 个值", mostLabels), fmt.Sprintf("an enumeration has at most %d values", mostLabels)))
		return
	}
	seen := make(map[float64]bool, len(p.Labels))
	for i, l := range p.Labels {
		if seen[l.Value] || math.IsNaN(l.Value) || math.IsInf(l.Value, 0) {
			ps.Add(Invalid(fmt.Sprintf("labels[%d].value", i), "ambiguous", "每个值只能有一个名称", "give each value one name"))
		}
		if n := len([]rune(l.Text)); n == 0 || n > 64 {
			ps.Add(Invalid(fmt.Sprintf("labels[%d].text", i), "bad_name", "请填写名称，最长 64 个字", "give a name of at most 64 characters"))
		}
		seen[l.Value] = true
	}
}

// Label gives the name of a value of an enumeration, "" if it has none.
func (p *Point) Label(v float64) string {
	for _, l := range p.Labels {
		if l.Value == v {
			return l.Text
		}
	}
	return ""
}

// What an instrument hardly measures and a float in a wrong order often is.
const (
	nearNothing = 1e-9
	beyondAll   = 1e12
)

// Plausible says whether v may well be what the point measures.
func (p *Point) Plausible(v float64) bool {
	size := math.Abs(v)
	outside := (p.Min != nil && v < *p.Min) || (p.Max != nil && v > *p.Max)
	return !math.IsNaN(v) && !outside && size < beyondAll && (v == 0 || size > nearNothing)
}

func checkName(name string) *Problem {
	if name == "" || len([]rune(name)) > 128 {
		return Invalid("name", "bad_name", "请填写名称，最长 128 个字", "give a name of at most 128 characters")
	}
	for _, r := range name {
		if r < ' ' || r == 0x7f {
			return Invalid("name", "bad_name", "名称不得含控制字符", "a name holds no control characters")
		}
	}
	return nil
}

func checkOneOf(field, value string, allowed ...string) *Problem {
	for _, a := range allowed {
		if value == a {
			return nil
		}
	}
	list := strings.Join(allowed, ", ")
	return Invalid(field, "not_one_of", "请从下列值中选择："+list, "choose one of "+list)
}

func checkRange(field string, v *float64, low, high float64) *Problem {
	if v == nil || (*v >= low && *v <= high) {
		return nil
	}
	return Invalid(field, "out_of_range", fmt.Sprintf("须在 %g 与 %g 之间", low, high), fmt.Sprintf("must lie between %g and %g", low, high))
}

func checkURL(field, raw string, schemes ...string) *Problem {
	u, err := url.Parse(raw)
	if err == nil && u.User != nil {
		return Invalid(field, "password_in_url", "地址中不得含用户名和密码，请填入单独的字段", "put user name and password into their own fields, not into the address")
	}
	if err == nil && u.Hostname() != "" {
		for _, s := range schemes {
			if u.Scheme == s {
				return nil
			}
		}
	}
	example := schemes[0] + "://192.168.1.64" + map[string]string{"rtsp": ":554/…", "http": "/…", "mqtt": ":1883"}[schemes[0]]
	return Invalid(field, "bad_address", "地址须形如 "+example, "write the address like "+example)
}
