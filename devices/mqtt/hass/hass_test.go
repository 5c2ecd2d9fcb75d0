package hass

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestRead(t *testing.T) {
	code := cmp.Transformer("code", func(p *devices.Problem) string {
		if p == nil {
			return ""
		}
		return p.Code
	})
	tests := []struct {
		name, topic, payload string
		want                 []Source
	}{
		{
			"Tasmota, abbreviated", "homeassistant/sensor/5C1A_AM2301_Temperature/config",
			`{"name":"AM2301 Temperature","stat_t":"tele/tasmota_5C1A/SENSOR","avty_t":"tele/tasmota_5C1A/LWT","pl_avail":"Online","pl_not_avail":"Offline",
			"uniq_id":"x","dev":{"ids":["5C1A"],"name":"Tasmota"},"unit_of_meas":"°C","dev_cla":"temperature","val_tpl":"{{value_json['AM2301'].Temperature}}"}`,
			[]Source{{
				Name: "AM2301 Temperature", Unit: "°C", Class: "temperature", Device: "Tasmota", Topic: devices.Topic{Topic: "tele/tasmota_5C1A/SENSOR", Path: "AM2301.Temperature"},
				Status: &devices.StatusTopic{Topic: "tele/tasmota_5C1A/LWT", Offline: "Offline", Online: "Online"},
			}},
		},
		{
			"Zigbee2MQTT", "homeassistant/sensor/0x00158d/temperature/config",
			`{"availability":[{"topic":"zigbee2mqtt/bridge/state","value_template":"{{ value_json.state }}"},{"topic":"zigbee2mqtt/shed/availability","value_template":"{{ value_json.state }}"}],
			"device":{"name":"shed"},"state_topic":"zigbee2mqtt/shed","unit_of_measurement":"°C","value_template":"{{ value_json.temperature }}","object_id":"shed_temperature"}`,
			[]Source{{
				Name: "shed_temperature", Unit: "°C", Device: "shed", Topic: devices.Topic{Topic: "zigbee2mqtt/shed", Path: "temperature"},
				Status: &devices.StatusTopic{Topic: "zigbee2mqtt/shed/availability", Path: "state"},
			}},
		},
		{
			"ESPHome, bare value", "homeassistant/sensor/dust/pm25/config", `{"~":"dust","name":"PM2.5","stat_t":"~/sensor/pm25/state","unit_of_meas":"µg/m³"}`,
			[]Source{{Name: "PM2.5", Unit: "µg/m³", Topic: devices.Topic{Topic: "dust/sensor/pm25/state"}}},
		},
		{
			"filters that change nothing", "homeassistant/sensor/a/config", `{"name":"a","state_topic":"a","value_template":"{{ value_json.a[\"b.c\"][0] | float(0) | round(1) }}"}`,
			[]Source{{Name: "a", Topic: devices.Topic{Topic: "a", Path: `a.b\.c.0`}}},
		},
		{
			"calculation", "homeassistant/sensor/a/config", `{"name":"a","state_topic":"a","value_template":"{{ value_json.a * 10 }}"}`,
			[]Source{{Name: "a", Topic: devices.Topic{Topic: "a"}, Problem: &devices.Problem{Code: "template_not_understood"}}},
		},
		{
			"decision", "homeassistant/sensor/a/config", `{"name":"a","state_topic":"a","value_template":"{% if value_json.a %}1{% endif %}"}`,
			[]Source{{Name: "a", Topic: devices.Topic{Topic: "a"}, Problem: &devices.Problem{Code: "template_not_understood"}}},
		},
		{"no topic", "homeassistant/sensor/a/config", `{"name":"a"}`, []Source{{Name: "a", Problem: &devices.Problem{Code: "missing"}}}},
		{
			"device of several", "homeassistant/device/x/config", `{"dev":{"name":"X"},"~":"x","stat_t":"~/state","cmps":{"t":{"p":"sensor","name":"T","val_tpl":"{{ value_json.t }}"},"b":{"p":"button"},"h":{"p":"sensor","name":"H","val_tpl":"{{ value_json.h }}"}}}`,
			[]Source{{Name: "H", Device: "X", Topic: devices.Topic{Topic: "x/state", Path: "h"}}, {Name: "T", Device: "X", Topic: devices.Topic{Topic: "x/state", Path: "t"}}},
		},
		{"a light measures nothing", "homeassistant/light/a/config", `{"name":"a"}`, nil},
		{"withdrawn", "homeassistant/sensor/a/config", ``, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, p := Read(tt.topic, []byte(tt.payload))
			if p != nil {
				t.Fatal(p)
			}
			if diff := cmp.Diff(tt.want, got, code); diff != "" {
				t.Errorf("sources (-want +got):\n%s", diff)
			}
		})
	}
	for _, tt := range []struct{ name, topic, payload, code string }{
		{"another topic", "tele/x/STATE", "{}", "bad_topic"},
		{"no JSON", "homeassistant/sensor/a/config", "{", "bad_json"},
		{"an array", "homeassistant/sensor/a/config", "[]", "bad_json"},
		{"too large", "homeassistant/sensor/a/config", "{" + strings.Repeat(" ", devices.MaxPayload) + "}", "bad_json"},
	} {
		if _, p := Read(tt.topic, []byte(tt.payload)); p == nil || p.Code != tt.code {
			t.Errorf("%s: %v", tt.name, p)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("sensor", []byte(`{"~":"a","name":"x","stat_t":"~/b","val_tpl":"{{ value_json['a'].b[0] | float }}","avty":[{"t":"~/c"}]}`))
	f.Add("device", []byte(`{"cmps":{"t":{"p":"sensor","name":"T"}}}`))
	f.Fuzz(func(t *testing.T, component string, payload []byte) {
		sources, p := Read("homeassistant/"+component+"/x/config", payload)
		if p != nil && (p.ZH == "" || p.EN == "" || len(sources) > 0) {
			t.Fatalf("problem %+v", p)
		}
	})
}
