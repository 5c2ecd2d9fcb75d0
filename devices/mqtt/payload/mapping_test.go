package payload

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

var receipt = time.Date(2026, 3, 1, 4, 5, 6, 789_400_000, time.UTC)

func topicBound(point string, topic *devices.Topic, change ...func(*devices.Bound)) devices.Bound {
	b := devices.Bound{
		Site:    "site-1",
		Point:   devices.Point{ID: point},
		Binding: devices.Binding{ID: "b-" + strings.ReplaceAll(point, ".", "-"), Point: point, Device: "dev-1", Topic: topic},
	}
	for _, f := range change {
		f(&b)
	}
	return b
}

func scaled(scale, offset float64) func(*devices.Bound) {
	return func(b *devices.Bound) { b.Binding.Scale, b.Binding.Offset = scale, offset }
}

func ranged(low, high float64) func(*devices.Bound) {
	return func(b *devices.Bound) { b.Point.Min, b.Point.Max = &low, &high }
}

func TestDecode(t *testing.T) {
	at := receipt.Truncate(time.Millisecond)
	stamped := func(v float64) []devices.Reading {
		return []devices.Reading{{Site: "site-1", Point: "out.p", Value: v, At: at, Stamped: true}}
	}
	timed := func(v float64, ms int64) []devices.Reading {
		return []devices.Reading{{Site: "site-1", Point: "out.p", Value: v, At: time.UnixMilli(ms).UTC()}}
	}
	plain := topicBound("out.p", nil)
	inChina := topicBound("out.p", &devices.Topic{Topic: "offsite/dev-1/p", Zone: "Asia/Shanghai"})
	tests := []struct {
		name    string
		bound   devices.Bound
		topic   string // "offsite/dev-1/p" when empty
		payload string
		want    []devices.Reading
		code    string // of the letter's problem; empty when no letter is wanted
		says    string // part of both its sentences
	}{
		{name: "number", bound: plain, payload: "23.5", want: stamped(23.5)},
		{name: "number with white space", bound: plain, payload: " -1e3\r\n", want: stamped(-1000)},
		{name: "true", bound: plain, payload: "true", want: stamped(1)},
		{name: "false", bound: plain, payload: "false", want: stamped(0)},
		{name: "scale and offset", bound: topicBound("out.p", nil, scaled(0.1, -40)), payload: "650", want: stamped(25)},
		{name: "value object", bound: plain, payload: `{"value":7}`, want: stamped(7)},
		{name: "v object with unix time", bound: plain, payload: `{"v":7,"ts":1700000000}`, want: timed(7, 1700000000000)},
		{name: "v object with milliseconds", bound: plain, payload: `{"v":7,"t":1700000000123}`, want: timed(7, 1700000000123)},
		{name: "v object with RFC 3339", bound: plain, payload: `{"v":7,"time":"2023-11-15T06:13:20.5+08:00"}`, want: timed(7, 1700000000500)},
		{name: "local time of the zone", bound: inChina, payload: `{"v":7,"time":"2023-11-15T06:13:20"}`, want: timed(7, 1700000000000)},
		{name: "local time with a space and a fraction", bound: inChina, payload: `{"v":7,"time":"2023-11-15 06:13:20.123456"}`, want: timed(7, 1700000000123)},
		{name: "local time with slashes", bound: inChina, payload: `{"v":7,"time":"2023/11/15 06:13:20"}`, want: timed(7, 1700000000000)},
		{name: "local time in digits", bound: inChina, payload: `{"v":7,"ts":20231115061320}`, want: timed(7, 1700000000000)},
		{name: "a stated zone goes before the binding's", bound: inChina, payload: `{"v":7,"time":"2023-11-14T22:13:20Z"}`, want: timed(7, 1700000000000)},
		{
			name: "columns of local times", bound: topicBound("out.p", &devices.Topic{Path: "pm", TimePath: "at", Zone: "Asia/Shanghai"}), topic: "offsite/dev-1",
			payload: `{"at":["2023-11-15 06:13:20"],"pm":[7]}`, want: timed(7, 1700000000000),
		},
		{name: "t is the temperature", bound: plain, payload: `{"v":7,"t":23.5}`, want: stamped(7)},
		{name: "null time", bound: plain, payload: `{"v":7,"time":null}`, want: stamped(7)},
		{name: "quoted number", bound: plain, payload: `{"v":"7.25"}`, want: stamped(7.25)},
		{name: "bool in JSON", bound: plain, payload: `{"v":true}`, want: stamped(1)},
		{
			name: "nested path and time", bound: topicBound("out.p", &devices.Topic{Path: "data.0.pm10", TimePath: "head.at", TimeFormat: "unix_ms"}), topic: "offsite/dev-1",
			payload: `{"head":{"at":1700000000123},"data":[{"pm10":81.2}]}`, want: timed(81.2, 1700000000123),
		},
		{
			name: "fractional seconds in quotes", bound: topicBound("out.p", &devices.Topic{Path: "x", TimePath: "at", TimeFormat: "unix"}), topic: "offsite/dev-1",
			payload: `{"x":1,"at":"1700000000.25"}`, want: timed(1, 1700000000250),
		},
		{name: "own topic", bound: topicBound("out.p", &devices.Topic{Topic: "plant/7/pm"}), topic: "plant/7/pm", payload: "1", want: stamped(1)},
		{name: "path without time ignores neighbours", bound: topicBound("out.p", &devices.Topic{Path: "x"}), topic: "offsite/dev-1", payload: `{"x":1,"time":"noon"}`, want: stamped(1)},
		{
			name: "outside the range", bound: topicBound("out.p", nil, ranged(0, 10)), payload: "11",
			want: []devices.Reading{{Site: "site-1", Point: "out.p", Value: 11, At: at, Stamped: true, Quality: devices.UncertainRange}},
		},
		{
			name: "far in the future", bound: plain, payload: `{"v":1,"time":"2199-01-01T00:00:00Z"}`,
			want: []devices.Reading{{Site: "site-1", Point: "out.p", Value: 1, At: time.Date(2199, 1, 1, 0, 0, 0, 0, time.UTC)}},
		},

		{name: "empty", bound: plain, payload: "", code: "not_a_number", says: "payload"},
		{name: "word", bound: plain, payload: "dry", code: "not_a_number", says: `"dry"`},
		{name: "hexadecimal", bound: plain, payload: "0x10", code: "not_a_number", says: `"0x10"`},
		{name: "NaN", bound: plain, payload: "NaN", code: "not_finite", says: "NaN"},
		{name: "minus infinity", bound: plain, payload: "-inf", code: "not_finite", says: "-inf"},
		{name: "too big for a float", bound: plain, payload: "1e999", code: "not_finite", says: "1e999"},
		{name: "scaled out of the floats", bound: topicBound("out.p", nil, scaled(1e300, 0)), payload: "1e300", code: "not_finite", says: "+Inf"},
		{name: "NaN in JSON", bound: plain, payload: `{"v": NaN}`, code: "not_finite", says: "NaN"},
		{name: "infinity in JSON", bound: plain, payload: `{"v":-Infinity}`, code: "not_finite", says: "Infinity"},
		{name: "quoted NaN", bound: plain, payload: `{"v":"nan"}`, code: "not_finite", says: "nan"},
		{name: "no value", bound: plain, payload: `{"pm10":3}`, code: "path_missing", says: "value"},
		{name: "missing path", bound: topicBound("out.p", &devices.Topic{Path: "a.b"}), topic: "offsite/dev-1", payload: `{"a":1}`, code: "path_missing", says: "a.b"},
		{name: "object at the path", bound: topicBound("out.p", &devices.Topic{Path: "a"}), topic: "offsite/dev-1", payload: `{"a":{}}`, code: "not_a_number", says: "{}"},
		{name: "null at the path", bound: topicBound("out.p", &devices.Topic{Path: "a"}), topic: "offsite/dev-1", payload: `{"a":null}`, code: "not_a_number", says: "null"},
		{name: "text at the path", bound: topicBound("out.p", &devices.Topic{Path: "a"}), topic: "offsite/dev-1", payload: `{"a":"off"}`, code: "not_a_number", says: `"off"`},
		{name: "path in a number", bound: topicBound("out.p", &devices.Topic{Path: "a"}), topic: "offsite/dev-1", payload: `3`, code: "not_json", says: "a"},
		{name: "cut JSON", bound: plain, payload: `{"v":1`, code: "bad_json", says: "offsite/dev-1/p"},
		{name: "not UTF-8", bound: plain, payload: "\xff\xfe1", code: "bad_utf8", says: "UTF-8"},
		{name: "too large", bound: plain, payload: strings.Repeat("1", devices.MaxPayload+1), code: "too_large", says: "64 KiB"},
		{name: "unknown topic", bound: plain, topic: "offsite/dev-1/q", payload: "1", code: "unknown_topic", says: "offsite/dev-1/q"},
		{name: "unreadable time", bound: plain, payload: `{"v":1,"time":"noon"}`, code: "bad_time", says: `"noon"`},
		{name: "time without zone", bound: plain, payload: `{"v":1,"time":"2026-01-02T15:04:05"}`, code: "no_zone", says: "topic.zone"},
		{name: "digits without zone", bound: plain, payload: `{"v":1,"ts":20260102150405}`, code: "no_zone", says: "Asia/Shanghai"},
		{name: "no such day in the zone", bound: inChina, payload: `{"v":1,"time":"2026-02-30 15:04:05"}`, code: "bad_time", says: "RFC 3339"},
		{name: "zone of a number called seconds", bound: topicBound("out.p", &devices.Topic{TimePath: "at", TimeFormat: "unix", Zone: "Asia/Shanghai"}), topic: "offsite/dev-1/p", payload: `{"v":1,"at":"2023-11-15 06:13:20"}`, code: "bad_time", says: "at"},
		{name: "stated time is missing", bound: topicBound("out.p", &devices.Topic{TimePath: "at"}), topic: "offsite/dev-1/p", payload: `{"v":1}`, code: "time_missing", says: "at"},
		{name: "milliseconds called seconds", bound: topicBound("out.p", &devices.Topic{TimePath: "at", TimeFormat: "unix"}), topic: "offsite/dev-1/p", payload: `{"v":1,"at":1700000000000}`, code: "bad_time", says: "at"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := newMapping([]devices.Bound{tt.bound})
			if err != nil {
				t.Fatal(err)
			}
			topic := tt.topic
			if topic == "" {
				topic = "offsite/dev-1/p"
			}
			got, _, letter := m.decode(topic, []byte(tt.payload), receipt)
			if len(tt.want) == 0 {
				tt.want = nil
			}
			if diff := cmp.Diff(tt.want, append([]devices.Reading(nil), got...)); diff != "" {
				t.Errorf("readings (-want +got):\n%s", diff)
			}
			checkLetter(t, letter, topic, tt.payload, tt.code, tt.says)
		})
	}
}

func checkLetter(t *testing.T, letter *devices.DeadLetter, topic, payload, code, says string) {
	t.Helper()
	if code == "" {
		if letter != nil {
			t.Errorf("letter: %v", letter.Problem)
		}
		return
	}
	if letter == nil {
		t.Fatalf("no letter, want %s", code)
	}
	p := letter.Problem
	if p.Code != code || letter.Topic != topic || !strings.Contains(p.ZH, topic) || !strings.Contains(p.EN, topic) ||
		!strings.Contains(p.ZH, says) || !strings.Contains(p.EN, says) {
		t.Errorf("letter of topic %q: code %q, %s", letter.Topic, p.Code, p.Bilingual())
	}
	if want := payload[:min(len(payload), devices.MaxPayload)]; string(letter.Payload) != want {
		t.Errorf("letter holds %d bytes, want %d", len(letter.Payload), len(want))
	}
}

func TestDecodeGivesWhatItCanAndALetterForTheRest(t *testing.T) {
	m, err := newMapping([]devices.Bound{
		topicBound("out.a", &devices.Topic{Path: "a"}),
		topicBound("out.b", &devices.Topic{Path: "b"}, scaled(10, 1)),
		topicBound("out.c", &devices.Topic{Path: "c"}),
		topicBound("out.d", &devices.Topic{Path: "d"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	readings, _, letter := m.decode("offsite/dev-1", []byte(`{"a":1,"b":2,"d":"off"}`), receipt)
	var values []float64
	for _, r := range readings {
		values = append(values, r.Value)
	}
	if diff := cmp.Diff([]float64{1, 21}, values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
	if letter == nil || !strings.Contains(letter.Problem.EN, "path c") || !strings.Contains(letter.Problem.ZH, `"off"`) {
		t.Errorf("letter = %+v, want one that names c and d", letter)
	}
}

func TestFilters(t *testing.T) {
	m, err := newMapping([]devices.Bound{
		topicBound("out.b", nil), topicBound("out.a", nil), topicBound("out.x", &devices.Topic{Path: "x"}), topicBound("out.y", &devices.Topic{Path: "y"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"offsite/dev-1", "offsite/dev-1/a", "offsite/dev-1/b"}, m.Filters()); diff != "" {
		t.Error(diff)
	}
	if !m.Bound("offsite/dev-1/a") || m.Bound("offsite/dev-1/c") {
		t.Error("Bound does not follow the bindings")
	}
}

func TestFaultyBindingsAreToldAndLeftOut(t *testing.T) {
	m, err := newMapping([]devices.Bound{
		topicBound("out.a", &devices.Topic{Topic: "plant/#/pm"}), topicBound("out.b", nil), topicBound("out.c", &devices.Topic{TimeFormat: "excel"}),
	})
	var said []string
	for _, p := range devices.AllProblems(err) {
		said = append(said, p.Code)
	}
	if diff := cmp.Diff([]string{"wildcard", "not_one_of"}, said); diff != "" || !errors.Is(err, devices.ErrInvalid) {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{"offsite/dev-1/b"}, m.Filters()); diff != "" {
		t.Error(diff)
	}
}

// The fingerprint is in logs on disk: another value would make every re-sent
// message look new after an upgrade.
func TestFingerprintNeverChanges(t *testing.T) {
	if got := Fingerprint("offsite/dev-1/p", []byte("23.5")); got != 0xda73e62d9544972a {
		t.Errorf("Fingerprint = %#x", got)
	}
	if Fingerprint("a", []byte("bc")) == Fingerprint("ab", []byte("c")) {
		t.Error("topic and payload run into each other")
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		"23.5", "NaN", "true", "", `{"v":1,"ts":1700000000}`, `{"value":"1e5","time":"2026-01-02T15:04:05+08:00"}`,
		`{"a":{"b":[1,2,{"c":3}]}}`, `{"v":NaN}`, "[[[[", "\xff", `{"a.b":1,"time":-1e308}`,
	} {
		f.Add([]byte(s), "a.b", "time", "")
	}
	f.Fuzz(func(t *testing.T, payload []byte, path, timePath, format string) {
		m, err := newMapping([]devices.Bound{
			topicBound("out.r", &devices.Topic{Topic: "+", Each: path, TimePath: timePath}),
			topicBound("out.p", &devices.Topic{Topic: "t", Path: path, TimePath: timePath, TimeFormat: format}, scaled(1e10, 1)),
			topicBound("out.q", &devices.Topic{Topic: "t"}),
		})
		if err != nil {
			t.Skip()
		}
		kept := bytes.Clone(payload)
		readings, _, letter := m.decode("t", payload, receipt)
		if !bytes.Equal(kept, payload) {
			t.Fatal("the payload was changed")
		}
		if len(readings) < 2 && letter == nil && !bytes.Contains(payload, []byte("[")) { // an empty array is no fault
			t.Fatal("a point is neither read nor told")
		}
		if letter != nil && (!utf8.ValidString(letter.Problem.EN) || letter.Problem.EN == "" || letter.Problem.ZH == "") {
			t.Fatalf("letter says %q", letter.Problem.EN)
		}
		for _, r := range readings {
			if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.At.Nanosecond()%1e6 != 0 || r.At.Location() != time.UTC || r.At.Year() > 9999 {
				t.Fatalf("reading %+v", r)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	payload := []byte(`{"device":"dust-07","seq":123456,"time":"2026-03-01T12:05:06.789+08:00","data":{"pm25":38.2,"pm10":81.25,"noise":61.4,"temp":23.5,"hum":40.1,"wind":2.3,"dir":180},"status":"ok","fw":"1.4.2-rc1","battery":97,"signal":-71,"note":"` + strings.Repeat("x", 20) + `"}`)
	m, err := newMapping([]devices.Bound{topicBound("out.p", &devices.Topic{Topic: "t", Path: "data.pm10"})})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		if r, _, l := m.decode("t", payload, receipt); l != nil || len(r) != 1 {
			b.Fatal(l)
		}
	}
}
