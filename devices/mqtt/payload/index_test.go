package payload

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestFiltersLeaveOutWhatIsCovered(t *testing.T) {
	m, err := newMapping([]devices.Bound{
		topicBound("out.a", &devices.Topic{Topic: "plant/+/pm"}),
		topicBound("out.b", &devices.Topic{Topic: "plant/7/pm"}),
		topicBound("out.c", &devices.Topic{Topic: "plant/7/tsp"}),
		topicBound("out.d", &devices.Topic{Topic: "hall/#"}),
		topicBound("out.e", &devices.Topic{Topic: "hall/+/x"}),
		topicBound("out.f", &devices.Topic{Topic: "hall"}),
		topicBound("out.g", &devices.Topic{Topic: "+/7/pm"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"+/7/pm", "hall/#", "plant/+/pm", "plant/7/tsp"}, m.Filters()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"out.a", "out.b"}, m.points("plant/+/pm")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"out.d", "out.e", "out.f"}, m.points("hall/#")); diff != "" {
		t.Error(diff)
	}
}

func TestDeviceIsTakenFromTheTopic(t *testing.T) {
	m, err := newMapping([]devices.Bound{
		topicBound("out.a", &devices.Topic{Topic: "plant/{device}/+/data", Path: "pm"}),
		topicBound("out.b", &devices.Topic{Topic: "plant/{device}/+/data", Path: "pm", Instance: "4C11"}),
		topicBound("out.c", &devices.Topic{Topic: "plant/4C11/now/data", Path: "pm"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		topic string
		want  []string
	}{
		{"plant/dev-1/v2/data", []string{"out.a"}},
		{"plant/4C11/v1/data", []string{"out.b"}},
		{"plant/4C11/now/data", []string{"out.c", "out.b"}},
	} {
		readings, _, letter := m.decode(tt.topic, []byte(`{"pm":3}`), receipt)
		var points []string
		for _, r := range readings {
			points = append(points, r.Point)
		}
		if diff := cmp.Diff(tt.want, points); diff != "" || letter != nil {
			t.Errorf("%s: letter %v, points (-want +got):\n%s", tt.topic, letter, diff)
		}
	}
	if m.Bound("plant/dev-9/v2/data") || !m.Bound("plant/dev-1/x/data") {
		t.Error("Bound does not look at the device's level")
	}
	if _, _, letter := m.decode("plant/dev-9/v2/data", []byte(`{"pm":3}`), receipt); letter == nil || letter.Problem.Code != "unknown_topic" {
		t.Errorf("letter %+v", letter)
	}
}
