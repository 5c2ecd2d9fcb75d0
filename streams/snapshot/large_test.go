package snapshot_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/snapshot"
)

// A picture of 8K is refused by the embedded decoder, and told with the cure; a
// child has the memory for it or says that it has not.
func TestPictureOf8KIsBounded(t *testing.T) {
	data, err := os.ReadFile("decoder/testdata/8k.h264")
	if err != nil {
		t.Fatal(err)
	}
	key := decodeClip(t, streams.H264, data)[0]
	for _, tt := range decoders {
		t.Run(tt.name, func(t *testing.T) {
			if tt.step == snapshot.StepFFmpeg {
				needFFmpeg(t)
			}
			still, err := snapshot.New(tt.cfg).Take(t.Context(), cam, connected(key, time.Now()))
			if tt.step == snapshot.StepFFmpeg && err == nil {
				if still.Width != 7680 || still.Height != 4320 {
					t.Errorf("picture of %dx%d", still.Width, still.Height)
				}
				return
			}
			var p *devices.Problem
			if !errors.As(err, &p) || p.ZH == "" || still.JPEG != nil || (tt.step == snapshot.StepSandbox && (p.Code != snapshot.CodeRefused || !strings.Contains(p.EN, "4K"))) {
				t.Errorf("step %q: %v", still.Step, err)
			}
			t.Log(err)
		})
	}
}
