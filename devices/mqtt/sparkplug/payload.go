package sparkplug

import (
	"encoding/json"
	"math"
	"strings"
	"time"
)

// Limits of one payload.
const (
	maxPayload  = 1 << 20
	mostMetrics = 20_000
)

// Datatype is that of a metric, Sparkplug 3.0, 6.4.16.
type Datatype uint32

// The datatypes that hold one value.
const (
	Int8 Datatype = iota + 1
	Int16
	Int32
	Int64
	UInt8
	UInt16
	UInt32
	UInt64
	Float
	Double
	Boolean
	String
	DateTime
	Text
	UUID
)

var datatypeNames = [...]string{
	"unknown", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float", "Double", "Boolean", "String", "DateTime", "Text", "UUID",
	"DataSet", "Bytes", "File", "Template", "PropertySet", "PropertySetList", "Int8Array", "Int16Array", "Int32Array", "Int64Array", "UInt8Array", "UInt16Array",
	"UInt32Array", "UInt64Array", "FloatArray", "DoubleArray", "BooleanArray", "StringArray", "DateTimeArray",
}

func (d Datatype) String() string {
	if int(d) < len(datatypeNames) {
		return datatypeNames[d]
	}
	return datatypeNames[0]
}

// MarshalText writes the name.
func (d Datatype) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Payload is what every Sparkplug B message but STATE holds.
type Payload struct {
	Time    time.Time `json:"time,omitzero"`
	Seq     *uint64   `json:"seq,omitempty"` // 0 to 255; deaths of edge nodes and commands have none
	UUID    string    `json:"uuid,omitempty"`
	Metrics []Metric  `json:"metrics"`
}

// Metric is one value, or the change of one.
type Metric struct {
	Name       string    `json:"name,omitempty"`
	Alias      *uint64   `json:"alias,omitempty"`
	Time       time.Time `json:"time,omitzero"`
	Datatype   Datatype  `json:"datatype,omitempty"`
	Historical bool      `json:"historical,omitempty"`
	Transient  bool      `json:"transient,omitempty"`
	Null       bool      `json:"null,omitempty"`
	Quality    *int32    `json:"quality,omitempty"` // 192 good, 0 bad, 500 stale; nil where it is not said
	Value      Value     `json:"value"`
}

// Value is the value of a metric as it stands on the wire. Only its Datatype,
// which a birth may have told, says what an integer means.
type Value struct {
	field int // of the protobuf message; 0 when there is none
	bits  uint64
	float float64
	text  string
}

// Number gives the value as a number, if it is one.
func (v Value) Number(t Datatype) (float64, bool) {
	switch v.field {
	case 12, 13:
		return v.float, true
	case 14:
		return float64(v.bits), true
	case 10, 11:
	default:
		return 0, false
	}
	switch t {
	case Int8:
		return float64(int8(v.bits)), true
	case Int16:
		return float64(int16(v.bits)), true
	case Int32:
		return float64(int32(v.bits)), true
	case Int64:
		return float64(int64(v.bits)), true
	}
	return float64(v.bits), true
}

// MarshalJSON writes the value as it can be told without its Datatype.
func (v Value) MarshalJSON() ([]byte, error) {
	switch v.field {
	case 10, 11:
		return json.Marshal(v.bits)
	case 12, 13:
		if math.IsNaN(v.float) || math.IsInf(v.float, 0) {
			return []byte("null"), nil
		}
		return json.Marshal(v.float)
	case 14:
		return json.Marshal(v.bits != 0)
	case 15:
		return json.Marshal(v.text)
	}
	return []byte("null"), nil
}

// MarshalJSON writes integers by their datatype.
func (m Metric) MarshalJSON() ([]byte, error) {
	type plain Metric
	p := struct {
		plain
		Value any `json:"value"`
	}{plain: plain(m), Value: m.Value}
	if n, ok := m.Value.Number(m.Datatype); ok && m.Datatype >= Int8 && m.Datatype <= Int64 {
		p.Value = int64(n)
		if m.Datatype == Int64 {
			p.Value = int64(m.Value.bits)
		}
	}
	return json.Marshal(p)
}

// Parse reads a payload. It keeps nothing of msg.
func Parse(msg []byte) (*Payload, error) {
	p := &Payload{Metrics: []Metric{}}
	err := each(msg, func(f *field) error {
		switch {
		case f.number == 1 && f.kind == varint:
			p.Time = millis(f.value)
		case f.number == 2 && f.kind == bytes:
			if len(p.Metrics) == mostMetrics {
				return errTooMany
			}
			m, err := parseMetric(f.data)
			if err != nil {
				return err
			}
			p.Metrics = append(p.Metrics, m)
		case f.number == 3 && f.kind == varint:
			seq := f.value
			p.Seq = &seq
		case f.number == 4 && f.kind == bytes:
			p.UUID = word(f.data)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

func parseMetric(msg []byte) (m Metric, err error) {
	err = each(msg, func(f *field) error {
		switch {
		case f.number == 1 && f.kind == bytes:
			m.Name = word(f.data)
		case f.number == 9 && f.kind == bytes:
			m.Quality, err = parseQuality(f.data)
			return err
		case f.number == 15 && f.kind == bytes:
			m.Value = Value{field: 15, text: word(f.data)}
		case f.number >= 16 && f.number <= 19 && f.kind == bytes:
			m.Value = Value{field: f.number}
		case f.number == 12 && f.kind == fixed32, f.number == 13 && f.kind == fixed64:
			m.Value = Value{field: f.number, float: f.float()}
		case f.kind == varint:
			m.number(f)
		}
		return nil
	})
	return m, err
}

// number takes in the fields of a metric that are integers on the wire.
func (m *Metric) number(f *field) {
	switch f.number {
	case 2:
		alias := f.value
		m.Alias = &alias
	case 3:
		m.Time = millis(f.value)
	case 4:
		m.Datatype = Datatype(f.value)
	case 5:
		m.Historical = f.value != 0
	case 6:
		m.Transient = f.value != 0
	case 7:
		m.Null = f.value != 0
	case 10, 11:
		m.Value = Value{field: f.number, bits: f.value}
	case 14:
		m.Value = Value{field: 14, bits: min(f.value, 1)}
	}
}

// parseQuality looks for the property "Quality", Sparkplug 3.0, 6.4.20.
func parseQuality(msg []byte) (*int32, error) {
	index, at, value := 0, -1, 0
	var quality *int32
	err := each(msg, func(f *field) error { // all keys may come in front of all values
		if f.number == 1 && f.kind == bytes {
			if string(f.data) == "Quality" {
				at = index
			}
			index++
		}
		return nil
	})
	if err != nil || at < 0 {
		return nil, err
	}
	err = each(msg, func(f *field) error {
		if f.number != 2 || f.kind != bytes {
			return nil
		}
		if value++; value-1 != at {
			return nil
		}
		return each(f.data, func(f *field) error {
			if f.kind == varint && (f.number == 3 || f.number == 4) {
				q := int32(f.value)
				quality = &q
			}
			return nil
		})
	})
	return quality, err
}

// endOfTime is the year 10000 in Unix milliseconds.
const endOfTime = 253402300800000

// millis reads a time; one that no clock shows, and 0, is none.
func millis(v uint64) time.Time {
	if v == 0 || v >= endOfTime {
		return time.Time{}
	}
	return time.UnixMilli(int64(v)).UTC()
}

func word(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }
