package sparkplug

import (
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// put is a metric as an edge node writes it, by Google's encoder.
type put struct {
	name     string
	alias    uint64 // 0 means none
	at       uint64
	datatype Datatype
	value    any // uint32: int_value, uint64: long_value, float32, float64, bool, string, nil: is_null
	quality  *int32
}

func (m put) encode() []byte {
	var b []byte
	num := func(field protowire.Number, v uint64) {
		b = protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), v)
	}
	if m.name != "" {
		b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), m.name)
	}
	if m.alias != 0 {
		num(2, m.alias)
	}
	if m.at != 0 {
		num(3, m.at)
	}
	if m.datatype != 0 {
		num(4, uint64(m.datatype))
	}
	if m.quality != nil {
		var set, value []byte
		for _, key := range []string{"engUnit", "Quality"} {
			set = protowire.AppendString(protowire.AppendTag(set, 1, protowire.BytesType), key)
		}
		text := protowire.AppendString(protowire.AppendTag(nil, 8, protowire.BytesType), "ug/m3")
		set = protowire.AppendBytes(protowire.AppendTag(set, 2, protowire.BytesType), text)
		value = protowire.AppendVarint(protowire.AppendTag(value, 1, protowire.VarintType), uint64(Int32))
		value = protowire.AppendVarint(protowire.AppendTag(value, 3, protowire.VarintType), uint64(uint32(*m.quality)))
		set = protowire.AppendBytes(protowire.AppendTag(set, 2, protowire.BytesType), value)
		b = protowire.AppendBytes(protowire.AppendTag(b, 9, protowire.BytesType), set)
	}
	switch v := m.value.(type) {
	case nil:
		num(7, 1)
	case uint32:
		num(10, uint64(v))
	case uint64:
		num(11, v)
	case float32:
		b = protowire.AppendFixed32(protowire.AppendTag(b, 12, protowire.Fixed32Type), math.Float32bits(v))
	case float64:
		b = protowire.AppendFixed64(protowire.AppendTag(b, 13, protowire.Fixed64Type), math.Float64bits(v))
	case bool:
		num(14, protowire.EncodeBool(v))
	case string:
		b = protowire.AppendString(protowire.AppendTag(b, 15, protowire.BytesType), v)
	}
	return b
}

// encode writes a payload; seq below 0 means none.
func encode(at uint64, seq int, metrics ...put) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), at)
	for _, m := range metrics {
		b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), m.encode())
	}
	if seq >= 0 {
		b = protowire.AppendVarint(protowire.AppendTag(b, 3, protowire.VarintType), uint64(seq))
	}
	return b
}
