package rtsptest

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/pion/rtp"
)

// Recorder plays its past by time, as the ONVIF Streaming Specification, 6, says. It
// keeps the demo clip over and over of each interval of Held, where each begins with a key frame.
// What it is asked for stays in Asked.
type Recorder struct {
	Held           [][2]time.Time
	User, Password string // of basic authentication; empty: everybody
	Plain          bool   // knows no ONVIF replay: it plays Held whole and stamps nothing

	Endless  bool          // sends on behind the end that was asked for
	Elsewhen time.Duration // sends pictures of so much later than it was asked for
	Stall    int           // pictures after which it falls silent; 0: never
	Quiet    bool          // does not say when nothing follows
	Refuse   string        // answers PLAY with this status, "457 Invalid Range"

	mu    sync.Mutex
	asked []string
}

// Asked gives the requests that came, "PLAY clock=… onvif-replay no".
func (r *Recorder) Asked() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.asked...)
}

// Serve answers on a port of 127.0.0.1 until ctx ends and gives its address at once;
// done is closed when all has ended.
func (r *Recorder) Serve(ctx context.Context) (url string, done <-chan struct{}, err error) {
	return serve(ctx, r.talk)
}

// ask reads a request; its line ends up in Asked.
func (r *Recorder) ask(in *bufio.Reader) (method, cseq, authorization, span string, err error) {
	line, err := in.ReadString('\n')
	if err != nil {
		return "", "", "", "", err
	}
	fields := strings.Fields(line)
	heads := map[string]string{}
	for line != "\r\n" {
		if line, err = in.ReadString('\n'); err != nil {
			return "", "", "", "", err
		}
		key, value, _ := strings.Cut(line, ":")
		heads[strings.ToLower(key)] = strings.TrimSpace(value)
	}
	method, span = fields[0], strings.TrimPrefix(heads["range"], "clock=")
	note := fields[0]
	for _, extra := range []string{heads["range"], heads["require"], heads["rate-control"]} {
		if extra != "" {
			note += " " + extra
		}
	}
	if r.Plain {
		note += " " + fields[1]
	}
	r.mu.Lock()
	r.asked = append(r.asked, note)
	r.mu.Unlock()
	return method, heads["cseq"], heads["authorization"], span, nil
}

func (r *Recorder) talk(ctx context.Context, conn net.Conn) error {
	in := bufio.NewReader(conn)
	clip := Demo()
	for {
		method, cseq, authorization, span, err := r.ask(in)
		if err != nil {
			return err
		}
		answer := "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nSession: 12345678;timeout=60\r\n"
		secret := "Basic " + base64.StdEncoding.EncodeToString([]byte(r.User+":"+r.Password))
		switch {
		case r.User != "" && authorization != secret && method != "OPTIONS":
			answer = "RTSP/1.0 401 Unauthorized\r\nCSeq: " + cseq + "\r\nWWW-Authenticate: Basic realm=\"recorder\"\r\n\r\n"
		case method == "DESCRIBE":
			sdp := describe(clip)
			answer += fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
		case method == "SETUP":
			answer += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n\r\n"
		case method == "PLAY" && r.Refuse != "":
			answer = "RTSP/1.0 " + r.Refuse + "\r\nCSeq: " + cseq + "\r\n\r\n"
		default:
			answer += "\r\n"
		}
		if _, err := io.WriteString(conn, answer); err != nil {
			return err
		}
		if method == "PLAY" && r.Refuse == "" {
			go func() { // until the connection ends
				for {
					if _, _, _, _, err := r.ask(in); err != nil {
						return
					}
				}
			}()
			return r.play(ctx, conn, clip, span)
		}
	}
}

// play sends what is held of span, as fast as it is taken.
func (r *Recorder) play(ctx context.Context, conn net.Conn, clip *Clip, span string) error {
	from, to := r.Held[0][0], r.Held[len(r.Held)-1][1]
	if !r.Plain {
		begin, end, _ := strings.Cut(span, "-")
		var err error
		if from, err = time.Parse("20060102T150405.000Z", begin); err != nil {
			return err
		}
		if to, err = time.Parse("20060102T150405.000Z", end); err != nil {
			return err
		}
	}
	encoder := &rtph264.Encoder{PayloadType: payloadType, PayloadMaxSize: 1400}
	if err := encoder.Init(); err != nil {
		return err
	}
	sent := 0
	for _, held := range r.Held {
		for i := 0; ; i++ {
			at := held[0].Add(time.Duration(i) * time.Second / demoRate)
			if !at.Before(held[1]) {
				break
			}
			second := held[0].Add(time.Duration(i/demoRate) * time.Second) // when its group began
			if !second.After(from.Add(-time.Second)) || (!at.Before(to) && !r.Endless) {
				continue
			}
			if sent++; r.Stall > 0 && sent > r.Stall {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			if err := r.show(conn, encoder, clip.units[i%len(clip.units)], at.Add(r.Elsewhen)); err != nil {
				return err
			}
		}
	}
	if !r.Quiet {
		if _, err := conn.Write([]byte{'$', 1, 0, 8, 0x81, 203, 0, 1, 0, 0, 0, 1}); err != nil { // RTCP BYE
			return err
		}
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// show sends one picture with its time.
func (r *Recorder) show(conn net.Conn, encoder *rtph264.Encoder, unit [][]byte, at time.Time) error {
	packets, err := encoder.Encode(unit)
	if err != nil {
		return err
	}
	var out []byte
	for _, p := range packets {
		p.Timestamp = uint32(at.UnixMicro() * 9 / 100) //nolint:gosec // RTP time wraps
		if !r.Plain {
			stampReplay(p, at)
		}
		data, err := p.Marshal()
		if err != nil {
			return err
		}
		out = append(append(out, '$', 0, byte(len(data)>>8), byte(len(data))), data...)
	}
	_, err = conn.Write(out)
	return err
}

// stampReplay adds the extension that says when a picture was taken.
func stampReplay(p *rtp.Packet, at time.Time) {
	x := binary.BigEndian.AppendUint32(nil, uint32(at.Unix()+2208988800))                 //nolint:gosec // until 2036
	x = binary.BigEndian.AppendUint32(x, uint32((uint64(at.Nanosecond())<<32+1e9-1)/1e9)) //nolint:gosec // a fraction
	p.Extension, p.ExtensionProfile = true, 0xABAC
	_ = p.SetExtension(0, append(x, 0, 0, 0, 0)) // it fits
}
