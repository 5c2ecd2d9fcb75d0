package timeseries_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

func TestAlign(t *testing.T) {
	tests := []struct {
		name  string
		at    string
		every time.Duration
		want  string
	}{
		{"day begins at 16:00 UTC", "2026-03-01T15:59:59.999Z", 24 * time.Hour, "2026-02-28T16:00:00Z"},
		{"first instant of a day", "2026-03-01T16:00:00Z", 24 * time.Hour, "2026-03-01T16:00:00Z"},
		{"hour", "2026-03-01T16:59:59Z", time.Hour, "2026-03-01T16:00:00Z"},
		{"before 1970", "1969-12-31T15:59:59Z", 24 * time.Hour, "1969-12-30T16:00:00Z"},
		{"six hours", "2026-03-01T01:00:00+08:00", 6 * time.Hour, "2026-02-28T16:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339Nano, tt.at)
			if err != nil {
				t.Fatal(err)
			}
			if got := timeseries.Align(at, tt.every).Format(time.RFC3339Nano); got != tt.want {
				t.Errorf("Align(%s, %s) = %s, want %s", tt.at, tt.every, got, tt.want)
			}
		})
	}
}

func TestCheckWindow(t *testing.T) {
	for _, every := range []time.Duration{0, -time.Second, time.Microsecond, 1500 * time.Microsecond} {
		if err := timeseries.CheckWindow(every); !errors.Is(err, devices.ErrInvalid) {
			t.Errorf("CheckWindow(%s) = %v, want ErrInvalid", every, err)
		}
	}
	if err := timeseries.CheckWindow(time.Millisecond); err != nil {
		t.Error(err)
	}
}

func TestRetryAfterIsFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("write: %w", &timeseries.Delayed{After: time.Minute, Err: &devices.Problem{Kind: devices.ErrUnavailable, EN: "busy"}})
	if got := timeseries.RetryAfter(err); got != time.Minute {
		t.Errorf("RetryAfter = %s, want 1m", got)
	}
	if !errors.Is(err, devices.ErrUnavailable) {
		t.Error("kind is lost")
	}
	if got := timeseries.RetryAfter(errors.New("other")); got != 0 {
		t.Errorf("RetryAfter = %s, want 0", got)
	}
}
