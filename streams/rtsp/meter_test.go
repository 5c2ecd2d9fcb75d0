package rtsp

import (
	"log/slog"
	"os"
	"testing"
	"time"

	"offsite/streams"
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

// TestExcessIsToldOnTheFeed gives a connection a picture a second, of so many
// bytes.
func TestExcessIsToldOnTheFeed(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	key := streams.CutUnits(streams.H264, streams.SplitAnnexB(data))[0]
	feed := streams.NewFeed(streams.FeedConfig{RingBytes: 1 << 20})
	feed.Connected()
	now := time.Now()
	p := &puller{feed: feed, log: slog.New(slog.DiscardHandler), track: &track{}, told: map[string]bool{}, began: now}
	p.track.assemble(streams.H264, nil, nil, nil, p.gathered)
	var stamp uint32
	send := func(seconds, bytes int) (codes []string) {
		filler := make([]byte, bytes)
		copy(filler, []byte{0x06, 0x05}) // SEI, which stays with the picture
		for range seconds {
			now, stamp = now.Add(time.Second), stamp+clockRate
			p.arrived = now
			p.gathered(append(key[:len(key):len(key)], filler), stamp)
		}
		for _, w := range feed.State().Warnings {
			codes = append(codes, w.Code)
		}
		return codes
	}
	const usual = 300 << 10
	if codes := send(60, usual); len(codes) != 0 {
		t.Errorf("warned of %v while it was learnt", codes)
	}
	if codes := send(15, 10*usual); len(codes) != 1 || codes[0] != CodeExcess {
		t.Errorf("warned of %v, want %s", codes, CodeExcess)
	}
	if s := feed.State(); s.RingBytes > 10*usual+1<<20 {
		t.Errorf("the ring holds %d bytes", s.RingBytes)
	}
	if codes := send(15, usual); len(codes) != 0 {
		t.Errorf("warned of %v afterwards", codes)
	}
}
