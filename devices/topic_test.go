package devices

import (
	"regexp"
	"strings"
	"testing"
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
		if got := Matches(tt.filter, tt.topic); got != tt.want {
			t.Errorf("Matches(%q, %q) = %v", tt.filter, tt.topic, got)
		}
	}
}

func TestCheckTopic(t *testing.T) {
	han := regexp.MustCompile(`\p{Han}`)
	long := strings.Repeat("a", 257)
	tests := []struct {
		name  string
		topic *Topic
		want  string
	}{
		{"the default", nil, ""},
		{"wildcard in a level", &Topic{Topic: "plant/+x/pm"}, "topic.topic wildcard"},
		{"wildcard before the end", &Topic{Topic: "plant/#/pm"}, "topic.topic wildcard"},
		{"shared", &Topic{Topic: "$share/g/plant"}, "topic.topic shared_topic"},
		{"null character", &Topic{Topic: "a\x00b"}, "topic.topic bad_topic"},
		{"form of time", &Topic{TimeFormat: "excel"}, "topic.time_format not_one_of"},
		{"zone", &Topic{Zone: "Mars/Base"}, "topic.zone unknown_zone"},
		{"long paths", &Topic{Path: long, TimePath: long}, "topic.path bad_path, topic.time_path bad_path"},
		{"instance without its place", &Topic{Topic: "plant/pm", Instance: "7"}, "topic.instance bad_instance"},
		{"wild instance", &Topic{Topic: "plant/{device}/pm", Instance: "+"}, "topic.instance bad_instance"},
		{"path that is no text", &Topic{Each: "\xff"}, "topic.each bad_path"},
		{"Sparkplug node", &Topic{Topic: "spBv1.0/g/+/e", Format: "sparkplug", Path: "m"}, ""},
		{"Sparkplug data topic", &Topic{Topic: "spBv1.0/g/DDATA/e/d", Format: "sparkplug", Path: "m"}, "topic.topic bad_topic"},
		{"Sparkplug wild edge", &Topic{Topic: "spBv1.0/g/+/+/d", Format: "sparkplug", Path: "m"}, "topic.topic bad_topic"},
		{"Sparkplug without a name", &Topic{Topic: "spBv1.0/g/+/e", Format: "sparkplug"}, "topic.path missing"},
		{"SenML with a time path", &Topic{Topic: "t", Format: "senml", Path: "m", TimePath: "x"}, "topic.format not_used"},
		{"unknown format", &Topic{Topic: "t", Format: "xml", Path: "m"}, "topic.format not_one_of"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := Binding{ID: "b-1", Point: "out.p", Device: "dev-1", Topic: tt.topic}
			var got []string
			for _, p := range b.CheckTopic() {
				got = append(got, p.Field+" "+p.Code)
				if !strings.Contains(p.EN, "b-1") || !strings.Contains(p.ZH, "b-1") || han.MatchString(p.EN) || !han.MatchString(strings.TrimPrefix(p.ZH, "绑定")) {
					t.Errorf("%q names no binding, or not in both languages", p.Bilingual())
				}
			}
			if strings.Join(got, ", ") != tt.want {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func FuzzFilter(f *testing.F) {
	f.Add("a/+/#", "a/b", "a/b/c")
	f.Add("+", "$SYS", "#")
	f.Fuzz(func(t *testing.T, outer, inner, topic string) {
		if goodFilter(outer) && goodFilter(inner) && Covers(outer, inner) && Matches(inner, topic) && !Matches(outer, topic) {
			t.Errorf("%q covers %q, which takes in %q", outer, inner, topic)
		}
	})
}
