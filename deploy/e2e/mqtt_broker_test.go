package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/broker"
)

// mqttBroker runs the embedded broker with device dev-1, point tank.level on
// offsite/dev-1/level, and gives the arguments to sign in.
func mqttBroker(t *testing.T, desk devices.Sink) (addr string, signIn []string, b *broker.Broker) {
	t.Helper()
	b, err := broker.New(broker.Config{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	err = b.Update([]broker.Client{{
		Device: devices.Device{ID: "dev-1", Password: "correct horse"},
		Bounds: []devices.Bound{mqttBound("dev-1", "tank.level", nil)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx, desk) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	<-b.Ready()
	return b.Addr().String(), []string{"-u", "dev-1", "-P", "correct horse"}, b
}

func TestMosquittoClientsAndTheEmbeddedBroker(t *testing.T) {
	mqttTools(t, "mosquitto_pub", "mosquitto_sub", "stdbuf")
	const topic = "offsite/dev-1/level"
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for _, qos := range []string{"0", "1", "2"} {
			t.Run(version+" QoS "+qos, func(t *testing.T) {
				desk := newMQTTDesk(t)
				addr, signIn, b := mqttBroker(t, desk)
				common := append([]string{"-V", version, "-q", qos}, signIn...)
				sub := mqttSub(t, addr, append(common, "-t", "offsite/dev-1/#")...)

				out, err := mqttPub(t, addr, "", append(common, "-t", topic, "-m", "1.5", "-r")...)
				if err != nil {
					t.Fatal(err, out)
				}
				if got := sub.next(t); got != topic+" 1.5" {
					t.Errorf("mosquitto_sub got %q", got)
				}
				if out, err := mqttPub(t, addr, "", append(common, "-t", "offsite/dev-1/note", "-m", "hello")...); err != nil {
					t.Fatal(err, out)
				}
				if got := sub.next(t); got != "offsite/dev-1/note hello" {
					t.Errorf("mosquitto_sub got %q", got)
				}
				if got := b.Unbound(); len(got) != 1 || got[0].Topic != "offsite/dev-1/note" {
					t.Errorf("unbound topics %+v", got)
				}
				out, err = mqttRun(t, "mosquitto_sub", addr, "", append(common, "-t", topic, "-C", "1", "-F", "%r %p")...)
				if err != nil || strings.TrimSpace(out) != "1 1.5" {
					t.Errorf("late mosquitto_sub got %q, %v", out, err)
				}

				const many = 3000
				var lines bytes.Buffer
				for i := range many {
					fmt.Fprintln(&lines, i)
				}
				if out, err := mqttPub(t, addr, lines.String(), append(common, "-t", topic, "-l")...); err != nil {
					t.Fatal(err, out)
				}
				values := desk.values(t, many+1)
				for i, v := range values[1:] {
					if v != float64(i) {
						t.Fatalf("message %d brought %g", i, v)
					}
				}
				for i := range many {
					if got := sub.next(t); got != fmt.Sprintf("%s %d", topic, i) {
						t.Fatalf("mosquitto_sub got %q as message %d", got, i)
					}
				}
				if c := b.Counts(); c.Accepted != many+1 {
					t.Errorf("counts %+v", c)
				}
			})
		}
	}
}

func TestMosquittoClientsAreRefused(t *testing.T) {
	mqttTools(t, "mosquitto_pub")
	desk := newMQTTDesk(t)
	addr, signIn, b := mqttBroker(t, desk)
	tests := []struct {
		name string
		args []string
		says string
	}{
		{"wrong password", []string{"-u", "dev-1", "-P", "guess", "-t", "offsite/dev-1/level", "-m", "1"}, "not authorised"},
		{"nobody", []string{"-t", "offsite/dev-1/level", "-m", "1"}, "not authorised"},
		{"wrong password, MQTT 5", []string{"-V", "mqttv5", "-u", "dev-1", "-P", "guess", "-t", "offsite/dev-1/level", "-m", "1"}, "user name or password"},
		{"another's topic", append([]string{"-V", "mqttv5", "-t", "offsite/dev-2/level", "-m", "1", "-q", "1"}, signIn...), "Not authorized"},
		{"another's will", append([]string{"-t", "offsite/dev-1/level", "-m", "1", "--will-topic", "offsite/dev-2/x", "--will-payload", "1"}, signIn...), "not authorised"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			out, _ := mqttPub(t, addr, "", tt.args...)
			if !strings.Contains(strings.ToLower(out), strings.ToLower(tt.says)) {
				t.Errorf("mosquitto_pub said %q, want %q", out, tt.says)
			}
		})
	}
	if got := desk.values(t, 0); len(got) != 0 {
		t.Errorf("values of refused clients: %v", got)
	}
	if c := b.Counts(); c.Refused != 4 || c.Forbidden != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestMosquittoClientsWill(t *testing.T) {
	mqttTools(t, "mosquitto_sub", "stdbuf")
	const topic = "offsite/dev-1/level"
	for _, version := range []string{"mqttv311", "mqttv5"} {
		t.Run(version, func(t *testing.T) {
			desk := newMQTTDesk(t)
			addr, signIn, _ := mqttBroker(t, desk)
			common := append([]string{"-V", version}, signIn...)
			heir := mqttSub(t, addr, append(common, "-t", topic, "-q", "1")...)
			dying := mqttSub(t, addr, append(common, "-t", "offsite/dev-1/x", "--will-topic", topic, "--will-payload", "-1", "--will-qos", "1", "--will-retain")...)
			_ = dying.cmd.Process.Signal(os.Kill)
			if got := heir.next(t); got != topic+" -1" {
				t.Errorf("mosquitto_sub got %q", got)
			}
			if diff := cmp.Diff([]float64{-1}, desk.values(t, 1)); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			out, err := mqttRun(t, "mosquitto_sub", addr, "", append(common, "-t", topic, "-C", "1", "-F", "%r %p")...)
			if err != nil || strings.TrimSpace(out) != "1 -1" {
				t.Errorf("late mosquitto_sub got %q, %v", out, err)
			}
		})
	}
}
