package hj212_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
)

func outline(h hj212.Heard) []string {
	var list []string
	for _, o := range h.Offers {
		list = append(list, fmt.Sprintln(o.Place.Kind, o.Place.Code, o.Place.Field, o.Value, o.Points))
	}
	return list
}

func TestHeardTellsWhatALoggerSends(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{}, plant("plc-1", "M1", "w01018"), plant("plc-2", "M2"))
	if list := h.Heard(""); len(list) != 0 {
		t.Fatalf("before anything came: %+v", list)
	}
	l := dial(t, h)
	l.send(frame("20240101000100001", strings.Replace(header, "CN=2011", "CN=2051", 1), "DataTime=20240101000000;060-Min=1,060-Avg=2,060-Max=3,060-Cou=x,060-Flag=N"))
	l.heard()
	for i, v := range []string{"24.5", "25.5"} {
		l.send(frame(fmt.Sprintf("2024010100010100%d", i), header, "DataTime=2024010100010"+fmt.Sprint(i)+";w01018-Rtd="+v+",w01018-Flag=N;pH Probe-Rtd=7;w01001-Rtd=nan"))
		l.heard()
	}
	list := h.Heard("plc-1")
	if len(list) != 1 || list[0].MN != "M1" || list[0].Device != "plc-1" || list[0].Problem != nil || list[0].At.IsZero() {
		t.Fatalf("%+v", list)
	}
	if !strings.Contains(list[0].Sample, "w01018-Rtd=25.5") || strings.Contains(list[0].Sample, pw) {
		t.Errorf("sample %q", list[0].Sample)
	}
	want := []string{
		"realtime w01018 Rtd 25.5 [out.w01018]\n",
		"minute w21003 Min 1 []\n", "minute w21003 Avg 2 []\n", "minute w21003 Max 3 []\n",
	}
	if diff := cmp.Diff(want, outline(list[0])); diff != "" {
		t.Error(diff)
	}
	if list := h.Heard("plc-2"); len(list) != 0 {
		t.Errorf("of a logger that is away: %+v", list)
	}
}

func TestHeardTellsWhoIsRefused(t *testing.T) {
	h := host(t, newDisk(), hj212.Config{}, plant("plc-1", "M1"))
	for _, head := range []string{strings.Replace(header, pw, "999999", 1), strings.Replace(header, "MN=M1", "MN=M7", 1)} {
		l := dial(t, h)
		l.send(frame("20240101000000001", head, "DataTime=20240101000000;w01018-Rtd=1"))
		l.heard()
	}
	var got []string
	for _, l := range h.Heard("") {
		got = append(got, fmt.Sprintln(l.MN, l.Device, l.Count, l.Problem.Code))
	}
	if diff := cmp.Diff([]string{"M1 plc-1 1 bad_password\n", "M7  1 unknown_mn\n"}, got); diff != "" {
		t.Error(diff)
	}
	if list := h.Heard("plc-1"); len(list) != 1 {
		t.Errorf("of one device: %+v", list)
	}
	if err := h.Update([]hj212.Client{plant("plc-1", "M1"), plant("plc-7", "M7")}); err != nil {
		t.Fatal(err)
	}
	if list := h.Heard(""); len(list) != 2 || list[1].Device != "plc-7" {
		t.Errorf("once it is registered: %+v", list)
	}
}

func TestQuantityOfAPlace(t *testing.T) {
	tests := []struct {
		name  string
		place devices.FactorPlace
		want  hj212.Quantity
	}{
		{"of 2017", devices.FactorPlace{Code: "a34004", Field: "Rtd"}, hj212.Quantity{ZH: "PM2.5", EN: "PM2.5", Unit: "ug/m3"}},
		{"of 2005", devices.FactorPlace{Code: "011", Field: "Avg"}, hj212.Quantity{ZH: "COD", EN: "COD", Unit: "mg/L", Digits: 1}},
		{"a total", devices.FactorPlace{Code: "w01018", Field: "Cou"}, hj212.Quantity{ZH: "COD", EN: "COD", Digits: 2}},
		{"in capitals", devices.FactorPlace{Code: "Leq", Field: "Rtd"}, hj212.Quantity{ZH: "等效声级", EN: "Equivalent sound level", Unit: "dB(A)", Digits: 1}},
		{"unknown", devices.FactorPlace{Code: "x9", Field: "Rtd"}, hj212.Quantity{ZH: "x9", EN: "x9", Digits: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, hj212.QuantityAt(tt.place)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
