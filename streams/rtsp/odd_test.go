package rtsp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// raw serves a camera written by hand.
func raw(t *testing.T, r rtsptest.Raw) devices.Camera {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	url, done, err := r.Serve(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); <-done })
	return devices.Camera{ID: "odd", Site: "site-1", Name: "怪", URL: url}
}

// in changes the answer to one method.
func in(method string, change func(string) string) func(string, string) string {
	return func(m, answer string) string {
		if m != method {
			return answer
		}
		return change(answer)
	}
}

// replace exchanges text in the answer to a method and mends its length.
func replace(method string, pairs ...string) func(string, string) string {
	return in(method, func(a string) string {
		head, body, _ := strings.Cut(strings.NewReplacer(pairs...).Replace(a), "\r\n\r\n")
		if i := strings.Index(head, "Content-Length"); i >= 0 {
			head = head[:i] + fmt.Sprintf("Content-Length: %d", len(body))
		}
		return head + "\r\n\r\n" + body
	})
}

// senderReport is an interleaved RTCP sender report for picture i of the raw
// camera, whose clock is ahead, followed by more.
func senderReport(ssrc uint32, i int, ahead time.Duration, more ...byte) []byte {
	now := time.Now().Add(ahead)
	b := []byte{0x80, 200, 0, 6}
	b = binary.BigEndian.AppendUint32(b, ssrc)
	b = binary.BigEndian.AppendUint32(b, uint32(now.Unix()+2208988800))
	b = binary.BigEndian.AppendUint32(b, uint32(uint64(now.Nanosecond())<<32/1e9))
	b = binary.BigEndian.AppendUint32(b, uint32(i)*6000)
	b = append(append(b, 0, 0, 0, 0, 0, 0, 0, 0), more...)
	return append([]byte{'$', 1, 0, byte(len(b))}, b...)
}

func TestOddCamerasAreUnderstood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		camera  rtsptest.Raw
		warning string
	}{
		{"as it should be", rtsptest.Raw{}, ""},
		{"packetisation mode 0, units of 60 kB", rtsptest.Raw{Large: true, Answer: replace("DESCRIBE", "packetization-mode=1", "packetization-mode=0")}, ""},
		{"a mode that does not exist", rtsptest.Raw{Answer: replace("DESCRIBE", "packetization-mode=1", "packetization-mode=x")}, ""},
		{"Uniview: origin without address", rtsptest.Raw{Answer: replace("DESCRIBE", "o=- 0 0 IN IP4 127.0.0.1", "o=- 1001 1 IN ")}, ""},
		{"Uniview: connection without address", rtsptest.Raw{Answer: replace("DESCRIBE", "c=IN IP4 0.0.0.0", "c=IN ")}, ""},
		{"sound without its settings", rtsptest.Raw{Answer: replace("DESCRIBE", "trackID=0\r\n", "trackID=0\r\nm=audio 0 RTP/AVP 104\r\na=rtpmap:104 MPEG4-GENERIC/16000\r\n")}, ""},
		{"keys and media from a museum", rtsptest.Raw{Answer: replace("DESCRIBE", "t=0 0", "t=\r\nq=?\r\nb=VANA:1\r\nz=1\r\nnonsense\r\nm=\r\nm=vana 0 X 1")}, ""},
		{"parameter sets that are no base64", rtsptest.Raw{Answer: replace("DESCRIBE", "sprop-parameter-sets=", "sprop-parameter-sets=!")}, ""},
		{"no map of the payload type", rtsptest.Raw{Answer: replace("DESCRIBE", "a=rtpmap:96 H264/90000\r\n", "")}, ""},
		{"status line without text", rtsptest.Raw{Answer: func(_, a string) string { return strings.Replace(a, "200 OK", "200", 1) }}, ""},
		{"status line with a blank alone", rtsptest.Raw{Answer: func(_, a string) string { return strings.Replace(a, "200 OK", "200 ", 1) }}, ""},
		{"line feeds alone", rtsptest.Raw{Answer: func(m, a string) string {
			head, body, _ := strings.Cut(a, "\r\n\r\n")
			return strings.ReplaceAll(head, "\r\n", "\n") + "\n\n" + body
		}}, ""},
		{"no content type", rtsptest.Raw{Answer: replace("DESCRIBE", "Content-Type: application/sdp\r\n", "")}, ""},
		{"base that is no address", rtsptest.Raw{Answer: replace("DESCRIBE", "Content-Type", "Content-Base: %%\r\nContent-Type")}, ""},
		{"a header of 4 kB", rtsptest.Raw{Answer: func(_, a string) string {
			return strings.Replace(a, "Session", "X-Banner: "+strings.Repeat("x", 4000)+"\r\nSession", 1)
		}}, ""},
		{"no channels", rtsptest.Raw{Answer: replace("SETUP", ";interleaved=0-1", "")}, ""},
		{"source that is no address", rtsptest.Raw{Answer: replace("SETUP", "unicast;", "unicast;source=?;destination=?;")}, ""},
		{"time-out that is none", rtsptest.Raw{Answer: func(_, a string) string { return strings.Replace(a, "timeout=60", "timeout=soon", 1) }}, ""},
		{"requests of its own", rtsptest.Raw{Before: func(int) []byte {
			return []byte("SET_PARAMETER rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\nContent-Length: 2\r\n\r\n$$")
		}}, ""},
		{"rubbish between packets", rtsptest.Raw{Before: func(int) []byte { return []byte("\x00\xffrubbish\r\n") }}, ""},
		{"units of no bytes", rtsptest.Raw{Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			empty := *p
			empty.Payload, empty.Marker = nil, false
			empty.PayloadType = 97
			return []*rtp.Packet{&empty, p}
		}}, ""},
		{"packets of another channel", rtsptest.Raw{Before: func(int) []byte { return []byte("$\x06\x00\x0d\x80\x60\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x41") }}, ""},
		{"packets of another source", rtsptest.Raw{Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			other := *p
			other.SSRC, other.SequenceNumber = p.SSRC+1, p.SequenceNumber+999
			return []*rtp.Packet{p, &other}
		}}, ""},
		{"no marks", rtsptest.Raw{Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			p.Marker = false
			return []*rtp.Packet{p}
		}}, ""},
		{"units with their start codes in one", rtsptest.Raw{Units: func(i int, unit [][]byte) [][]byte {
			return [][]byte{bytes.Join(unit, []byte{0, 0, 0, 1})}
		}}, ""},
		{"stamps that leap a day", rtsptest.Raw{Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			if i > 8 {
				p.Timestamp -= 90000 * 3600 * 6
			}
			return []*rtp.Packet{p}
		}}, rtsp.CodeStamps},
		{"stamps that stand still", rtsptest.Raw{Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			p.Timestamp = 7
			return []*rtp.Packet{p}
		}}, rtsp.CodeStamps},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			feed, _ := pull(t, raw(t, tt.camera), rtsp.Config{Timeout: 3 * time.Second})
			got := frames(t, feed, 20)
			for i, f := range got[1:] {
				if step := f.DTS - got[i].DTS; step <= 0 || step > time.Second {
					t.Errorf("frame %d is decoded %v after the one before", f.Seq, step)
				}
				if step := f.PTS - got[i].PTS; step < 0 || step > time.Second {
					t.Errorf("frame %d is shown %v after the one before", f.Seq, step)
				}
			}
			code := ""
			for _, w := range feed.State().Warnings {
				code = w.Code
			}
			if code != tt.warning {
				t.Errorf("warned of %q, want %q", code, tt.warning)
			}
		})
	}
}

func TestHopelessCamerasAreTold(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(string, string) string
		code   string
	}{
		{"headers without end", in("OPTIONS", func(string) string {
			return "RTSP/1.0 200 OK\r\n" + strings.Repeat("X-More: and more\r\n", 10_000)
		}), rtsp.CodeGarbled},
		{"a line without end", in("DESCRIBE", func(string) string { return "RTSP/1.0 200 OK\r\nX: " + strings.Repeat("x", 1<<20) }), rtsp.CodeGarbled},
		{"a body of a gigabyte", in("DESCRIBE", func(string) string { return "RTSP/1.0 200 OK\r\nContent-Length: 1073741824\r\n\r\n" }), rtsp.CodeGarbled},
		{"rubbish", in("OPTIONS", func(string) string { return strings.Repeat("\xff", 1000) }), rtsp.CodeSilent},
		{"redirection to elsewhere", in("DESCRIBE", func(a string) string {
			return strings.Replace(strings.Replace(a, "200 OK", "302 Found", 1), "Session", "Location: rtsp://10.9.9.9/\r\nSession", 1)
		}), rtsp.CodeLost},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, ended := pull(t, raw(t, rtsptest.Raw{Answer: tt.answer}), rtsp.Config{Timeout: 4 * time.Second})
			var p *devices.Problem
			if err := <-ended; !errors.As(err, &p) || p.Code != tt.code {
				t.Errorf("got %v, want %s", err, tt.code)
			}
		})
	}
}

func TestCameraTellsItsTime(t *testing.T) {
	t.Parallel()
	for _, more := range []string{"", "\x81\xca\x00\xff broken"} { // alone, and before a part that cannot be read
		t.Run(fmt.Sprintf("%d bytes more", len(more)), func(t *testing.T) {
			t.Parallel()
			cam := raw(t, rtsptest.Raw{
				Packet: func(_ int, p *rtp.Packet) []*rtp.Packet { p.SSRC = 5; return []*rtp.Packet{p} },
				Before: func(i int) []byte {
					if i == 0 {
						return nil // it belongs to a stream that has begun
					}
					return senderReport(5, i, 90*time.Second, []byte(more)...)
				},
			})
			feed, _ := pull(t, cam, rtsp.Config{})
			pictures := feed.Subscribe()
			defer pictures.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			near := func(d time.Duration) bool { return (d - 90*time.Second).Abs() < 150*time.Millisecond }
			for i := 0; ; i++ {
				f, err := pictures.Next(ctx)
				c := feed.State().Clock
				switch {
				case err != nil:
					t.Fatalf("no frame has the camera's time; clock %+v", c)
				case i == 0 && (f.Source != streams.ArrivalTime || !f.Taken.Equal(f.At)):
					t.Errorf("first frame taken at %v by %s", f.Taken, f.Source)
				case f.Source == streams.CameraTime && near(f.Taken.Sub(f.At)) && c.Known && near(c.Offset):
					return // a busy machine holds some frames up: not all are near
				}
			}
		})
	}
}

// TestACameraThatBeginsAnewGoesOn has the encoder restart in mid-connection: another source, numbers
// and stamps from elsewhere, in the midst of a group.
func TestACameraThatBeginsAnewGoesOn(t *testing.T) {
	t.Parallel()
	const restart = 37 // picture
	cam := raw(t, rtsptest.Raw{
		Packet: func(i int, p *rtp.Packet) []*rtp.Packet {
			p.SSRC = 5
			if i >= restart {
				p.SSRC, p.SequenceNumber, p.Timestamp = 6, p.SequenceNumber+30_000, p.Timestamp+90000*3600
			}
			return []*rtp.Packet{p}
		},
		Before: func(i int) []byte {
			if i == 0 || i >= restart {
				return nil
			}
			return senderReport(5, i, 90*time.Second)
		},
	})
	feed, _ := pull(t, cam, rtsp.Config{})
	got := frames(t, feed, restart+20)
	breaks := 0
	for i, f := range got[1:] {
		before := got[i]
		step, passed := f.DTS-before.DTS, f.At.Sub(before.At)
		if step <= 0 {
			t.Errorf("frame %d is decoded %v after the one before", f.Seq, step)
		}
		if step < time.Second {
			continue
		}
		breaks++
		if !f.Key || (step-passed).Abs() > 100*time.Millisecond {
			t.Errorf("after the break of %v comes frame %d, key %v, decoded %v after the one before", passed, f.Seq, f.Key, step)
		}
	}
	last := got[len(got)-1]
	if s := feed.State(); breaks != 1 || s.Connections != 1 || len(s.Warnings) != 1 || s.Warnings[0].Code != rtsp.CodeSource {
		t.Errorf("%d breaks, state %+v", breaks, s)
	}
	if last.Source != streams.ArrivalTime || !last.Taken.Equal(last.At) {
		t.Errorf("a report of the former source counts: taken %v, at %v by %s", last.Taken, last.At, last.Source)
	}
}

func TestFloodIsBoundedAndTold(t *testing.T) {
	t.Parallel()
	cam := raw(t, rtsptest.Raw{Faster: 20})
	feed, _ := pull(t, cam, rtsp.Config{Rate: 64 << 10})
	frames(t, feed, 3)
	began, first := time.Now(), feed.State().Bytes
	settle(t, "no warning", func() bool { return len(feed.State().Warnings) > 0 && time.Since(began) > 3*time.Second })
	if w := feed.State().Warnings; len(w) != 1 || w[0].Code != rtsp.CodeFlood {
		t.Errorf("warned of %v", w)
	}
	if rate := float64(feed.State().Bytes-first) / time.Since(began).Seconds(); rate > 128<<10 {
		t.Errorf("%.0f bytes a second were taken", rate)
	}
}

func TestMissingKeyFramesAreTold(t *testing.T) {
	t.Parallel()
	cam := raw(t, rtsptest.Raw{Units: func(i int, u [][]byte) [][]byte {
		if i > 0 && i%15 == 0 {
			return [][]byte{{0x41, 0x9a, 0x80}} // a slice in the place of the key frame
		}
		return u
	}})
	feed, _ := pull(t, cam, rtsp.Config{KeyFrames: 2 * time.Second})
	wake, stop := feed.Watch()
	defer stop()
	for end := time.After(time.Minute); ; {
		select {
		case <-wake:
			if w := feed.State().Warnings; len(w) > 0 {
				if w[0].Code != rtsp.CodeNoKey {
					t.Errorf("warned of %v", w[0])
				}
				return
			}
		case <-end:
			t.Fatalf("not told: %+v", feed.State())
		}
	}
}
