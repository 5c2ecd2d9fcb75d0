package devices_test

import (
	"testing"

	"offsite/devices"
)

func TestMarksAndQualities(t *testing.T) {
	tests := []struct {
		mark, word string
		usable     bool
	}{
		{"N", "good", true},
		{"", "good", true},
		{"Z", "good", true},
		{"T", "uncertain/over", true},
		{"F", "bad/stopped", false},
		{"M", "bad/maintenance", false},
		{"S", "bad/manual", false},
		{"D", "bad/fault", false},
		{"C", "bad/calibration", false},
		{"B", "bad/link", false},
	}
	for _, tt := range tests {
		t.Run(tt.mark, func(t *testing.T) {
			q := devices.QualityOf(tt.mark)
			if q.String() != tt.word || q.Usable() != tt.usable {
				t.Errorf("%s, usable %v", q, q.Usable())
			}
			if q != devices.Good && q.Mark() != tt.mark {
				t.Errorf("history knows it as %q", q.Mark())
			}
		})
	}
}
