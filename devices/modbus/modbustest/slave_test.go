package modbustest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunEndsWithItsConnections(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := New(Config{})
	s.Unit(1).Set(Holding, 0, 7)
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	conn, err := s.Dial(ctx, "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte{0, 9, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 11)
	if _, err := io.ReadFull(conn, answer); err != nil || !bytes.Equal(answer, []byte{0, 9, 0, 0, 0, 5, 1, 3, 2, 0, 7}) {
		t.Errorf("answered % x, %v", answer, err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
	if _, err := conn.Read(answer); err == nil {
		t.Error("the connection lived on")
	}
}

// Whatever a master sends, each request that is understood has an answer of
// its own function that fits a frame.
func FuzzRequest(f *testing.F) {
	f.Add(byte(0), []byte{0, 9, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1})
	f.Add(byte(0), []byte{0, 9, 0, 0, 0, 9, 1, 16, 0, 0, 0, 1, 2, 0, 5})
	f.Add(byte(1), []byte{1, 3, 0, 0, 0, 1, 0x84, 0x0a})
	f.Add(byte(2), []byte(":010300000001FB\r\n"))
	f.Fuzz(func(t *testing.T, framing byte, data []byte) {
		u := &Unit{id: 1}
		for table := Coil; table < tables; table++ {
			u.Set(table, 0, 1, 0, 1)
			u.Set(table, 65535, 1)
		}
		read := []func(*bufio.Reader) (Request, error){readTCP, readRTU, readASCII}[framing%3]
		for r := bufio.NewReader(bytes.NewReader(data)); ; {
			req, err := read(r)
			if err != nil {
				return
			}
			if pdu := u.do(req); len(pdu) < 2 || len(pdu) > 253 || pdu[0]&0x7f != req.Function&0x7f {
				t.Errorf("answered %+v by % x", req, pdu)
			}
		}
	})
}
