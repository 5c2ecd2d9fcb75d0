package rtsp_test

import (
	"os"
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/rtsp/rtsptest"
)

// smallClip is 160x96, made by
//
//	ffmpeg -f lavfi -i testsrc2=size=160x96:rate=15:duration=1 -c:v libx264 -profile:v baseline -preset veryslow
//	-crf 35 -pix_fmt yuv420p -g 5 -bf 0 -threads 1 -flags +bitexact -f h264 testdata/small.h264
func smallClip(t *testing.T) *rtsptest.Clip {
	t.Helper()
	data, err := os.ReadFile("testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	clip, err := rtsptest.NewClip(streams.H264, data, 15)
	if err != nil {
		t.Fatal(err)
	}
	return clip
}

// demoUnits gives the access units of the demo clip as frames hold them,
// without parameter sets.
func demoUnits(t *testing.T) [][][]byte {
	t.Helper()
	data, err := os.ReadFile("rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	assembler := streams.NewAssembler(streams.H264, nil, nil, nil)
	var out [][][]byte
	for _, unit := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		f, err := assembler.Frame(unit, 0, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f.NALUs)
	}
	return out
}
