package devices

import (
	"math"
	"testing"
)

func TestConversion(t *testing.T) {
	tests := []struct {
		name             string
		scale, offset    float64
		raw, want, there float64 // there: raw again, from want
	}{
		{"none", 0, 0, 202, 202, 202},
		{"a tenth", 0.1, 0, 202, 20.2, 202},
		{"a tenth below zero", 0.1, 0, -3, -0.3, -3},
		{"three tenths", 0.3, 0, 3, 0.9, 3},
		{"a hundredth", 0.01, 0, 835, 8.35, 835},
		{"a thousandth", 0.001, 0, 10007, 10.007, 10007},
		{"tenths, and an offset", 0.1, -40, 442, 4.2, 442},
		{"an offset finer than the scale", 0.1, 0.05, 1, 0.15, 1},
		{"decimal text", 0.1, 0, 83.5, 8.35, 83.5},
		{"a scale without end", 1.0 / 3, 0, 3, 1, 3},
		{"a large scale", 1e20, 0, 2, 2e20, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := (&Binding{Scale: tt.scale, Offset: tt.offset}).Conversion()
			if got := c.Value(tt.raw); got != tt.want {
				t.Errorf("%v means %v, want %v", tt.raw, got, tt.want)
			}
			if got := c.Raw(tt.want); math.Abs(got-tt.there) > 1e-9 {
				t.Errorf("%v is sent as %v, want %v", tt.want, got, tt.there)
			}
		})
	}
}

func TestConversionOfWhatIsNoNumber(t *testing.T) {
	c := (&Binding{Scale: 0.1, Offset: 1}).Conversion()
	for _, raw := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := c.Value(raw); !math.IsNaN(got) && !math.IsInf(got, 0) {
			t.Errorf("%v means %v", raw, got)
		}
	}
}
