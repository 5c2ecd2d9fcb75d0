package devices_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestFindings(t *testing.T) {
	bound := func(point string, high float64) devices.Bound {
		return devices.Bound{Binding: devices.Binding{ID: "b-" + point, Point: "out." + point}, Point: devices.Point{ID: "out." + point, Max: &high}}
	}
	reading := func(point string, v float64) devices.Reading { return devices.Reading{Point: "out." + point, Value: v} }
	f := devices.NewFindings([]devices.Bound{bound("pm", 1000), bound("temp", 60), bound("wind", 50), bound("hum", 100)})
	f.Add("first", []devices.Reading{reading("pm", 81), reading("temp", 4e5)}, nil, nil)
	f.Add("second", nil, []string{"out.pm", "out.wind"}, devices.Invalid("", "path_missing", "没有", "missing"))
	if f.Complete() {
		t.Error("complete without two of four values")
	}
	s := f.Step()
	if s.OK || s.EN != "2 of 4 values" || s.CureEN == "" {
		t.Errorf("step %+v", s)
	}
	var got []string
	for _, v := range s.Values {
		text := v.Binding + " " + v.Raw
		if !v.Plausible {
			text += ": " + v.EN
		}
		got = append(got, text)
	}
	want := []string{
		"b-pm first",
		"b-temp first: the value does not fit the point's range; check where it is read and its scale",
		"b-wind second: missing",
		"b-hum : nothing has come for this point; check where it is read",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestFindingsCutNoCharacterInTwo(t *testing.T) {
	f := devices.NewFindings([]devices.Bound{{Binding: devices.Binding{Point: "out.pm"}}})
	f.Add("x"+strings.Repeat("扬尘", 200), []devices.Reading{{Point: "out.pm"}}, nil, nil)
	if raw := f.Step().Values[0].Raw; !utf8.ValidString(raw) || strings.Contains(raw, "\uFFFD") || !strings.HasSuffix(raw, "尘…") && !strings.HasSuffix(raw, "扬…") {
		t.Errorf("shows %q", raw)
	}
}
