package e2e

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/devices/hj212/wire"
	platform "offsite/edge/dispatch/wire"
)

// hj212Program is a gateway that listens for data loggers, with logger MN M1 and
// points for its COD in real time and by the hour.
func hj212Program(t *testing.T) (p *program, address string) {
	t.Helper()
	address, err := peers.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	p = startProgram(t, "hj212:\n  listen: "+address+"\n")
	p.outlet("out", thing{"id": "logger", "driver": "hj212", "password": "123456", "hj212": thing{"mn": "M1", "tolerant": true}},
		[]string{"cod", "hour"}, 100, func(point string) thing {
			if point == "hour" {
				return thing{"factor": thing{"code": "w01018", "kind": "hour"}}
			}
			return thing{"factor": thing{"code": "w01018"}}
		})
	return p, address
}

// hj212Frame gives the frame of a segment that ends with &&.
func hj212Frame(segment string) []byte {
	return wire.AppendFrame(nil, []byte(segment), wire.CRC([]byte(segment)))
}

// hj212Line is a data logger by hand.
type hj212Line struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func hj212Dial(t *testing.T, address string) *hj212Line {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
	return &hj212Line{t: t, conn: conn, in: bufio.NewReader(conn)}
}

// ask sends frames and gives the answers' lines, each up to the CRC.
func (l *hj212Line) ask(answers int, frames ...[]byte) (lines []string) {
	l.t.Helper()
	if _, err := l.conn.Write(slices.Concat(frames...)); err != nil {
		l.t.Fatal(err)
	}
	for range answers {
		line, err := l.in.ReadString('\n')
		if err != nil {
			l.t.Fatalf("after %q: %v", lines, err)
		}
		line = strings.TrimSpace(line)
		lines = append(lines, line[6:len(line)-4])
	}
	return lines
}

func TestADataLoggerFromPacketToPlatform(t *testing.T) {
	p, address := hj212Program(t)
	l := hj212Dial(t, address)
	at := time.Now().Add(-time.Minute).Truncate(time.Second)
	stamp := func(at time.Time) string { return at.In(time.FixedZone("", 8*3600)).Format("20060102150405") }
	segment := func(qn int, cn, area string) string {
		return fmt.Sprintf("QN=%s%03d;ST=32;CN=%s;PW=123456;MN=M1;Flag=5;CP=&&%s&&", stamp(at), qn, cn, area)
	}
	var frames [][]byte
	for i, v := range []string{"50.5", "150.5"} {
		frames = append(frames, hj212Frame(segment(i, "2011", "DataTime="+stamp(at.Add(time.Duration(i)*time.Second))+";w01018-Rtd="+v+",w01018-Flag=N")))
	}
	hour := at.Add(-30 * time.Hour).Truncate(time.Hour)
	frames = append(frames, hj212Frame(segment(2, "2061", "DataTime="+stamp(hour)+";w01018-Avg=33,w01018-Flag=N")))
	p.await("the logger is admitted", func() error {
		l = hj212Dial(t, address)
		if _, err := l.conn.Write(frames[0]); err != nil {
			return err
		}
		if line, err := l.in.ReadString('\n'); err != nil || !strings.Contains(line, "CN=9014;") {
			return fmt.Errorf("answer %q, %w", line, err)
		}
		return nil
	})
	want := []string{
		fmt.Sprintf("QN=%s001;ST=91;CN=9014;PW=123456;MN=M1;Flag=4;CP=&&&&", stamp(at)),
		fmt.Sprintf("QN=%s002;ST=91;CN=9014;PW=123456;MN=M1;Flag=4;CP=&&&&", stamp(at)),
	}
	if got := l.ask(2, frames[1:]...); !slices.Equal(got, want) {
		t.Errorf("answers %q, want %q", got, want)
	}
	p.await("history", func() error {
		s, err := p.samples("out.cod", at.Add(-time.Second), at.Add(time.Minute))
		if err != nil {
			return err
		}
		return wantCount(s, 2)
	})
	p.await("late hour", func() error {
		s, err := p.samples("out.hour", hour.Add(-time.Second), hour.Add(time.Second))
		if err != nil {
			return err
		}
		return wantCount(s, 1)
	})
	p.await("alarm", func() error { return wantCount(p.told("out.cod", platform.EventStepOpened), 1) })
	if e := p.told("out.cod", platform.EventStepOpened)[0]; !e.StartedAt.Equal(at.Add(time.Second)) || e.Value != 150.5 {
		t.Errorf("event %+v", e)
	}
	// What cannot be read and what nothing is bound to is told, in both languages.
	l.ask(2, hj212Frame(segment(3, "2011", "DataTime="+stamp(at)+";w01018-Rtd=abc")), hj212Frame(segment(4, "2011", "DataTime="+stamp(at)+";w21003-Rtd=1")))
	p.await("losses", func() error {
		var losses []byte
		if err := p.Do(t.Context(), "GET", "/losses", nil, &losses); err != nil {
			return err
		}
		for _, code := range []string{"bad_number", "unknown_factor"} {
			if !strings.Contains(string(losses), code) {
				return fmt.Errorf("no %s in %s", code, losses)
			}
		}
		return nil
	})
}

func TestNoPacketOfALoggerIsLostWhenTheGatewayIsKilled(t *testing.T) {
	p, address := hj212Program(t)
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	logger := exec.CommandContext(ctx, binary, "simulate", "logger", "--host", address, "--mn", "M1", "--standard", "2025")
	logger.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := logger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = logger.Wait() })
	began := time.Now().Add(-time.Minute)
	all := func() ([]historySample, error) { return p.samples("out.cod", began, time.Now().Add(time.Minute)) }
	p.await("first values", func() error {
		s, err := all()
		if err == nil && len(s) < 3 {
			err = fmt.Errorf("%d values", len(s))
		}
		return err
	})
	p.Kill()
	p.await("another value meanwhile", func() error { // the logger goes on measuring
		if time.Since(began) < time.Minute+5*time.Second {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	p.await("every second of the outage", func() error {
		s, err := all()
		if err != nil {
			return err
		}
		if len(s) == 0 || s[len(s)-1].At.Before(back.Add(2*time.Second)) {
			return fmt.Errorf("%d values so far", len(s))
		}
		for i := 1; i < len(s); i++ {
			if gap := s[i].At.Sub(s[i-1].At); gap > 2*time.Second {
				return fmt.Errorf("gap of %s after %s", gap, s[i-1].At)
			}
		}
		return nil
	})
}
