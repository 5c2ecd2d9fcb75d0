package rtsp

import (
	"encoding/binary"
	"os"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"

	"offsite/streams"
	"offsite/streams/rtsp/payload"
)

// mostSeed is how much of a NAL unit is kept: the fuzzer shortens what it finds
// byte by byte, which took nearly all of its time with whole pictures.
const mostSeed = 60

// packets packs RTP packets each behind its length, as the fuzzer wants them.
func packets(t testing.TB) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	e := &rtph264.Encoder{PayloadType: 96, PayloadMaxSize: 40}
	if err := e.Init(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i, unit := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data))[:3] {
		for k, u := range unit {
			unit[k] = u[:min(len(u), mostSeed)]
		}
		list, err := e.Encode(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			p.Timestamp = uint32(i) * 6000
			b, err := p.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
		}
	}
	return out
}

// FuzzTrack feeds RTP packets of each codec; what comes out is bounded and whole.
func FuzzTrack(f *testing.F) {
	f.Add(packets(f), byte(0))
	f.Add([]byte("\x00\x20\x80\xe0\x00\x01\x00\x00\x00\x01\x00\x00\x00\x05\x00\x00\x00\x00\x01\x46\x02\x02\xff\xda\x00\x0c\x01\x01\x00\x00\xff\xd9"), byte(2))
	formats := []format.Format{&format.H264{PayloadTyp: 96, PacketizationMode: 1}, &format.H265{PayloadTyp: 96}, &format.MJPEG{}}
	f.Fuzz(func(t *testing.T, data []byte, which byte) {
		chosen := formats[int(which)%len(formats)]
		var stamps stamps
		var timeline timeline
		var at time.Time
		var track *track
		last := time.Duration(-1 << 62)
		track, err := find(&description.Session{Medias: []*description.Media{{Type: description.MediaTypeVideo, Formats: []format.Format{chosen}}}}, func(units [][]byte, stamp uint32) {
			at = at.Add(40 * time.Millisecond)
			frame, err := track.frame(units, stamps.place(timeline.at(stamp), at), at)
			if err != nil || frame == nil {
				return
			}
			if frame.DTS <= last || len(frame.NALUs) == 0 || frame.Size() > 9<<20 || frame.Params.Width < 1 {
				t.Fatalf("frame %+v after %v", frame, last)
			}
			last = frame.DTS
		})
		if err != nil {
			t.Fatal(err)
		}
		at = time.Now()
		for len(data) > 2 {
			n := min(int(binary.BigEndian.Uint16(data)), len(data)-2)
			pkt, err := payload.Read(data[2 : 2+n])
			data = data[2+n:]
			if err != nil {
				continue
			}
			_ = track.gather.Take(&pkt)
		}
	})
}
