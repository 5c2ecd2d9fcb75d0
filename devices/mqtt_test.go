package devices_test

import (
	"testing"

	"offsite/devices"
)

func TestStatusIsChecked(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status devices.StatusTopic
		want   string
	}{
		{"no topic", devices.StatusTopic{}, "mqtt.status.topic bad_topic"},
		{"wildcard", devices.StatusTopic{Topic: "tele/+/LWT"}, "mqtt.status.topic bad_topic"},
		{"one word", devices.StatusTopic{Topic: "a", Online: "x", Offline: "X"}, "mqtt.status.online ambiguous"},
		{"good", devices.StatusTopic{Topic: "tele/{device}/LWT"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := devices.Device{ID: "d", Site: "s", Name: "n", Driver: devices.DriverBroker, MQTT: &devices.MQTTSettings{Status: &tt.status}}
			got := ""
			for _, p := range devices.AllProblems(d.Check()) {
				got += p.Field + " " + p.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
