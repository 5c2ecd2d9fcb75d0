package rtsptest

import (
	"testing"
	"time"

	"offsite/streams"
)

func TestDemoClip(t *testing.T) {
	c := Demo()
	if w, h := c.Size(); w != 640 || h != 360 {
		t.Errorf("%dx%d", w, h)
	}
	if got := c.Length().Round(time.Second); got != 12*time.Second {
		t.Errorf("length %v", got)
	}
	if len(demo) > 1_500_000 {
		t.Errorf("%d bytes, want 1.5 MB at most", len(demo))
	}
	for i, key := range c.keys {
		if key != (i%demoRate == 0) {
			t.Errorf("picture %d: key %v, want one each second", i, key)
		}
	}
}

func TestNewClipRefuses(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		rate float64
	}{
		{"nothing", nil, 25},
		{"no pictures a second", demo, 0},
		{"no parameter sets", append([]byte{0, 0, 1}, streams.SplitAnnexB(demo)[3]...), 25},
		{"rubbish", []byte("not a video"), 25},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c, err := NewClip(streams.H264, tt.data, tt.rate); err == nil {
				t.Errorf("took a clip of %d pictures", len(c.units))
			}
		})
	}
}

func TestHalveKeepsTheOriginal(t *testing.T) {
	unit := [][]byte{{1, 2}, {1, 2, 3, 4, 5, 6}}
	got := halve(unit)
	if len(got[1]) != 3 || len(unit[1]) != 6 || len(got[0]) != 2 {
		t.Errorf("got %v of %v", got, unit)
	}
}
