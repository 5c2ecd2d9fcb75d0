package e2e

import (
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/deploy/peers"
)

// What the firmware of the trade publishes, by retained announcements and
// ordinary messages.
var (
	announced = [][2]string{
		{"homeassistant/sensor/3D5E26_temperature/config", `{"name":"Temperature","stat_t":"tele/tasmota_3D5E26/SENSOR","avty_t":"tele/tasmota_3D5E26/LWT","pl_avail":"Online","pl_not_avail":"Offline","uniq_id":"3D5E26_t","dev":{"ids":["3D5E26"],"name":"Hall climate"},"unit_of_meas":"°C","dev_cla":"temperature","val_tpl":"{{value_json['AM2301'].Temperature}}"}`},
		{"homeassistant/sensor/3D5E26_sum/config", `{"name":"Sum","stat_t":"tele/tasmota_3D5E26/SENSOR","avty_t":"tele/tasmota_3D5E26/LWT","pl_avail":"Online","pl_not_avail":"Offline","uniq_id":"3D5E26_s","dev":{"ids":["3D5E26"],"name":"Hall climate"},"val_tpl":"{{ value_json.A + value_json.B }}"}`},
		{"tele/tasmota_3D5E26/LWT", "Online"},
	}
	published = [][2]string{
		{"tele/tasmota_3D5E26/SENSOR", `{"Time":"2026-03-01T08:00:00","AM2301":{"Temperature":21.5,"Humidity":48.2},"TempUnit":"C"}`},
		{"zigbee2mqtt/yard", `{"battery":97,"humidity":55.25,"linkquality":120,"temperature":18.75,"voltage":2995}`},
		{"senml/10e2073a01080063", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temperature","u":"Cel","v":23.5},{"n":"humidity","u":"%RH","v":67}]`},
	}
)

// speakingBroker is a Mosquitto on which devices publish every half second until
// the test ends.
func speakingBroker(t *testing.T) (addr string) {
	t.Helper()
	if _, err := exec.LookPath("mosquitto_pub"); err != nil {
		t.Skip("mosquitto is not installed; deploy/test installs it")
	}
	m, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Kill)
	host, port, _ := strings.Cut(m.Addr, ":")
	say := func(topic, payload string, more ...string) {
		args := append([]string{"-h", host, "-p", port, "-t", topic, "-m", payload}, more...)
		if out, err := exec.CommandContext(t.Context(), "mosquitto_pub", args...).CombinedOutput(); err != nil && t.Context().Err() == nil {
			t.Errorf("mosquitto_pub: %v %s", err, out)
		}
	}
	for _, x := range announced {
		say(x[0], x[1], "-r")
	}
	ended := t.Context()
	var speaking sync.WaitGroup
	speaking.Go(func() {
		for tick := time.NewTicker(500 * time.Millisecond); ; {
			for _, x := range published {
				say(x[0], x[1])
			}
			select {
			case <-tick.C:
			case <-ended.Done():
				tick.Stop()
				return
			}
		}
	})
	t.Cleanup(speaking.Wait)
	return m.Addr
}

// TestDiscover finds devices that are not ours over the API.
func TestDiscover(t *testing.T) {
	d := startDemo(t)
	broker := speakingBroker(t)
	slave := "127.0.0.1:" + startLibmodbusSlave(t, "modbus_slave", "2", "4")
	gateway := peers.Offsite{API: d.API, Token: d.Token}
	ask := func(path string, body, answer any) {
		t.Helper()
		if err := gateway.Do(t.Context(), http.MethodPost, path, body, answer); err != nil {
			t.Fatal(err)
		}
	}

	t.Run("Units", func(t *testing.T) {
		var found struct {
			Units []struct{ Unit int }
			Next  int
		}
		ask("/devices:scan", map[string]any{"device": thing{"endpoint": "modbus://" + slave, "timeout": "200ms"}, "first": 1, "last": 6, "every": "20ms"}, &found)
		if len(found.Units) != 2 || found.Units[0].Unit != 2 || found.Units[1].Unit != 4 || found.Next != 0 {
			t.Errorf("%+v", found)
		}
	})
	t.Run("Topics", func(t *testing.T) {
		var heard struct {
			Sources []struct {
				Kind, Name string
				Offers     []struct {
					Name, Factor, Unit string
					Value              *float64
					Problem            *struct{ Code string }
				}
			}
		}
		ask("/devices:listen", map[string]any{"device": thing{"driver": "mqtt", "endpoint": "mqtt://" + broker}, "for": "2s"}, &heard)
		got := map[string]string{}
		for _, s := range heard.Sources {
			var says []string
			for _, o := range s.Offers {
				switch {
				case o.Problem != nil:
					says = append(says, o.Name+" "+o.Problem.Code)
				case o.Value != nil:
					says = append(says, strings.TrimSpace(o.Name+" "+o.Factor+" "+o.Unit))
				}
			}
			slices.Sort(says)
			got[s.Kind+" "+s.Name] = strings.Join(says, ", ")
		}
		want := map[string]string{
			"home_assistant Hall climate":      "Sum template_not_understood, Temperature a01001 ℃",
			"topic tele/tasmota_3D5E26/SENSOR": "AM2301.Humidity a01002 %",
			"topic tele/tasmota_3D5E26/LWT":    "",
			"topic zigbee2mqtt/yard":           "battery battery %, humidity a01002 %, linkquality signal, temperature a01001 ℃, voltage voltage V",
			"senml senml/10e2073a01080063":     "urn:dev:ow:10e2073a01080063:humidity a01002 %, urn:dev:ow:10e2073a01080063:temperature a01001 ℃",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// testDiscoverOnAPhone finds them in the console.
func testDiscoverOnAPhone(t *testing.T) {
	chromium := needBrowser(t)
	d := startDemo(t)
	broker := speakingBroker(t)
	slave := "127.0.0.1:" + startLibmodbusSlave(t, "modbus_slave", "2", "4")
	phone := visitor(t, d, chromium, "finder", "field_engineer")
	phone["url"], phone["broker"], phone["slave"] = d.Console, broker, slave
	startStranger(t, d.HJ212)
	if err := (&peers.Offsite{API: d.API, Token: d.Token}).Do(t.Context(), http.MethodDelete, "/bindings/outfall-cod", nil, nil); err != nil {
		t.Fatal(err) // now nothing is bound to what the logger sends of COD
	}
	var got struct {
		Taps                                                  int
		Seconds                                               float64
		Broken, Filled, Unit, MN                              string
		Sources, Kept, Values, Further, Units, Logger, Faults []string
	}
	browse(t, "discover.mjs", phone, &got)
	if got.Taps > 15 || got.Seconds > 180 {
		t.Errorf("%d taps and %.0f s to a live value, want at most 15 and 180", got.Taps, got.Seconds)
	}
	if !strings.Contains(got.Broken, "无法连接网关") || !slices.Equal(got.Kept, []string{"Temperature", "humidity"}) {
		t.Errorf("without network: %q; kept over a reload: %q", got.Broken, got.Kept)
	}
	if !slices.Equal(got.Values, []string{"21.5", "55.3"}) || len(got.Further) != 1 {
		t.Errorf("live values %q, further points %q", got.Values, got.Further)
	}
	if !slices.Equal(got.Units, []string{"2", "4"}) || got.Filled != "modbus://"+slave || got.Unit != "2" {
		t.Errorf("units %q; the form has %q, unit %q", got.Units, got.Filled, got.Unit)
	}
	if len(got.Logger) != 1 || !strings.HasPrefix(got.Logger[0], "outfall-1.cod") || got.MN != "STRANGER-7" {
		t.Errorf("a logger's factor became %q; the form of the unknown one has MN %q", got.Logger, got.MN)
	}
	for _, f := range got.Faults {
		t.Error(f)
	}
}

// startStranger runs a data logger that nobody has registered, until the test ends.
func startStranger(t *testing.T, addr string) {
	t.Helper()
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	logger := exec.CommandContext(t.Context(), binary, "simulate", "logger", "--host", addr, "--mn", "STRANGER-7")
	if err := logger.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = logger.Wait() }) // the test's context has ended it
}
