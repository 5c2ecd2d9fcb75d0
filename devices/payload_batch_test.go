package devices

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeBatch(t *testing.T) {
	const t0 = 1700000000
	sec := func(v float64, after int64) Reading {
		return Reading{Site: "site-1", Point: "out.p", Value: v, At: time.Unix(t0+after, 0).UTC()}
	}
	now := func(v float64) Reading {
		return Reading{Site: "site-1", Point: "out.p", Value: v, At: receipt.Truncate(time.Millisecond), Stamped: true}
	}
	tests := []struct {
		name    string
		topic   Topic
		payload string
		want    []Reading
		code    string
		says    string
	}{
		{"array of value objects", Topic{}, `[{"v":1,"ts":1700000000},{"value":2,"time":1700000001}]`, []Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"newest first", Topic{}, `[{"v":2,"ts":1700000001},{"v":1,"ts":1700000000}]`, []Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"array at a path", Topic{Each: "data", Path: "pm", TimePath: "at"}, `{"data":[{"pm":1,"at":1700000000},{"pm":2,"at":1700000060}]}`, []Reading{sec(1, 0), sec(2, 60)}, "", ""},
		{"the payload itself, time by its looks", Topic{Each: "@this", Path: "pm"}, `[{"pm":"1","ts":"2023-11-14T22:13:20Z"},{"pm":2,"ts":1700000060000}]`, []Reading{sec(1, 0), sec(2, 60)}, "", ""},
		{"one element needs no time", Topic{Each: "data", Path: "pm"}, `{"data":[{"pm":1}]}`, []Reading{now(1)}, "", ""},
		{"array of one number", Topic{Each: "data"}, `{"data":[1]}`, []Reading{now(1)}, "", ""},
		{"columns", Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000001,1700000000],"pm":[2,1]}`, []Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"columns by gjson", Topic{Path: "d.#.pm", TimePath: "d.#.at"}, `{"d":[{"pm":1,"at":1700000000},{"pm":2,"at":1700000001}]}`, []Reading{sec(1, 0), sec(2, 1)}, "", ""},
		{"column of one", Topic{Path: "pm"}, `{"pm":[5]}`, []Reading{now(5)}, "", ""},
		{"empty", Topic{}, `[]`, nil, "", ""},

		{"one of three is bad", Topic{}, `[{"v":1,"ts":1700000000},{"v":"dry","ts":1700000001},{"v":3,"ts":1700000002}]`, []Reading{sec(1, 0), sec(3, 2)}, "not_a_number", "measurement 2"},
		{"two are bad", Topic{}, `[{"v":1,"ts":1700000000},{"ts":1700000001},{"v":"x","ts":1700000002}]`, []Reading{sec(1, 0)}, "path_missing", "2 measurements are faulty"},
		{"several without time", Topic{}, `[{"v":1},{"v":2}]`, nil, "time_missing", "each measurement"},
		{"several numbers", Topic{}, `[1,2]`, nil, "time_missing", "each measurement"},
		{"no array", Topic{Each: "data"}, `{"data":{"v":1}}`, nil, "not_an_array", "data"},
		{"no JSON", Topic{Each: "data"}, `7`, nil, "not_json", "data"},
		{"array in an element", Topic{Each: "data", Path: "pm"}, `{"data":[{"pm":[1,2],"ts":1700000000}]}`, nil, "not_a_number", "[1,2]"},
		{"columns differ", Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000000],"pm":[1,2]}`, nil, "columns_differ", "2 values"},
		{"bad time in a column", Topic{Path: "pm", TimePath: "at"}, `{"at":[1700000000,"noon"],"pm":[1,2]}`, []Reading{sec(1, 0)}, "bad_time", "noon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.topic.Topic = "t"
			m, err := NewMapping([]Bound{topicBound("out.p", &tt.topic)})
			if err != nil {
				t.Fatal(err)
			}
			got, letter := m.Decode("t", []byte(tt.payload), receipt)
			if diff := cmp.Diff(tt.want, append([]Reading(nil), got...)); diff != "" {
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
	var bounds []Bound
	for i := range 100 {
		bounds = append(bounds, topicBound(fmt.Sprintf("out.p%d", i), &Topic{Topic: "t"}))
	}
	m, err := NewMapping(bounds)
	if err != nil {
		t.Fatal(err)
	}
	got, letter := m.Decode("t", []byte("["+strings.Join(list, ",")+"]"), receipt)
	if len(got) != mostReadings || letter == nil || letter.Problem.Code != "too_many" {
		t.Errorf("%d readings, letter %v", len(got), letter)
	}
}
