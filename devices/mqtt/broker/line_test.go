package broker

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
)

// pipeLine gives a line over a pipe, whose writer runs, and the device's end.
func pipeLine(t *testing.T, cfg Config) (*line, net.Conn, *sync.WaitGroup) {
	t.Helper()
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	l := newLine(near, &host{broker: b, sink: mqtttest.NewShelf(), log: b.cfg.Log})
	l.served = true
	var writer sync.WaitGroup
	writer.Go(l.runWriter)
	return l, far, &writer
}

func TestWatchdogEndsADeafLineAfterItsPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far, writer := pipeLine(t, Config{})
		began := time.Now()
		_ = l.owe(owed{packet: 1, qos: 1})
		writer.Wait()
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("closed after %s, want 10s", took)
		}
		if l.cause == nil || l.cause.Code != "deaf_device" || l.host.broker.Counts().Deaf != 1 {
			t.Errorf("cause %v, counts %+v", l.cause, l.host.broker.Counts())
		}
		_ = far.Close()
	})
}

func TestLastWordsAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far, writer := pipeLine(t, Config{})
		if _, err := l.Write([]byte("CONNACK")); err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		got, err := io.ReadAll(far)
		if err != nil || string(got) != "CONNACK" {
			t.Errorf("read %q, %v", got, err)
		}
		writer.Wait()
	})
}

func TestClosedLineGoesWithinASecondThoughNobodyReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far, writer := pipeLine(t, Config{})
		_, _ = l.Write([]byte("CONNACK"))
		began := time.Now()
		_ = l.Close()
		writer.Wait()
		if took := time.Since(began); took != farewell {
			t.Errorf("closed after %s, want %s", took, farewell)
		}
		if l.host.broker.Counts().Deaf != 0 {
			t.Error("counted as deaf")
		}
		_ = far.Close()
	})
}

func TestClientThatOnlyAsksIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far, writer := pipeLine(t, Config{})
		var err error
		for n := 0; err == nil && n < 1000; n++ {
			_, err = l.Write(make([]byte, 4<<10))
		}
		if err == nil || l.host.broker.Counts().Deaf != 1 {
			t.Errorf("Write: %v, counts %+v", err, l.host.broker.Counts())
		}
		writer.Wait()
		_ = far.Close()
	})
}

func TestReadDeadlineMovesSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, far, writer := pipeLine(t, Config{})
		c := &countingConn{Conn: l.Conn}
		l.Conn = c
		for range 100 {
			_ = l.SetDeadline(time.Now().Add(15 * time.Second))
			<-time.After(100 * time.Millisecond)
		}
		if c.deadlines > 11 {
			t.Errorf("%d deadlines in 10 s, want one a second", c.deadlines)
		}
		_, err := l.Read(make([]byte, 1))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: %v", err)
		}
		_ = l.SetDeadline(time.Time{})
		_ = l.Close()
		writer.Wait()
		_ = far.Close()
	})
}

type countingConn struct {
	net.Conn
	deadlines int
}

func (c *countingConn) SetReadDeadline(t time.Time) error {
	c.deadlines++
	return c.Conn.SetReadDeadline(t)
}

func TestListsOfWhatWasHeardAreBounded(t *testing.T) {
	var u unboundTopics
	var r refusedSignIns
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range 3 * most {
		name := "n" + time.Duration(i).String()
		u.note(Unbound{Device: "dev-1", Topic: name, At: at.Add(time.Duration(i))})
		r.note(name, "10.0.0.7:4711", &devices.Problem{Code: "unknown_device"}, at.Add(time.Duration(i)))
	}
	topics, names := u.list(func(string, string) bool { return true }), r.list()
	newest := "n" + time.Duration(3*most-1).String()
	if len(topics) != most || topics[0].Topic != newest || len(names) != most || names[0].Username != newest {
		t.Errorf("%d topics from %+v, %d names from %+v", len(topics), topics[0], len(names), names[0])
	}
	if u.note(Unbound{Device: "dev-1", Topic: newest, At: at}) || !u.note(Unbound{Device: "dev-1", Topic: "another", At: at}) {
		t.Error("what is new is not told from what is known")
	}
}
