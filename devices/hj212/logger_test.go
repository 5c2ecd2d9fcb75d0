package hj212

import (
	"math"
	"testing"
	"time"
	"unicode/utf8"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// framed puts a segment into a frame as a logger would.
func framed(segment string) string {
	return string(wire.AppendFrame(nil, []byte(segment), wire.CRC([]byte(segment))))
}

// FuzzReadings takes readings from any data area: they are finite and have a
// time, and what is said of the others can be shown.
func FuzzReadings(f *testing.F) {
	f.Add("DataTime=20240101000000;w01018-Rtd=12.50,w01018-Flag=N", "2011")
	f.Add("DataTime=20240101000000;011-SampleTime=20240101000000,011-Rtd=1e308,011-Flag=T;i-Info=//a;b//", "2061")
	f.Add("=;,-=;a-=;-b=1;w01018-Rtd=NaN;\xff-Rtd=\xfe", "2031")
	client := Client{Device: devices.Device{ID: "d", Password: "p", HJ212: &devices.HJ212Settings{MN: "M"}}}
	for kind := range map[string]bool{devices.KindRealtime: true, devices.KindHour: true, devices.KindDay: true} {
		for _, code := range []string{"w01018", "a"} {
			id := "o." + code + kind
			client.Bounds = append(client.Bounds, devices.Bound{Point: devices.Point{ID: id}, Binding: devices.Binding{ID: id, Factor: &devices.FactorPlace{Code: code, Kind: kind}, Scale: 2}})
		}
	}
	f.Fuzz(func(t *testing.T, area, cn string) {
		l, err := newLogger(&client)
		if err != nil {
			t.Fatal(err)
		}
		d := wire.Decoder{Tolerant: true}
		_, _ = d.Write([]byte(framed("ST=32;CN=" + cn + ";PW=p;MN=M;CP=&&" + area + "&&"))) // it never fails
		frame, ok := d.Next()
		if !ok || frame.Packet == nil {
			return
		}
		out := l.open(frame.Packet, time.Now())
		for _, r := range out.readings {
			if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || r.At.IsZero() || len(r.Mark) > 8 || !utf8.ValidString(r.Mark) {
				t.Fatalf("reading %+v", r)
			}
		}
		if p := out.problem; p != nil && (p.ZH == "" || p.EN == "" || len(p.Field) > 64+2 || !utf8.ValidString(p.Field+p.ZH+p.EN)) {
			t.Fatalf("problem %+v", out.problem)
		}
	})
}
