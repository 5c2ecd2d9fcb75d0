package decoder

import (
	"encoding/binary"
	"errors"
	"image"
	"testing"
	"time"
)

func head(magic string, fields ...uint32) []byte {
	b := []byte(magic)
	for _, f := range fields {
		b = binary.LittleEndian.AppendUint32(b, f)
	}
	if len(fields) < 5 {
		return b
	}
	return binary.LittleEndian.AppendUint64(b, 1<<64-40) // 40 ns before zero
}

func TestPlanes(t *testing.T) {
	tests := []struct {
		name string
		out  []byte
		want image.Rectangle // empty: refused
	}{
		{"4:2:0 of odd size", append(head("OSP2", 3, 3, 3, 1, 1), make([]byte, 9+2*4)...), image.Rect(0, 0, 3, 3)},
		{"grey", append(head("OSP2", 2, 3, 1, 0, 0), make([]byte, 6)...), image.Rect(0, 0, 2, 3)},
		{"nothing", nil, image.Rectangle{}},
		{"half a header", head("OSP2", 2), image.Rectangle{}},
		{"another contract", append(head("OSP1", 2, 3, 1, 0, 0), make([]byte, 6)...), image.Rectangle{}},
		{"a byte short", append(head("OSP2", 2, 3, 1, 0, 0), make([]byte, 5)...), image.Rectangle{}},
		{"a byte too many", append(head("OSP2", 2, 3, 1, 0, 0), make([]byte, 7)...), image.Rectangle{}},
		{"no width", head("OSP2", 0, 3, 1, 0, 0), image.Rectangle{}},
		{"more pixels than agreed", head("OSP2", 101, 100, 1, 0, 0), image.Rectangle{}},
		{"sizes that overflow", head("OSP2", 1<<31, 1<<31, 3, 0, 0), image.Rectangle{}},
		{"two planes", head("OSP2", 2, 3, 2, 0, 0), image.Rectangle{}},
		{"colour of no known size", head("OSP2", 2, 3, 3, 31, 31), image.Rectangle{}},
	}
	for _, tt := range tests {
		for _, step := range []int{1, 7, 1 << 20} {
			o := &planes{pixels: 10000}
			var err error
			for rest := tt.out; len(rest) > 0 && err == nil; {
				n := min(step, len(rest))
				_, err = o.Write(rest[:n])
				rest = rest[n:]
			}
			var img image.Image
			var at time.Duration
			if err == nil {
				img, at, err = o.picture()
			}
			if err != nil {
				if !errors.Is(err, errContract) || !tt.want.Empty() {
					t.Errorf("%s by %d: %v", tt.name, step, err)
				}
				continue
			}
			if img.Bounds() != tt.want || at != -40 {
				t.Errorf("%s by %d: picture of %v at %v, want %v", tt.name, step, img.Bounds(), at, tt.want)
			}
		}
	}
}
