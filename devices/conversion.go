package devices

import "math"

// Conversion turns what an instrument sends into the point's unit: raw × scale +
// offset. Scales and offsets that people write are decimal numbers, most of which
// no float holds: 202 × 0.1 is 20.200000000000003. So it reckons in whole numbers
// of the last decimal and divides once, and 202 by a tenth is 20.2.
type Conversion struct {
	scale, offset, unit float64 // value = (raw × scale + offset) / unit
}

// mostDecimals bounds the decimals of a scale or offset that are looked for.
const mostDecimals = 12

// Conversion is that of the binding's scale and offset.
func (b *Binding) Conversion() Conversion {
	scale := b.Scale
	if scale == 0 {
		scale = 1
	}
	unit := 1.0
	for range mostDecimals + 1 {
		c := Conversion{math.Round(scale * unit), math.Round(b.Offset * unit), unit}
		if c.scale/unit == scale && c.offset/unit == b.Offset {
			return c
		}
		unit *= 10
	}
	return Conversion{scale, b.Offset, 1}
}

// Value gives what a raw number means; not finite where raw is not, or too large.
func (c Conversion) Value(raw float64) float64 { return (raw*c.scale + c.offset) / c.unit }

// Raw gives the raw number that means v.
func (c Conversion) Raw(v float64) float64 { return (v*c.unit - c.offset) / c.scale }
