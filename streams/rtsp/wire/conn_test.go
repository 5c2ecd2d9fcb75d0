package wire

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// script is a connection that gives data and then ends.
type script struct {
	net.Conn
	r io.Reader
}

func (s script) Read(b []byte) (int, error) { return s.r.Read(b) }

// FuzzWire reads what a camera may send: what is taken out is no more than was
// sent, and whatever is mended is bounded.
func FuzzWire(f *testing.F) {
	f.Add([]byte("RTSP/1.0 200\r\nCSeq: 1\r\nContent-Length: 6\r\n\r\nm=x\r\na$\x00\x00\x03abc"))
	f.Add([]byte("$\x01\x00\x04abcdRTSP/1.0 200 OK\nTransport: RTP/AVP/TCP\n\n"))
	f.Add([]byte("$\x04\x00\x02ab$\x00\x00\x01x$\x04\x00\x00$\x04\xff\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := New(script{r: bytes.NewReader(data)}, "host", 1<<30)
		taken := 0
		w.Divert(4, func(packet []byte, _ time.Time) { taken += 4 + len(packet) })
		got, err := io.ReadAll(bufio.NewReader(w))
		if taken > len(data) || (err == nil && len(got) > 4*len(data)+4096) {
			t.Errorf("%d bytes and %d of packets of %d", len(got), taken, len(data))
		}
	})
}

func TestFramesPassTheWireUnchanged(t *testing.T) {
	var sent []byte
	for i := range 2000 {
		body := bytes.Repeat([]byte{byte(i)}, i%1400)
		sent = append(append(sent, '$', 0, byte(len(body)>>8), byte(len(body))), body...)
	}
	got, err := io.ReadAll(New(script{r: bytes.NewReader(sent)}, "host", 1<<30))
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

// wired reads all that r gives and sorts it into what goes to gortsplib, without
// the reports that keep it from timing out, and the packets of channel 4.
func wired(t *testing.T, r io.Reader) (passed string, taken []string) {
	t.Helper()
	w := New(script{r: r}, "host", 1<<30)
	w.Divert(4, func(packet []byte, _ time.Time) { taken = append(taken, string(packet)) })
	got, err := io.ReadAll(w)
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes.ReplaceAll(got, []byte(alive), nil)), taken
}

// alive is the empty receiver report of channel 5.
const alive = "$\x05\x00\x08\x80\xc9\x00\x01\x00\x00\x00\x00"

func TestPacketsAreTakenOutWhereverTheStreamIsCut(t *testing.T) {
	const (
		answer = "RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n"
		other  = "$\x06\x00\x03$\x04\x00"            // a channel that is not ours
		report = "$\x05\x00\x08\x80\xc9\x00\x01abcd" // RTCP of ours
	)
	large := string(bytes.Repeat([]byte("$\x04\x00\x01"), 1<<14))[:1<<16-1]
	sent := "$\x04\x00\x05first" + answer + "$\x04\x00\x00" + other + "\x00rubbish" + report +
		"$\x04\x00\x06$\x05\x00\x01RT" + "$\x04\xff\xff" + large + "$\x04\x00\x04last"
	wantPassed, wantTaken := answer+other+report, []string{"first", "", "$\x05\x00\x01RT", large, "last"}
	check := func(name string, r io.Reader) {
		t.Helper()
		passed, taken := wired(t, r)
		if passed != wantPassed {
			t.Errorf("%s: passed %q, want %q", name, passed, wantPassed)
		}
		if len(taken) != len(wantTaken) {
			t.Fatalf("%s: %d packets taken, want %d", name, len(taken), len(wantTaken))
		}
		for i := range taken {
			if taken[i] != wantTaken[i] {
				t.Errorf("%s: packet %d of %d bytes is not as it was sent", name, i, len(taken[i]))
			}
		}
	}
	check("one byte at a time", iotest.OneByteReader(bytes.NewReader([]byte(sent))))
	head := len(sent) - len(large) - 8
	for at := range head {
		check("cut at "+strconv.Itoa(at), io.MultiReader(bytes.NewReader([]byte(sent[:at])), bytes.NewReader([]byte(sent[at:]))))
	}
}

// gortsplib must see that packets come, or it ends the connection.
func TestGortsplibIsShownThatPacketsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		camera, ours := net.Pipe()
		go func() {
			for range 50 { // five seconds
				_, _ = camera.Write([]byte("$\x04\x00\x02ab"))
				time.Sleep(100 * time.Millisecond)
			}
			_ = camera.Close()
		}()
		w := New(ours, "host", 1<<30)
		w.Divert(4, func([]byte, time.Time) {})
		got, err := io.ReadAll(w)
		if want := bytes.Repeat([]byte(alive), 5); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v; %s", err, cmp.Diff(want, got))
		}
	})
}
