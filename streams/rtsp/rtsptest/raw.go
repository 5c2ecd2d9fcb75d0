package rtsptest

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/pion/rtp"
)

// Raw is a camera that is written by hand, for faults that no server library
// lets one make: each field changes what goes over the connection. It plays the
// demo clip over TCP.
type Raw struct {
	Answer func(method, answer string) string       // changes an answer, head and body
	Units  func(i int, unit [][]byte) [][]byte      // changes the NAL units of picture i
	Packet func(i int, p *rtp.Packet) []*rtp.Packet // changes a packet of picture i
	Before func(i int) []byte                       // is sent before picture i
	Large  bool                                     // one NAL unit a packet, as in packetisation mode 0
	Faster int                                      // pictures at this many times their rate; 1
}

// Serve answers on a port of 127.0.0.1 until ctx ends and gives its address at
// once; done is closed when all has ended.
func (r Raw) Serve(ctx context.Context) (url string, done <-chan struct{}, err error) {
	return serve(ctx, r.talk)
}

// serve has talk answer each connection; see [Raw.Serve].
func serve(ctx context.Context, talk func(context.Context, net.Conn) error) (url string, done <-chan struct{}, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ends at once
	if err != nil {
		return "", nil, err
	}
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	wg.Go(func() {
		defer stop()
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
				defer conn.Close()
				_ = talk(ctx, conn)
			})
		}
	})
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	return "rtsp://" + l.Addr().String() + "/cam", ended, nil
}

// talk answers requests until PLAY and plays then.
func (r Raw) talk(ctx context.Context, conn net.Conn) error {
	in := bufio.NewReader(conn)
	clip := Demo()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		method, _, _ := strings.Cut(line, " ")
		cseq := ""
		for line != "\r\n" {
			if line, err = in.ReadString('\n'); err != nil {
				return err
			}
			if strings.HasPrefix(line, "CSeq:") {
				cseq = strings.TrimSpace(line[5:])
			}
		}
		answer := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: 12345678;timeout=60\r\n"
		switch method {
		case "DESCRIBE":
			sdp := describe(clip)
			answer += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
		case "SETUP":
			answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
		default:
			answer += "\r\n"
		}
		if r.Answer != nil {
			answer = r.Answer(method, answer)
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return err
		}
		if method == "PLAY" {
			go func() { _, _ = io.Copy(io.Discard, in) }() // ends with the connection
			return r.play(ctx, conn, clip)
		}
	}
}

func describe(clip *Clip) string {
	return "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" +
		"a=fmtp:96 packetization-mode=1;sprop-parameter-sets=" + base64.StdEncoding.EncodeToString(clip.params.SPS) + "," +
		base64.StdEncoding.EncodeToString(clip.params.PPS) + "\r\na=control:trackID=0\r\n"
}

func (r Raw) play(ctx context.Context, conn net.Conn, clip *Clip) error {
	encoder := &rtph264.Encoder{PayloadType: payloadType, PayloadMaxSize: 1400}
	if r.Large {
		encoder.PayloadMaxSize = 60_000
	}
	if err := encoder.Init(); err != nil {
		return err
	}
	every := clip.every / time.Duration(max(1, r.Faster))
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for i := 0; ; i++ {
		unit := clip.units[i%len(clip.units)]
		if r.Units != nil {
			unit = r.Units(i, unit)
		}
		packets, err := encoder.Encode(unit)
		if err != nil {
			return err
		}
		var out []byte
		if r.Before != nil {
			out = r.Before(i)
		}
		for _, p := range packets {
			p.Timestamp = uint32(i) * uint32(clip.every*clockRate/time.Second) //nolint:gosec // RTP time wraps
			changed := []*rtp.Packet{p}
			if r.Packet != nil {
				changed = r.Packet(i, p)
			}
			for _, p := range changed {
				data, err := p.Marshal()
				if err != nil {
					return err
				}
				out = append(append(out, '$', 0, byte(len(data)>>8), byte(len(data))), data...)
			}
		}
		if _, err := conn.Write(out); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
