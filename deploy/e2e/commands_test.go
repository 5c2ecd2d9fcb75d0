package e2e

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"offsite/devices/hj212/loggertest"
)

func TestASetPointReachesALibmodbusSlave(t *testing.T) {
	addr := net.JoinHostPort("127.0.0.1", startLibmodbusSlave(t, "modbus_slave"))
	p := startProgram(t, "")
	p.outlet("line", thing{"id": "plc", "driver": "modbus", "endpoint": "modbus://" + addr, "modbus": thing{"unit": 1}, "period": "200ms"},
		[]string{"fan", "temp"}, 1e9, func(point string) thing {
			if point == "fan" {
				return thing{"register": thing{"table": "holding", "address": 13, "type": "uint16"}, "scale": 0.01, "write": thing{"low": 0, "high": 700}}
			}
			return thing{"register": thing{"table": "holding", "address": 0, "type": "float32"}}
		})
	newest := func(want float64) func() error {
		return func() error {
			var last struct {
				Value float64 `json:"value"`
			}
			if err := p.Do(t.Context(), "GET", "/points/line.fan/last", nil, &last); err != nil || last.Value != want {
				return fmt.Errorf("%v, %w", last.Value, err)
			}
			return nil
		}
	}
	p.await("the value of the slave", newest(643.02))
	set := func(point string, value, seen float64) error {
		return p.Do(t.Context(), "POST", "/points/"+point+":write", thing{"value": value, "seen": seen, "reason": "试验"}, nil)
	}
	for _, tt := range []struct {
		point       string
		value, seen float64
		code        string
	}{{"line.fan", 12.5, 1, "value_changed"}, {"line.fan", 701, 643.02, "out_of_range"}, {"line.temp", 1, 123.456, "not_writable"}, {"line.fan", 12.5, 643.02, ""}} {
		if err := set(tt.point, tt.value, tt.seen); (err == nil) != (tt.code == "") || err != nil && !strings.Contains(err.Error(), tt.code) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	p.await("the value that was written, by a poll", newest(12.5))
}

func TestCommandsReachADataLogger(t *testing.T) {
	p, address := hj212Program(t)
	logger, err := loggertest.New(loggertest.Config{
		MN: "M1", PW: "123456", Period: 200 * time.Millisecond,
		Factors: []loggertest.Factor{{Code: "w01018", Digits: 1, At: func(time.Time) (float64, string) { return 42.5, "N" }}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = logger.Run(ctx, address)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	command := func(body thing) error { return p.Do(t.Context(), "POST", "/devices/logger:command", body, nil) }
	p.await("the logger's time", func() error { return command(thing{"cn": "1011"}) })
	hour := time.Now().Add(-48 * time.Hour).Truncate(time.Hour)
	if err := command(thing{"cn": "2061", "from": hour.Format(time.RFC3339), "to": hour.Add(2 * time.Hour).Format(time.RFC3339)}); err != nil {
		t.Fatal(err)
	}
	p.await("three hours of late data", func() error {
		s, err := p.samples("out.hour", hour, hour.Add(3*time.Hour))
		if err != nil {
			return err
		}
		return wantCount(s, 3)
	})
	if err := command(thing{"cn": "1072", "password": "654321", "reason": "试验"}); err != nil {
		t.Fatal(err)
	}
	p.await("the logger is back by its new password", func() error { return command(thing{"cn": "1011"}) })
}
