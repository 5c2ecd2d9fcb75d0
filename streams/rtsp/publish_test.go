package rtsp_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
)

// still gives one group over and over.
type still struct {
	frames []*streams.Frame
	next   int
}

func (s *still) Next(ctx context.Context) (*streams.Frame, bool, error) {
	if ctx.Err() != nil {
		return nil, false, context.Cause(ctx)
	}
	f := s.frames[s.next%len(s.frames)]
	s.next++
	return f, false, nil
}

func (s *still) Again() {}

// TestAReceiverThatIsOfNoUse meets receivers by sockets alone; real ones are in
// deploy/e2e.
func TestAReceiverThatIsOfNoUse(t *testing.T) {
	data, err := os.ReadFile("rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	f, err := a.Frame(streams.CutUnits(streams.H264, streams.SplitAnnexB(data))[0], 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	refused := &devices.Problem{Kind: devices.ErrInvalid, Code: "push_host", ZH: "不在名单", EN: "not on the list"}
	jpeg, err := streams.NewPictureParameters(640, 480)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		says   string // to whatever comes
		dial   error
		params *streams.Parameters
		want   string
	}{
		{"hangs up", "", nil, f.Params, rtsp.CodePushUnreachable},
		{"answers rubbish", "HTTP/1.1 400 Bad Request\r\n\r\n", nil, f.Params, rtsp.CodePushUnreachable},
		{"refuses", "RTSP/1.0 403 Forbidden\r\nCSeq: 1\r\n\r\nRTSP/1.0 403 Forbidden\r\nCSeq: 2\r\n\r\n", nil, f.Params, rtsp.CodePushRefused},
		{"is not on the list", "", refused, f.Params, "push_host"},
		{"MJPEG", "", nil, jpeg, "codec_not_pushed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := rtsp.PublishConfig{Timeout: time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
				if tt.dial != nil {
					return nil, tt.dial
				}
				ours, theirs := net.Pipe()
				go answer(theirs, tt.says)
				return ours, nil
			}}
			to := streams.Receiver{URL: &url.URL{Scheme: "rtsp", Host: "media.example.cn", Path: "/live"}}
			err := rtsp.Publish(t.Context(), to, tt.params, &still{frames: []*streams.Frame{f}}, cfg)
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// answer says one thing to the first request and hangs up.
func answer(conn net.Conn, says string) {
	defer conn.Close()
	_, _ = conn.Read(make([]byte, 4096))
	_, _ = conn.Write([]byte(says))
}
