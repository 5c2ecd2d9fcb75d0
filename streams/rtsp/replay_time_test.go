package rtsp

import (
	"testing"
	"time"

	"github.com/pion/rtp"
)

// FuzzReplayTime reads the extension that says when a picture was taken.
func FuzzReplayTime(f *testing.F) {
	f.Add(uint16(0xABAC), []byte{0xed, 0x4e, 0x38, 0x40, 0x80, 0, 0, 0, 0x10, 0, 0, 0})
	f.Add(uint16(0xABAC), []byte{0, 0, 0, 0})
	f.Add(uint16(0xBEDE), []byte{0xed, 0x4e, 0x38, 0x40, 0x80, 0, 0, 0, 0x10, 0, 0, 0})
	f.Fuzz(func(t *testing.T, profile uint16, x []byte) {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, Extension: true, ExtensionProfile: profile}}
		if p.SetExtension(0, x) != nil {
			return
		}
		at, _, ok := replayTime(p)
		if ok && (profile != 0xABAC || len(x) < 12 || at.Year() < firstYear || at.Year() > 2037) {
			t.Errorf("%x %x was read as %v", profile, x, at)
		}
	})
}

func TestReplayTime(t *testing.T) {
	p := &rtp.Packet{Header: rtp.Header{Version: 2, Extension: true, ExtensionProfile: 0xABAC}}
	if err := p.SetExtension(0, []byte{0xed, 0x4e, 0x38, 0x40, 0x80, 0, 0, 0, 0x10, 0, 0, 0}); err != nil {
		t.Fatal(err)
	}
	at, terminal, ok := replayTime(p)
	if want := time.Date(2026, 3, 1, 4, 0, 0, 5e8, time.UTC); !ok || !terminal || !at.Equal(want) {
		t.Errorf("%v %v %v, want %v", at, terminal, ok, want)
	}
}
