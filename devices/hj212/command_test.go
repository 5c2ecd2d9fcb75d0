package hj212_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/hj212/loggertest"
	"offsite/devices/hj212/wire"
)

func logger(t *testing.T, h *hj212.Host, cfg loggertest.Config) *loggertest.Logger {
	t.Helper()
	cfg.PW = pw
	cfg.Factors = []loggertest.Factor{{Code: "w01018", Digits: 1, At: func(time.Time) (float64, string) { return 12.5, "N" }}}
	l, err := loggertest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = l.Run(ctx, h.Addr().String()) })
	t.Cleanup(running.Wait)
	t.Cleanup(cancel)
	return l
}

func TestCommands(t *testing.T) {
	for _, version := range []string{wire.Version2005, wire.Version2017, wire.Version2025} {
		t.Run(version, func(t *testing.T) {
			d := newDisk()
			client := plant("logger", "M1", "w01018", "w01018 hour")
			cfg := loggertest.Config{MN: "M1", Version: version}
			if version == wire.Version2025 {
				client.Device.HJ212.SM4Key, cfg.SM4Key = "0123456789abcdef", "0123456789abcdef"
			}
			client.Device.HJ212.Version = version
			h := host(t, d, hj212.Config{}, client)
			_ = logger(t, h, cfg)
			d.await(t, "the first value", func() bool { return len(d.got) > 0 })
			for _, k := range hj212.Commands() {
				if _, err := h.Request(t.Context(), "logger", hj212.Command{CN: k.CN}); err != nil && k.CN != "2031" && k.CN != "2051" && k.CN != "2061" {
					t.Errorf("%s %s: %v", k.CN, k.EN, err)
				}
			}
			r, err := h.Request(t.Context(), "logger", hj212.Command{CN: "2061", CP: []wire.Item{{{Name: "BeginTime", Value: "20240101000000"}}, {{Name: "EndTime", Value: "20240101030000"}}}})
			if err != nil || len(r.Packets) != 4 {
				t.Errorf("history: %d packets, %v", len(r.Packets), err)
			}
			var hours []time.Time
			for _, v := range d.deliveries() {
				for _, rd := range v.Readings {
					if rd.Point == "out.w01018-hour" {
						hours = append(hours, rd.At)
					}
				}
			}
			if len(hours) != 4 || !hours[3].Equal(beijing(2024, 1, 1, 3, 0, 0)) {
				t.Errorf("late data %v", hours)
			}
		})
	}
}

func TestCommandsThatFail(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{OverTime: 50 * time.Millisecond, ReCount: 2}, plant("logger", "M1", "w01018"))
	tests := []struct {
		name   string
		cmd    hj212.Command
		answer func(p *wire.Packet, l *line)
		want   string
		asked  int
	}{
		{"refused", hj212.Command{CN: "1011"}, func(p *wire.Packet, l *line) { l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=8")) }, "logger_refused", 1},
		{"failed", hj212.Command{CN: "1011"}, func(p *wire.Packet, l *line) {
			l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1") + frame(p.QN, "ST=91;CN=9012;PW=123456;MN=M1;Flag=4", "ExeRtn=5"))
		}, "logger_refused", 1},
		{"taken, then silence", hj212.Command{CN: "1011"}, func(p *wire.Packet, l *line) { l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1")) }, "not_finished", 1},
		{"password taken, then silence", hj212.Command{CN: "1072", CP: []wire.Item{{{Name: "NewPW", Value: "fresh1"}}}}, func(p *wire.Packet, l *line) { l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1")) }, "not_finished", 1},
		{"silence", hj212.Command{CN: "1011"}, func(*wire.Packet, *line) {}, "no_answer", 3},
		{"no such command", hj212.Command{CN: "9999"}, nil, "unknown_command", 0},
		{"content that ends its field", hj212.Command{CN: "1062", CP: []wire.Item{{{Name: "RtdInterval", Value: "30;X=1"}}}}, nil, "bad_content", 0},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := dial(t, h)
			l.send(realtime(fmt.Sprintf("20240102030405%03d", i), "1"))
			_ = l.heard()
			var got error
			var asking sync.WaitGroup
			asking.Go(func() { _, got = h.Request(t.Context(), "logger", tt.cmd) })
			for range tt.asked {
				tt.answer(l.hear(), l)
			}
			asking.Wait()
			if ps := devices.AllProblems(got); len(ps) != 1 || ps[0].Code != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
	if _, err := h.Request(t.Context(), "nobody", hj212.Command{CN: "1011"}); !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("nobody: %v", err)
	}
}

// TestWhatComesInTheSameMillisecondIsNoAnswer: a logger's own packet may have the
// QN of a command by chance.
func TestWhatComesInTheSameMillisecondIsNoAnswer(t *testing.T) {
	d := newDisk()
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405000", "1"))
	_ = l.heard()
	var got hj212.Result
	var err error
	var asking sync.WaitGroup
	asking.Go(func() { got, err = h.Request(t.Context(), "logger", hj212.Command{CN: "1011"}) })
	p := l.hear()
	l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1") + realtime(p.QN, "2") +
		frame(p.QN, "ST=31;CN=1011;PW=123456;MN=M1;Flag=4", "SystemTime=20240102030405") + frame(p.QN, "ST=91;CN=9012;PW=123456;MN=M1;Flag=4", "ExeRtn=1"))
	asking.Wait()
	if err != nil || len(got.Packets) != 1 || got.Packets[0].CN != "1011" {
		t.Errorf("%+v, %v", got, err)
	}
	d.await(t, "the packet that was none of it", func() bool { return len(d.got) == 2 })
}

// meter is a disk that hears how long answers took as well.
type meter struct {
	*disk
	took []time.Duration
}

func (m *meter) Polled(devices.Poll) {}

func (m *meter) Answered(_ string, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.took = append(m.took, took)
}

var _ devices.Meter = (*meter)(nil)

// TestAnswersAreMetered: the first answer to each command counts, once, from
// the sending that it answers.
func TestAnswersAreMetered(t *testing.T) {
	m := &meter{disk: newDisk()}
	h := host(t, m, hj212.Config{OverTime: 100 * time.Millisecond, ReCount: 2}, plant("logger", "M1", "w01018"))
	l := dial(t, h)
	l.send(realtime("20240102030405000", "1"))
	_ = l.heard()
	var asking sync.WaitGroup
	asking.Go(func() {
		if _, err := h.Request(t.Context(), "logger", hj212.Command{CN: "1011"}); err != nil {
			t.Error(err)
		}
	})
	_ = l.hear() // and says nothing
	p := l.hear()
	l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1") + frame(p.QN, "ST=91;CN=9012;PW=123456;MN=M1;Flag=4", "ExeRtn=1"))
	asking.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.took) != 1 || m.took[0] <= 0 || m.took[0] >= 100*time.Millisecond {
		t.Errorf("took %v", m.took)
	}
}

func TestALoggerIsHeardWithTheOldAndTheNewPasswordUntilItIsRegistered(t *testing.T) {
	d := newDisk()
	client := plant("logger", "M1", "w01018")
	h := host(t, d, hj212.Config{}, client)
	_ = logger(t, h, loggertest.Config{MN: "M1", Period: 20 * time.Millisecond})
	d.await(t, "the first value", func() bool { return len(d.got) > 0 })
	if _, err := h.Request(t.Context(), "logger", hj212.Command{CN: "1072", CP: []wire.Item{{{Name: "NewPW", Value: "fresh1"}}}}); err != nil {
		t.Fatal(err)
	}
	n := len(d.deliveries())
	d.await(t, "values by the new password", func() bool { return len(d.got) > n+2 })
	client.Device.Password = "fresh1"
	if err := h.Update([]hj212.Client{client}); err != nil {
		t.Fatal(err)
	}
	n = len(d.deliveries())
	d.await(t, "values of a new connection", func() bool { return len(d.got) > n+2 })
	if notes := h.Notes(); len(notes) != 0 {
		t.Errorf("told: %+v", notes[0])
	}
}

func TestTheTimeIsSetWhenALoggerAsksForIt(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{OverTime: time.Second}, plant("logger", "M1"))
	l := dial(t, h)
	l.send(frame("20240102030405001", "ST=32;CN=1013;PW=123456;MN=M1;Flag=5", "PolId=w01018"))
	if got := l.heard(); got != "9013 20240102030405001" {
		t.Errorf("heard %s", got)
	}
	p := l.hear()
	if p == nil || p.CN != "1012" || p.Value("PolId") != "w01018" || len(p.Value("SystemTime")) != 14 || p.ST != "32" {
		t.Fatalf("heard %+v", p)
	}
	l.send(frame(p.QN, "ST=91;CN=9011;PW=123456;MN=M1;Flag=4", "QnRtn=1") + frame(p.QN, "ST=91;CN=9012;PW=123456;MN=M1;Flag=4", "ExeRtn=1"))
}

func TestLoggersKeepWhatWasNotAnswered(t *testing.T) {
	d := newDisk()
	d.hold = true
	h := host(t, d, hj212.Config{}, plant("logger", "M1", "w01018"))
	l := logger(t, h, loggertest.Config{MN: "M1", Version: wire.Version2025, Period: 20 * time.Millisecond})
	d.await(t, "some packets", func() bool { return len(d.held) >= 5 })
	d.mu.Lock()
	n := len(d.held)
	d.hold = false
	d.mu.Unlock()
	d.release(n, errors.New("disk full")) // the connection ends; the logger comes back with the same
	d.await(t, "the packets again", func() bool {
		first, again := map[string]bool{}, 0
		for i, v := range d.got {
			if i < n {
				first[v.Origin.ID] = true
			} else if first[v.Origin.ID] && v.Origin.Resent {
				again++
			}
		}
		return again >= n
	})
	if _, _, repeated := l.Counts(); repeated < int64(n) {
		t.Errorf("the logger sent %d again", repeated)
	}
}
