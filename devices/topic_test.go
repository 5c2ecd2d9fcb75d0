package devices

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMatches(t *testing.T) {
	tests := []struct {
		filter, topic string
		want          bool
	}{
		{"a/b", "a/b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"a/+", "a/b", true},
		{"a/+", "a/", true},
		{"a/+", "a", false},
		{"a/+", "a/b/c", false},
		{"a/+/c", "a/b/c", true},
		{"a/#", "a", true},
		{"a/#", "a/b/c", true},
		{"a/#", "ab", false},
		{"#", "a/b", true},
		{"#", "$SYS/uptime", false},
		{"+/uptime", "$SYS/uptime", false},
		{"$SYS/#", "$SYS/uptime", true},
		{"+", "/a", false},
		{"+/+", "/a", true},
		{"/+", "/a", true},
		{"a/+/#", "a/b", true},
		{"a/+/#", "a", false},
	}
	for _, tt := range tests {
		if got := matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

func TestFiltersLeaveOutWhatIsCovered(t *testing.T) {
	m, err := NewMapping([]Bound{
		topicBound("out.a", &Topic{Topic: "plant/+/pm"}),
		topicBound("out.b", &Topic{Topic: "plant/7/pm"}),
		topicBound("out.c", &Topic{Topic: "plant/7/tsp"}),
		topicBound("out.d", &Topic{Topic: "hall/#"}),
		topicBound("out.e", &Topic{Topic: "hall/+/x"}),
		topicBound("out.f", &Topic{Topic: "hall"}),
		topicBound("out.g", &Topic{Topic: "+/7/pm"}),
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
	m, err := NewMapping([]Bound{
		topicBound("out.a", &Topic{Topic: "plant/{device}/+/data", Path: "pm"}),
		topicBound("out.b", &Topic{Topic: "plant/{device}/+/data", Path: "pm", Instance: "4C11"}),
		topicBound("out.c", &Topic{Topic: "plant/4C11/now/data", Path: "pm"}),
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
		readings, letter := m.Decode(tt.topic, []byte(`{"pm":3}`), receipt)
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
	if _, letter := m.Decode("plant/dev-9/v2/data", []byte(`{"pm":3}`), receipt); letter == nil || letter.Problem.Code != "unknown_topic" {
		t.Errorf("letter %+v", letter)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("a/+/#", "a/b", "a/b/c")
	f.Add("+", "$SYS", "#")
	f.Fuzz(func(t *testing.T, outer, inner, topic string) {
		if goodFilter(outer) && goodFilter(inner) && Covers(outer, inner) && matches(inner, topic) && !matches(outer, topic) {
			t.Errorf("%q covers %q, which takes in %q", outer, inner, topic)
		}
	})
}
