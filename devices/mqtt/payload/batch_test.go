package payload

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestDecodeBatch(t *testing.T) {
	const t0 = 1700000000
	sec := func(v float64, after int64) devices.Reading {
		return devices.Reading{Site: "site-1", Point: "out.p", Value: v, At: time.Unix(t0+after, 0).UTC()}
	}
	now := func(v float64) devices.Reading {
		return devices.Reading{Site: "site-1", Point: "out.p", Value: v, At: receipt.Truncate(time.Millisecond), Stamped: true}
	}
	tests := []struct {
		name    string
		topic   devices.Topic
		payload string
		want    []devices.Reading
		code    string
		says    string
	}{
		{"array of value objects", devices.Topic{}, `[{"v":1,"ts":1700000000},{"value":2,"time":1700000001}]`, []devices.Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"newest first", devices.Topic{}, `[{"v":2,"ts":1700000001},{"v":1,"ts":1700000000}]`, []devices.Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"array at a path", devices.Topic{Each: "data", Path: "pm", TimePath: "at"}, `{"data":[{"pm":1,"at":1700000000},{"pm":2,"at":1700000060}]}`, []devices.Reading{sec(1, 0), sec(2, 60)}, "", ""},
		{"the payload itself, time by its looks", devices.Topic{Each: "@this", Path: "pm"}, `[{"pm":"1","ts":"2023-11-14T22:13:20Z"},{"pm":2,"ts":1700000060000}]`, []devices.Reading{sec(1, 0), sec(2, 60)}, "", ""},
		{"one element needs no time", devices.Topic{Each: "data", Path: "pm"}, `{"data":[{"pm":1}]}`, []devices.Reading{now(1)}, "", ""},
		{"array of one number", devices.Topic{Each: "data"}, `{"data":[1]}`, []devices.Reading{now(1)}, "", ""},
		{"columns", devices.Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000001,1700000000],"pm":[2,1]}`, []devices.Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"columns by gjson", devices.Topic{Path: "d.#.pm", TimePath: "d.#.at"}, `{"d":[{"pm":1,"at":1700000000},{"pm":2,"at":1700000001}]}`, []devices.Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"column of one", devices.Topic{Path: "pm"}, `{"pm":[5]}`, []devices.Reading{now(5)}, "", ""},
		{"empty", devices.Topic{}, `[]`, nil, "", ""},

		{"one of three is bad", devices.Topic{}, `[{"v":1,"ts":1700000000},{"v":"dry","ts":1700000001},{"v":3,"ts":1700000002}]`, []devices.Reading{sec(1, 0), sec(3, 2)}, "not_a_number", "measurement 2"},
		{"two are bad", devices.Topic{}, `[{"v":1,"ts":1700000000},{"ts":1700000001},{"v":"x","ts":1700000002}]`, []devices.Reading{sec(1, 0)}, "path_missing", "2 measurements are faulty"},
		{"several without time", devices.Topic{}, `[{"v":1},{"v":2}]`, nil, "time_missing", "each measurement"},
		{"several numbers", devices.Topic{}, `[1,2]`, nil, "time_missing", "each measurement"},
		{"no array", devices.Topic{Each: "data"}, `{"data":{"v":1}}`, nil, "not_an_array", "data"},
		{"no JSON", devices.Topic{Each: "data"}, `7`, nil, "not_json", "data"},
		{"array in an element", devices.Topic{Each: "data", Path: "pm"}, `{"data":[{"pm":[1,2],"ts":1700000000}]}`, nil, "not_a_number", "[1,2]"},
		{"columns differ", devices.Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000000],"pm":[1,2]}`, nil, "columns_differ", "2 values"},
		{"bad time in a column", devices.Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000000,"noon"],"pm":[1,2]}`, []devices.Reading{sec(1, 0)}, "bad_time", "noon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.topic.Topic = "t"
			m, err := newMapping([]devices.Bound{topicBound("out.p", &tt.topic)})
			if err != nil {
				t.Fatal(err)
			}
			got, _, letter := m.decode("t", []byte(tt.payload), receipt)
			if diff := cmp.Diff(tt.want, append([]devices.Reading(nil), got...)); diff != "" {
				t.Errorf("readings (-want +got):\n%s", diff)
			}
			switch {
			case letter == nil && tt.code != "":
				t.Errorf("no letter, want %s", tt.code)
			case letter != nil && (letter.Problem.Code != tt.code || !strings.Contains(letter.Problem.EN, tt.says)):
				t.Errorf("letter %s: %s", letter.Problem.Code, letter.Problem.EN)
			}
		})
	}
}

func TestLongBatchIsCut(t *testing.T) {
	var list []string
	for i := range 1500 {
		list = append(list, fmt.Sprintf(`{"v":1,"ts":%d}`, 1700000000+i))
	}
	var bounds []devices.Bound
	for i := range 100 {
		bounds = append(bounds, topicBound(fmt.Sprintf("out.p%d", i), &devices.Topic{Topic: "t"}))
	}
	m, err := newMapping(bounds)
	if err != nil {
		t.Fatal(err)
	}
	got, _, letter := m.decode("t", []byte("["+strings.Join(list, ",")+"]"), receipt)
	if len(got) != mostReadings || letter == nil || letter.Problem.Code != "too_many" {
		t.Errorf("%d readings, letter %v", len(got), letter)
	}
}
