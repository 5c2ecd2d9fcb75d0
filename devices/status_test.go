package devices

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestStatusTopic(t *testing.T) {
	tests := []struct {
		name   string
		status StatusTopic
		there  string
		gone   string
	}{
		{"Tasmota", StatusTopic{Topic: "tele/{device}/LWT"}, "Online", "Offline"},
		{"Shelly", StatusTopic{Topic: "shellies/{device}/online"}, "true", "false"},
		{"Zigbee2MQTT", StatusTopic{Topic: "zigbee2mqtt/{device}/availability", Path: "state"}, `{"state":"online"}`, `{"state":"offline"}`},
		{"quoted", StatusTopic{Topic: "x/{device}"}, `"alive"`, ` "dead" `},
		{"own words", StatusTopic{Topic: "x/{device}", Online: "在线", Offline: "离线"}, "在线", "离线"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev := &Device{ID: "dev-1", MQTT: &MQTTSettings{Status: &tt.status}}
			in, err := OpenInbox(dev, []Bound{topicBound("out.a", nil)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			topic := tt.status.fullTopic("dev-1")
			if diff := cmp.Diff(2, len(in.Filters())); diff != "" || !in.Bound(topic) || !in.Names(topic) {
				t.Errorf("filters %v", in.Filters())
			}
			says := func(topic, payload string, retained bool) string {
				d, reports := in.Open(Message{Topic: topic, Payload: []byte(payload), Received: receipt, Retained: retained})
				if d.Letter != nil {
					return "letter " + d.Letter.Problem.Code
				}
				if len(reports) == 0 {
					return ""
				}
				if len(reports) > 1 || reports[0].Points != nil || reports[0].Device != "dev-1" {
					t.Errorf("reports %+v", reports)
				}
				if reports[0].Problem == nil {
					return "back"
				}
				return reports[0].Problem.Code
			}
			for i, step := range []struct {
				topic, payload string
				retained       bool
				want           string
			}{
				{topic, tt.there, true, ""},
				{topic, tt.gone, false, "device_offline"},
				{topic, tt.gone, true, ""},
				{"offsite/dev-1/a", "1", true, ""},
				{"offsite/dev-1/a", "1", false, "back"},
				{topic, tt.gone, true, "device_offline"},
				{topic, tt.there, false, "back"},
				{topic, "perhaps", false, "letter unknown_status"},
			} {
				if got := says(step.topic, step.payload, step.retained); got != step.want {
					t.Errorf("step %d: %q, want %q", i, got, step.want)
				}
			}
		})
	}
}

func TestStatusIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status StatusTopic
		want   string
	}{
		{"no topic", StatusTopic{}, "mqtt.status.topic bad_topic"},
		{"wildcard", StatusTopic{Topic: "tele/+/LWT"}, "mqtt.status.topic bad_topic"},
		{"one word", StatusTopic{Topic: "a", Online: "x", Offline: "X"}, "mqtt.status.online ambiguous"},
		{"good", StatusTopic{Topic: "tele/{device}/LWT"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Device{ID: "d", Site: "s", Name: "n", Driver: DriverBroker, MQTT: &MQTTSettings{Status: &tt.status}}
			got := ""
			for _, p := range AllProblems(d.Check()) {
				got += p.Field + " " + p.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
