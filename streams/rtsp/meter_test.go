package rtsp

import (
	"testing"
	"time"
)

// TestMeterTellsWhatIsMuchMoreThanUsual gives a meter seconds of so many bytes.
func TestMeterTellsWhatIsMuchMoreThanUsual(t *testing.T) {
	t.Parallel()
	const usual = 512 << 10
	tests := []struct {
		name  string
		usual int // bytes a second for the first minute
		then  int // for the next half
		want  bool
	}{
		{"as usual", usual, usual, false},
		{"three times as much", usual, 3 * usual, false},
		{"ten times as much", usual, 10 * usual, true},
		{"little, ten times as much", 16 << 10, 160 << 10, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var m meter
			now := time.Now()
			send := func(seconds, bytes int) (changes int) {
				for range seconds {
					now = now.Add(time.Second)
					if m.note(bytes, now) {
						changes++
					}
				}
				return changes
			}
			if n := send(60, tt.usual); n != 0 {
				t.Errorf("%d changes while it was learnt", n)
			}
			if n := send(30, tt.then); (n == 1) != tt.want || m.excess != tt.want {
				t.Errorf("%d changes, excess %v, want %v", n, m.excess, tt.want)
			}
			if send(30, tt.usual); m.excess {
				t.Error("excess has not ended")
			}
		})
	}
}
