package senml

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

var receipt = time.Date(2026, 3, 1, 4, 5, 6, 0, time.UTC)

// The packs are those of RFC 8428, sections 5.1.1 to 5.1.6 and 6.
func TestReadStandardsExamples(t *testing.T) {
	at := func(seconds float64) time.Time { return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC() }
	tests := []struct {
		name, pack string
		want       []payload.Sample
	}{
		{
			"single data point", `[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`,
			[]payload.Sample{{Name: "urn:dev:ow:10e2073a01080063", Unit: "Cel", Value: 23.1}},
		},
		{
			"multiple data points", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]`,
			[]payload.Sample{{Name: "urn:dev:ow:10e2073a01080063:voltage", Unit: "V", Value: 120.1}, {Name: "urn:dev:ow:10e2073a01080063:current", Unit: "A", Value: 1.2}},
		},
		{
			"multiple measurements", `[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
			{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3}]`,
			[]payload.Sample{
				{Name: "urn:dev:ow:10e2073a0108006:voltage", Unit: "V", Value: 120.1, At: at(1276020076.001)},
				{Name: "urn:dev:ow:10e2073a0108006:current", Unit: "A", Value: 1.2, At: at(1276020071.001)},
				{Name: "urn:dev:ow:10e2073a0108006:current", Unit: "A", Value: 1.3, At: at(1276020072.001)},
			},
		},
		{
			"relative times", `[{"bn":"urn:dev:ow:10e2073a01080063","bt":-1,"u":"%RH","v":21.2},{"t":-9.5,"v":21.3,"u":"%RH"}]`,
			[]payload.Sample{
				{Name: "urn:dev:ow:10e2073a01080063", Unit: "%RH", Value: 21.2, At: receipt.Add(-time.Second)},
				{Name: "urn:dev:ow:10e2073a01080063", Unit: "%RH", Value: 21.3, At: receipt.Add(-10500 * time.Millisecond)},
			},
		},
		{
			"different data types", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},{"n":"label","vs":"Machine Room"},{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg"}]`,
			[]payload.Sample{
				{Name: "urn:dev:ow:10e2073a01080063:temp", Unit: "Cel", Value: 23.1},
				{Name: "urn:dev:ow:10e2073a01080063:label", Fault: &devices.Problem{Code: "not_a_number"}},
				{Name: "urn:dev:ow:10e2073a01080063:open"},
				{Name: "urn:dev:ow:10e2073a01080063:nfc-reader", Fault: &devices.Problem{Code: "not_a_number"}},
			},
		},
		{
			"base value and sum", `[{"bn":"m","bv":100,"bs":10,"v":1,"s":2},{"vb":true}]`,
			[]payload.Sample{{Name: "m", Value: 101}, {Name: "m#s", Value: 12}, {Name: "m", Value: 1}},
		},
		{"base alone", `[{"bn":"m:"},{"n":"a","v":1}]`, []payload.Sample{{Name: "m:a", Value: 1}}},
		{"empty", `[]`, nil},
	}
	sameCode := cmp.Transformer("code", func(p *devices.Problem) string {
		if p == nil {
			return ""
		}
		return p.Code
	})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, p := Read([]byte(tt.pack), receipt)
			if p != nil {
				t.Fatal(p)
			}
			if diff := cmp.Diff(tt.want, got, sameCode); diff != "" {
				t.Errorf("samples (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	tests := []struct{ name, pack, code, says string }{
		{"not JSON", `[{"n":`, "bad_json", "RFC 8428"},
		{"not UTF-8", "[\"\xff\"]", "bad_json", ""},
		{"an object", `{"n":"a","v":1}`, "not_an_array", ""},
		{"an array of numbers", `[1]`, "not_an_object", "record 1"},
		{"no value", `[{"n":"a","v":1},{"n":"b"}]`, "value_missing", "record 2"},
		{"no name", `[{"v":1}]`, "bad_name", ""},
		{"bad name", `[{"n":"a b","v":1}]`, "bad_name", ""},
		{"name begins with a dot", `[{"n":".a","v":1}]`, "bad_name", ""},
		{"value in quotes", `[{"n":"a","v":"1"}]`, "bad_field", "field v"},
		{"value too big", `[{"n":"a","v":1e999}]`, "bad_field", "field v"},
		{"truth in a word", `[{"n":"a","vb":"true"}]`, "bad_field", "vb"},
		{"new version", `[{"bver":11,"n":"a","v":1}]`, "new_version", ""},
		{"must be understood", `[{"n":"a","v":1,"x_":1}]`, "must_understand", `"x_"`},
		{"time out of range", `[{"n":"a","v":1,"t":1e15}]`, "bad_time", ""},
		{"time long ago", `[{"n":"a","v":1,"t":-1e10}]`, "bad_time", ""},
		{"too many", "[" + strings.Repeat(`{"bn":""},`, mostRecords) + `{"bn":""}]`, "too_many", ""},
		{"too large", "[" + strings.Repeat(" ", devices.MaxPayload) + "]", "too_large", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, p := Read([]byte(tt.pack), receipt)
			if p == nil || p.Code != tt.code || !strings.Contains(p.EN, tt.says) || len(got) != 0 {
				t.Errorf("got %v, %v", got, p)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},{"n":"current","t":-5,"v":1.2}]`))
	f.Add([]byte(`[{"n":"a","vb":true,"s":1e308,"bs":1e308}]`))
	f.Add([]byte(`[{"n":"a","vs":"x"},{"x_":1}]`))
	f.Fuzz(func(t *testing.T, pack []byte) {
		samples, p := Read(pack, receipt)
		if p != nil && (p.ZH == "" || p.EN == "" || len(samples) > 0) {
			t.Fatalf("problem %+v with %d samples", p, len(samples))
		}
		for _, s := range samples {
			if !goodName(strings.TrimSuffix(s.Name, "#s")) || s.At.Year() > 9999 || (!s.At.IsZero() && s.At.Location() != time.UTC) {
				t.Fatalf("sample %+v", s)
			}
		}
	})
}
