package payload

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestStatusTopic(t *testing.T) {
	tests := []struct {
		name   string
		status devices.StatusTopic
		there  string
		gone   string
	}{
		{"Tasmota", devices.StatusTopic{Topic: "tele/{device}/LWT"}, "Online", "Offline"},
		{"Shelly", devices.StatusTopic{Topic: "shellies/{device}/online"}, "true", "false"},
		{"Zigbee2MQTT", devices.StatusTopic{Topic: "zigbee2mqtt/{device}/availability", Path: "state"}, `{"state":"online"}`, `{"state":"offline"}`},
		{"quoted", devices.StatusTopic{Topic: "x/{device}"}, `"alive"`, ` "dead" `},
		{"own words", devices.StatusTopic{Topic: "x/{device}", Online: "在线", Offline: "离线"}, "在线", "离线"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dev := &devices.Device{ID: "dev-1", MQTT: &devices.MQTTSettings{Status: &tt.status}}
			in, err := OpenInbox(dev, []devices.Bound{topicBound("out.a", nil)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			topic := tt.status.Listens("dev-1")
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
