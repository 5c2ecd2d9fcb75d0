package streams

import (
	"time"

	"offsite/devices"
)

// TimeSource says whose clock told when a frame was captured.
type TimeSource string

// The clocks.
const (
	ArrivalTime TimeSource = "arrival" // the gateway's, at the frame's arrival
	CameraTime  TimeSource = "camera"  // the camera's, by its RTCP sender reports (RFC 3550, 6.4.1)
)

// Frame is one access unit: everything that makes one picture.
type Frame struct {
	Params *Parameters
	NALUs  [][]byte      // bare NAL units without parameter sets, at least one slice; of MJPEG one JPEG
	PTS    time.Duration // when to show it; its zero is arbitrary and new at each connection, it does not leap
	DTS    time.Duration // when to decode it, on the same axis; it grows with every frame of a connection
	At     time.Time     // when its last byte came, by the gateway's clock
	Taken  time.Time     // when it was captured, by the clock of Source; State.Clock tells how far the camera's is off
	Source TimeSource    // empty: Taken is not known either
	Key    bool          // decoding can begin here; always of MJPEG
	Broken bool          // a picture between its key frame and this one never came: what is decoded may be one that never was

	// What follows is set by Feed.Publish.
	Seq        uint64 // 1 for the first frame of the feed, one more for each
	Group      uint64 // Seq of the key frame that it depends on
	Connection uint64 // count of connections to the camera; PTS of two connections do not compare
}

// Size is the number of bytes of the frame's NAL units.
func (f *Frame) Size() int {
	n := 0
	for _, u := range f.NALUs {
		n += len(u)
	}
	return n
}

// AnnexB gives the frame as a byte stream with start codes (ITU-T H.264 and
// H.265, Annex B), a key frame with its parameter sets before it; of MJPEG the
// JPEG as it is.
func (f *Frame) AnnexB() []byte {
	if f.Params != nil && f.Params.Codec == MJPEG {
		return f.NALUs[0]
	}
	out := make([]byte, 0, f.Size()+8*len(f.NALUs)+256)
	if f.Key {
		for _, u := range f.Params.Sets() {
			out = append(append(out, 0, 0, 0, 1), u...)
		}
	}
	for _, u := range f.NALUs {
		out = append(append(out, 0, 0, 0, 1), u...)
	}
	return out
}

// SplitAnnexB cuts a byte stream at its start codes (three or four bytes) into
// bare NAL units, which share data's memory. Bytes before the first start code
// and empty units are left out.
func SplitAnnexB(data []byte) [][]byte {
	var units [][]byte
	start := -1
	for i := 0; i+2 < len(data); i++ {
		if data[i] != 0 || data[i+1] != 0 || data[i+2] != 1 {
			continue
		}
		if start >= 0 {
			units = appendTrimmed(units, data[start:i])
		}
		start = i + 3
		i += 2
	}
	if start >= 0 {
		units = appendTrimmed(units, data[start:])
	}
	return units
}

// appendTrimmed adds the unit without trailing zeros, which belong to the next
// start code: a NAL unit never ends in a zero byte (H.264, 7.4.1).
func appendTrimmed(units [][]byte, unit []byte) [][]byte {
	for len(unit) > 0 && unit[len(unit)-1] == 0 {
		unit = unit[:len(unit)-1]
	}
	if len(unit) == 0 {
		return units
	}
	return append(units, unit)
}

// Still is one picture of a camera.
type Still struct {
	JPEG          []byte
	At            time.Time  // capture, by the gateway's clock
	Taken         time.Time  // capture by the clock of Source, as Frame.Taken
	Source        TimeSource // empty: Taken is not known
	Clock         Clock      // how the camera's clock stood against the gateway's
	Width, Height int
	Step          string           // rung of the ladder that gave it, see streams/snapshot
	Frame         []byte           // one-frame MP4 when no JPEG could be made
	Lacks         *devices.Problem // why it is not as near to the moment as the camera's pictures are; nil: it is
}
