package streams_test

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams"
)

func clipUnits(t testing.TB) [][]byte {
	t.Helper()
	data, err := os.ReadFile("rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	return streams.SplitAnnexB(data)
}

func TestSplitAnnexB(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want [][]byte
	}{
		{"both start codes", []byte{0, 0, 0, 1, 9, 8, 0, 0, 1, 7, 6}, [][]byte{{9, 8}, {7, 6}}},
		{"rubbish before", []byte{5, 5, 0, 0, 1, 7}, [][]byte{{7}}},
		{"trailing zeros", []byte{0, 0, 1, 7, 0, 0, 0}, [][]byte{{7}}},
		{"empty unit", []byte{0, 0, 1, 0, 0, 1, 7}, [][]byte{{7}}},
		{"no start code", []byte{1, 2, 3}, nil},
		{"nothing", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, streams.SplitAnnexB(tt.data)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAssemblerOnARealStream(t *testing.T) {
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	units := streams.CutUnits(streams.H264, clipUnits(t))
	if len(units) != 15 {
		t.Fatalf("%d access units, want 15", len(units))
	}
	var params *streams.Parameters
	for i, u := range units {
		f, err := a.Frame(u, 0, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if f.Key != (i%5 == 0) || f.Params.Width != 160 || f.Params.Height != 96 {
			t.Errorf("frame %d: key %v, %dx%d", i, f.Key, f.Params.Width, f.Params.Height)
		}
		if params != nil && f.Params != params {
			t.Errorf("frame %d has new parameters", i)
		}
		params = f.Params
		again := streams.SplitAnnexB(f.AnnexB())
		if f.Key && !bytes.Equal(again[0], f.Params.SPS) {
			t.Error("a key frame's byte stream does not begin with its parameter set")
		}
	}
}

func TestAssemblerLetsNothingDamagedThrough(t *testing.T) {
	sets := clipUnits(t)[:2] // SPS, PPS
	slice, second := []byte{0x65, 0x88, 0x80}, []byte{0x65, 0x08, 0x80}
	tests := []struct {
		name  string
		units [][]byte
		frame bool
		err   bool
	}{
		{"whole", [][]byte{sets[0], sets[1], slice, second}, true, false},
		{"first slice lost", [][]byte{sets[0], sets[1], second}, false, true},
		{"no parameter sets yet", [][]byte{slice}, false, false},
		{"damaged parameter set", [][]byte{{0x67, 0xff}, sets[1], slice}, false, true},
		{"parameter sets alone", [][]byte{sets[0], sets[1]}, false, false},
		{"delimiter and empty unit", [][]byte{{9, 0x10}, {}}, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := streams.NewAssembler(streams.H264, nil, nil, nil).Frame(tt.units, 0, time.Time{})
			if (f != nil) != tt.frame || (err != nil) != tt.err {
				t.Errorf("frame %v, error %v", f, err)
			}
		})
	}
}

func TestNothingComesBeforeTheFirstKeyFrame(t *testing.T) {
	units := streams.CutUnits(streams.H264, clipUnits(t))
	a := streams.NewAssembler(streams.H264, nil, units[0][0], units[0][1])
	for i, u := range units[1:] {
		f, err := a.Frame(u, 0, time.Time{})
		if err != nil || (f != nil) != (i >= 4) {
			t.Errorf("picture %d, of which the fifth is a key frame: frame %v, error %v", i, f != nil, err)
		}
	}
}

func TestWhatDependsOnALostUnitIsMarked(t *testing.T) {
	units := streams.CutUnits(streams.H264, clipUnits(t)) // each fifth a key frame
	tests := []struct {
		name string
		hurt func(a *streams.Assembler) // before the eighth
		want []int                      // that are broken, of the clip
	}{
		{"nothing", func(*streams.Assembler) {}, nil},
		{"units lost", func(a *streams.Assembler) { a.Lost() }, []int{7, 8, 9}},
		{"no first slice", func(a *streams.Assembler) { _, _ = a.Frame([][]byte{{0x41, 0x08, 0x80}}, 0, time.Time{}) }, []int{7, 8, 9}},
		{"a leap of times alone", func(a *streams.Assembler) { a.Gap() }, nil},
		{"no picture", func(a *streams.Assembler) { _, _ = a.Frame([][]byte{{9, 0x10}}, 0, time.Time{}) }, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := streams.NewAssembler(streams.H264, nil, nil, nil)
			var broken []int
			for i, u := range units {
				if i == 7 {
					tt.hurt(a)
				}
				f, err := a.Frame(u, 0, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				if f.Broken {
					broken = append(broken, i)
				}
			}
			if diff := cmp.Diff(tt.want, broken); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFurtherPictureSetsStayWithTheirPictures(t *testing.T) {
	sets := clipUnits(t)[:2]
	slice := []byte{0x65, 0x88, 0x80}
	second := []byte{0x68, 0x40, 0x80} // id 1
	f, err := streams.NewAssembler(streams.H264, nil, nil, nil).Frame([][]byte{sets[0], sets[1], second, slice}, 0, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]byte{second, slice}, f.NALUs); diff != "" {
		t.Error(diff)
	}
	if !bytes.Equal(f.Params.PPS, sets[1]) {
		t.Errorf("parameter set %x, want the first, %x", f.Params.PPS, sets[1])
	}
}

func FuzzAssembler(f *testing.F) {
	for _, u := range streams.CutUnits(streams.H264, clipUnits(f))[:2] {
		var all []byte
		for _, n := range u {
			all = append(append(all, 0, 0, 1), n...)
		}
		f.Add(all, false)
	}
	// VPS, SPS and PPS of x265, and one byte of an IDR slice.
	f.Add([]byte("\x00\x00\x01\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\x95\x98\x09"+
		"\x00\x00\x01\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x1e\xa0\x0a\x08\x03\x16\x59\x59\xa4\x93\x2b\xc0\x5a\x02\x00\x00\x03\x00\x02\x00\x00\x03\x00\x3c\x10"+
		"\x00\x00\x01\x44\x01\xc1\x72\xb4\x62\x40\x00\x00\x01\x26\x01\xaf\x01"), true)
	f.Fuzz(func(t *testing.T, data []byte, h265 bool) {
		codec := streams.H264
		if h265 {
			codec = streams.H265
		}
		a := streams.NewAssembler(codec, nil, nil, nil)
		for _, unit := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
			frame, err := a.Frame(unit, 0, time.Time{})
			if err != nil || frame == nil {
				continue
			}
			if frame.Params == nil || len(frame.NALUs) == 0 || frame.Params.Width < 1 || frame.Params.Height < 1 {
				t.Fatalf("frame %+v", frame)
			}
			frame.AnnexB()
		}
	})
}

// TestParameterSetsThatAreTooLargeAreRefused has them told beforehand and in band.
func TestParameterSetsThatAreTooLargeAreRefused(t *testing.T) {
	sets := clipUnits(t)[:2]
	slice := []byte{0x65, 0x88, 0x80}
	large := append(bytes.Clone(sets[0]), make([]byte, 70_000)...)
	for _, tt := range []struct {
		name   string
		before [][]byte // SPS, PPS
		units  [][]byte
	}{
		{"told beforehand", [][]byte{large, sets[1]}, [][]byte{slice}},
		{"in band", [][]byte{nil, nil}, [][]byte{large, sets[1], slice}},
		{"in band after good ones", [][]byte{sets[0], sets[1]}, [][]byte{large, slice}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := streams.NewAssembler(streams.H264, nil, tt.before[0], tt.before[1]).Frame(tt.units, 0, time.Time{})
			var p *devices.Problem
			if f != nil || !errors.As(err, &p) || p.Code != streams.CodeParameters {
				t.Errorf("frame %v, error %v", f != nil, err)
			}
		})
	}
}
