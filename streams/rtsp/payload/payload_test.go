package payload_test

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"reflect"
	"testing"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp"

	"offsite/streams"
	"offsite/streams/rtsp/payload"
)

func TestRead(t *testing.T) {
	const fixed = "\x00\x07\x00\x00\x00\x09\x00\x00\x00\x05"
	body := []byte("body")
	want := func(p payload.Packet) *payload.Packet {
		p.Type, p.Sequence, p.Stamp, p.Source = 96, 7, 9, 5
		return &p
	}
	tests := []struct {
		name, sent string
		want       *payload.Packet // nil: refused
	}{
		{"plain", "\x80\x60" + fixed + "body", want(payload.Packet{Payload: body})},
		{"marked", "\x80\xe0" + fixed + "body", want(payload.Packet{Payload: body, Marked: true})},
		{"contributing sources", "\x82\x60" + fixed + "11112222body", want(payload.Packet{Payload: body})},
		{"an extension", "\x90\x60" + fixed + "\xab\xac\x00\x01extnbody", want(payload.Packet{Payload: body})},
		{"padding", "\xa0\x60" + fixed + "body\x00\x00\x03", want(payload.Packet{Payload: body})},
		{"nothing", "\x80\x60" + fixed, want(payload.Packet{Payload: []byte{}})},
		{"another version", "\x40\x60" + fixed + "body", nil},
		{"cut short", "\x80\x60" + fixed[:9], nil},
		{"sources beyond the end", "\x8f\x60" + fixed + "1111", nil},
		{"an extension beyond the end", "\x90\x60" + fixed + "\xab\xac\xff\xff", nil},
		{"half an extension", "\x90\x60" + fixed + "\xab", nil},
		{"padding beyond the beginning", "\xa0\x60" + fixed + "\xff", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := payload.Read([]byte(tt.sent))
			if tt.want == nil {
				if err == nil {
					t.Errorf("read %+v", got)
				}
				return
			}
			if diff := cmp.Diff(*tt.want, got); diff != "" || err != nil {
				t.Error(err, diff)
			}
		})
	}
}

// filled is a unit of n bytes that begins with these, and holds no start code.
func filled(n int, begin ...byte) []byte {
	u := append(make([]byte, 0, n), begin...)
	for i := len(u); i < n; i++ {
		u = append(u, byte(i%251)+4)
	}
	return u
}

// access are access units as a camera sends them.
func access(codec streams.Codec) [][][]byte {
	if codec == streams.H265 {
		return [][][]byte{
			{filled(24, 0x40, 1), filled(50, 0x42, 1), filled(9, 0x44, 1), filled(5000, 0x26, 1, 0x80), filled(1800, 0x26, 1)},
			{filled(700, 0x02, 1, 0x80)},
			{filled(2, 0x4e, 1), filled(1401, 0x02, 1, 0x80)},
		}
	}
	return [][][]byte{
		{filled(25, 0x67), filled(4, 0x68), filled(5000, 0x65, 0x88), filled(1800, 0x65)},
		{filled(700, 0x41, 0x9a)},
		{filled(2, 0x06), filled(1401, 0x41, 0x9a)},
	}
}

// encoder makes packets as gortsplib does, which puts small units together.
func encoder(t testing.TB, codec streams.Codec, most int) func([][]byte) ([]*rtp.Packet, error) {
	t.Helper()
	if codec == streams.H265 {
		e := &rtph265.Encoder{PayloadType: 96, PayloadMaxSize: most}
		if err := e.Init(); err != nil {
			t.Fatal(err)
		}
		return e.Encode
	}
	e := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: most}
	if err := e.Init(); err != nil {
		t.Fatal(err)
	}
	return e.Encode
}

// sent reads the packets of one access unit as they go over the wire.
func sent(t testing.TB, packets []*rtp.Packet, stamp uint32, marks bool) (out []payload.Packet) {
	t.Helper()
	for _, p := range packets {
		p.Timestamp, p.Marker = stamp, p.Marker && marks
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		read, err := payload.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, read)
	}
	return out
}

// collected keeps copies of what is handed on.
type collected struct {
	units  [][][]byte
	stamps []uint32
}

func (c *collected) done(units [][]byte, stamp uint32) {
	var all [][]byte
	for _, u := range units {
		all = append(all, bytes.Clone(u))
	}
	c.units, c.stamps = append(c.units, all), append(c.stamps, stamp)
}

func TestUnitsComeWholeWhateverThePacketSize(t *testing.T) {
	for _, codec := range []streams.Codec{streams.H264, streams.H265} {
		for _, marks := range []bool{true, false} {
			name := string(codec)
			if !marks {
				name += ", no marks"
			}
			t.Run(name, func(t *testing.T) {
				want := access(codec)
				for most := 60; most < 6000; most += 97 {
					encode := encoder(t, codec, most)
					var got collected
					u := payload.NewUnits(codec, got.done)
					for i, unit := range append(want, [][]byte{filled(9, 0x02, 1, 0x80)}) { // the last ends the one before
						packets, err := encode(unit)
						if err != nil {
							t.Fatal(err)
						}
						for _, p := range sent(t, packets, uint32(i)*3600, marks) {
							if err := u.Take(&p); err != nil {
								t.Fatalf("packets of %d: %v", most, err)
							}
						}
					}
					if !reflect.DeepEqual(want, got.units[:len(want)]) { // of some kB: cmp takes seconds
						t.Fatalf("packets of %d: units are not as they were sent", most)
					}
					if diff := cmp.Diff([]uint32{0, 3600, 7200}, got.stamps[:len(want)]); diff != "" {
						t.Fatalf("packets of %d: %s", most, diff)
					}
				}
			})
		}
	}
}

// part is a packet: its payload, mark and stamp.
type part struct {
	payload string
	marked  bool
	stamp   uint32
}

func TestUnitsOfOddCameras(t *testing.T) {
	const slice = "\x41\x9aslice"
	tests := []struct {
		name   string
		codec  streams.Codec
		parts  []part
		want   []string // units of all access units, one after the other
		faults int
	}{
		{"a packet of no bytes with the mark", streams.H264, []part{{slice, false, 1}, {"", true, 1}}, []string{slice}, 0},
		{"a packet of no bytes between fragments", streams.H264, []part{{"\x7c\x81ab", false, 1}, {"", false, 1}, {"\x7c\x41cd", true, 1}}, []string{"\x61abcd"}, 0},
		{"begin and end in one fragment", streams.H264, []part{{"\x5c\xc1\x9asmall", true, 1}}, []string{"\x41\x9asmall"}, 0},
		{"aggregate padded with zeros", streams.H264, []part{{"\x18\x00\x02\x41\x9a\x00\x00\x00", true, 1}}, []string{"\x41\x9a"}, 0},
		{"units with start codes in one", streams.H264, []part{{"\x67sps\x00\x00\x00\x01\x68pps\x00\x00\x01" + slice, true, 1}, {slice, true, 2}}, []string{"\x67sps", "\x68pps", slice, slice}, 0},
		{"a start code before the unit", streams.H264, []part{{"\x00\x00\x00\x01" + slice, true, 1}}, []string{slice}, 0},
		{"joined in mid-stream", streams.H264, []part{{"\x7c\x01rest", false, 1}, {"\x7c\x41end", true, 1}, {slice, true, 2}}, []string{slice}, 0},
		{"fragment without a beginning", streams.H264, []part{{slice, true, 1}, {slice, false, 2}, {"\x7c\x01hole", false, 2}, {"\x7c\x41end", true, 2}, {slice, true, 3}}, []string{slice, slice}, 1},
		{"fragment without an end", streams.H264, []part{{"\x7c\x81ab", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"fragment broken by another", streams.H264, []part{{"\x7c\x81ab", false, 1}, {"\x7c\x81cd", false, 1}, {"\x7c\x41ef", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"fragment broken by a unit", streams.H264, []part{{"\x7c\x81ab", false, 1}, {slice, true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"fragment of one byte", streams.H264, []part{{"\x7c", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"unit of an aggregate beyond its end", streams.H264, []part{{"\x18\x00\x09\x41\x9a", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"unit of no bytes in an aggregate", streams.H264, []part{{"\x18\x00\x00\x00\x02\x41\x9a", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"one byte behind an aggregate", streams.H264, []part{{"\x18\x00\x02\x41\x9a\x07", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"interleaved packets of mode 2", streams.H264, []part{{"\x19\x00\x01\x00\x02\x41\x9a", true, 1}, {slice, true, 2}}, []string{slice}, 1},
		{"H.265, one byte behind an aggregate", streams.H265, []part{{"\x60\x01\x00\x03\x02\x01\x80\x07", true, 1}, {"\x02\x01\x80", true, 2}}, []string{"\x02\x01\x80"}, 1},
		{"H.265, aggregate", streams.H265, []part{{"\x60\x01\x00\x03\x02\x01\x80\x00\x03\x02\x01\x07", true, 1}}, []string{"\x02\x01\x80", "\x02\x01\x07"}, 0},
		{"H.265, payload content information", streams.H265, []part{{"\x64\x01\x00\x00", true, 1}, {"\x02\x01\x80", true, 2}}, []string{"\x02\x01\x80"}, 1},
		{"H.265, end of sequence", streams.H265, []part{{"\x48\x01", true, 1}}, []string{"\x48\x01"}, 0},
		{"H.265, fragment of two bytes", streams.H265, []part{{"\x62\x01", true, 1}, {"\x02\x01\x80", true, 2}}, []string{"\x02\x01\x80"}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got collected
			u := payload.NewUnits(tt.codec, got.done)
			faults := 0
			for _, p := range tt.parts {
				if err := u.Take(&payload.Packet{Payload: []byte(p.payload), Marked: p.marked, Stamp: p.stamp}); err != nil {
					faults++
				}
			}
			var all []string
			for _, units := range got.units {
				for _, one := range units {
					all = append(all, string(one))
				}
			}
			if diff := cmp.Diff(tt.want, all); diff != "" {
				t.Error(diff)
			}
			if faults != tt.faults {
				t.Errorf("%d faults told, want %d", faults, tt.faults)
			}
		})
	}
}

func TestNothingOfBeforeALossIsHandedOn(t *testing.T) {
	encode := encoder(t, streams.H264, 500)
	unit := access(streams.H264)[0]
	packets, err := encode(unit)
	if err != nil {
		t.Fatal(err)
	}
	all := sent(t, packets, 1, true)
	for lost := range all {
		var got collected
		u := payload.NewUnits(streams.H264, got.done)
		for i := range all {
			if i == lost {
				u.Lost()
				continue
			}
			if err := u.Take(&all[i]); err != nil {
				t.Fatalf("packet %d lost: %v", lost, err)
			}
		}
		for _, units := range got.units {
			for _, one := range units {
				key := lost == 0 && bytes.Equal(one, unit[2])
				if !key && !bytes.Equal(one, unit[len(unit)-1]) {
					t.Errorf("packet %d lost: a unit of %d bytes that began before it or has a hole", lost, len(one))
				}
			}
		}
	}
}

func TestAccessUnitsAreBounded(t *testing.T) {
	large := func(i int) payload.Packet { // a fragment of 64 KiB
		head := "\x7c\x01"
		if i == 0 {
			head = "\x7c\x81"
		}
		return payload.Packet{Payload: append([]byte(head), make([]byte, 64<<10)...), Stamp: 1}
	}
	small := func(int) payload.Packet { return payload.Packet{Payload: []byte{0x41, 0x9a}, Stamp: 1} }
	tests := []struct {
		name string
		make func(i int) payload.Packet
		n    int
	}{
		{"a unit of 16 MiB", large, 256},
		{"a million units", small, 1_000_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got collected
			u := payload.NewUnits(streams.H264, got.done)
			faults := 0
			for i := range tt.n {
				p := tt.make(i)
				if u.Take(&p) != nil {
					faults++
				}
			}
			if faults != 1 {
				t.Errorf("told %d times", faults)
			}
			next := payload.Packet{Payload: []byte{0x41, 0x9a, 0x80}, Stamp: 2, Marked: true}
			if err := u.Take(&next); err != nil || len(got.units) != 1 || len(got.units[0]) != 1 {
				t.Errorf("then %v, %d access units", err, len(got.units))
			}
		})
	}
}

func TestPacketsCostNoMemory(t *testing.T) {
	encode := encoder(t, streams.H264, 1400)
	var packets []payload.Packet
	for i, unit := range access(streams.H264) {
		list, err := encode(unit)
		if err != nil {
			t.Fatal(err)
		}
		packets = append(packets, sent(t, list, uint32(i), true)...)
	}
	u := payload.NewUnits(streams.H264, func([][]byte, uint32) {})
	n := testing.AllocsPerRun(100, func() {
		for i := range packets {
			if err := u.Take(&packets[i]); err != nil {
				t.Fatal(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// picture is a JPEG as RFC 2435 can carry it, and its packets.
func picture(t testing.TB, most int) (jpg []byte, packets []payload.Packet) {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, 64, 48), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = color.YCbCr{Y: byte(i * 7)}.Y
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, nil); err != nil {
		t.Fatal(err)
	}
	e := &rtpmjpeg.Encoder{PayloadMaxSize: most}
	if err := e.Init(); err != nil {
		t.Fatal(err)
	}
	list, err := e.Encode(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var d rtpmjpeg.Decoder
	for _, p := range list {
		if got, err := d.Decode(p); err == nil {
			jpg = got
		}
	}
	if jpg == nil {
		t.Fatal("the picture does not come through gortsplib")
	}
	return jpg, sent(t, list, 9, true)
}

func TestPicturesComeWholeOrNotAtAll(t *testing.T) {
	for most := 200; most < 1400; most += 113 {
		want, packets := picture(t, most)
		for lost := -1; lost < len(packets); lost++ {
			var got collected
			j := payload.NewPictures(got.done)
			faults := 0
			for i := range packets {
				if i != lost && j.Take(&packets[i]) != nil {
					faults++
				}
			}
			if whole := len(got.units) == 1 && bytes.Equal(got.units[0][0], want); whole != (lost < 0) || len(got.units) > 1 {
				t.Errorf("packets of %d, number %d of %d lost: %d pictures, whole %v", most, lost, len(packets), len(got.units), whole)
			}
			if faults > 1 || (lost < 0 && faults > 0) {
				t.Errorf("packets of %d, number %d lost: told %d times", most, lost, faults)
			}
			for i := range packets { // the next one is whole again
				if err := j.Take(&packets[i]); err != nil {
					t.Fatal(err)
				}
			}
			if last := len(got.units) - 1; last < 0 || !bytes.Equal(got.units[last][0], want) {
				t.Errorf("packets of %d: the picture after a loss does not come", most)
			}
		}
	}
}

func TestPicturesAreBounded(t *testing.T) {
	var got collected
	j := payload.NewPictures(got.done)
	offset, faults := 0, 0
	for range 300 { // 19 MB without a mark
		body := make([]byte, 64<<10)
		p := payload.Packet{Payload: append([]byte{0, byte(offset >> 16), byte(offset >> 8), byte(offset), 1, 50, 8, 6}, body...)}
		if j.Take(&p) != nil {
			faults++
		}
		offset += len(body)
	}
	if faults == 0 || len(got.units) != 0 {
		t.Errorf("%d faults, %d pictures", faults, len(got.units))
	}
}

// FuzzPayload gives packets of any codec; what is handed on is bounded and holds no
// empty unit.
func FuzzPayload(f *testing.F) {
	seed := func(packets []payload.Packet) (out []byte) {
		for _, p := range packets {
			b := []byte{byte(len(p.Payload) >> 8), byte(len(p.Payload)), byte(p.Stamp)}
			if p.Marked {
				b[0] |= 0x80
			}
			out = append(append(out, b...), p.Payload...)
		}
		return out
	}
	for i, codec := range []streams.Codec{streams.H264, streams.H265} {
		for _, most := range []int{60, 300} {
			encode := encoder(f, codec, most)
			var all []payload.Packet
			for k, unit := range access(codec) {
				for n := range unit {
					unit[n] = unit[n][:min(len(unit[n]), 90)]
				}
				list, err := encode(unit)
				if err != nil {
					f.Fatal(err)
				}
				all = append(all, sent(f, list, uint32(k), true)...)
			}
			f.Add(seed(all), byte(i))
		}
	}
	_, packets := picture(f, 400)
	f.Add(seed(packets), byte(2))
	f.Add([]byte("\x00\x0f\x01\x67s\x00\x00\x00\x01\x68\x00\x00\x01\x41\x9a\x00\x00\x01"), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, which byte) {
		given := 0
		var of string
		done := func(units [][]byte, _ uint32) {
			if len(units) == 0 {
				t.Fatal("an access unit of nothing")
			}
			for _, u := range units {
				if given -= len(u); len(u) == 0 {
					t.Fatal("a unit of no bytes")
				}
			}
			if of != "pictures" && given < 0 {
				t.Fatalf("%d bytes more than were sent", -given)
			}
		}
		var gather interface {
			Take(p *payload.Packet) error
			Lost()
		}
		switch which % 3 {
		case 0:
			gather = payload.NewUnits(streams.H264, done)
		case 1:
			gather = payload.NewUnits(streams.H265, done)
		default:
			of, gather = "pictures", payload.NewPictures(done)
		}
		_, _ = payload.Read(data)
		for len(data) > 3 {
			n := min(int(data[0]&0x3f)<<8|int(data[1]), len(data)-3)
			p := payload.Packet{Marked: data[0]&0x80 != 0, Stamp: uint32(data[2]), Payload: data[3 : 3+n]}
			if data[0]&0x40 != 0 {
				gather.Lost()
			}
			given += n
			_ = gather.Take(&p)
			data = data[3+n:]
		}
	})
}
