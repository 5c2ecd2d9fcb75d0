package letters

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212/wire"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

func TestFramesOfADataLoggerAreReadAgain(t *testing.T) {
	db := yardtest.OpenDB(t, t.TempDir())
	r := yardtest.OpenRegistry(t, db)
	logger := &devices.Device{ID: "logger", Site: "plant", Name: "logger", Driver: devices.DriverHJ212, Password: "123456", HJ212: &devices.HJ212Settings{MN: "M1", ST: []string{"31"}}}
	yardtest.Register(t, r, append(yardtest.Yard(), logger,
		&devices.Point{ID: "stack.cod", Name: "COD", Factor: "w01018", Unit: "mg/L"},
		&devices.Binding{ID: "cod", Point: "stack.cod", Device: "logger", Factor: &devices.FactorPlace{Code: "w01018"}})...)
	var taken []devices.Delivery
	o, err := Open(t.Context(), db, Config{Registry: r, Accept: func(d devices.Delivery, done func(error)) {
		taken = append(taken, d)
		done(nil)
	}})
	if err != nil {
		t.Fatal(err)
	}
	segment := []byte("QN=20260301120000000;ST=32;CN=2011;PW=123456;MN=M1;Flag=5;CP=&&DataTime=20260301120000;w01018-Rtd=12.5,w01018-Flag=N&&")
	frame := wire.AppendFrame(nil, segment, wire.CRC(segment))
	frame = bytes.Replace(frame, []byte("PW=123456"), []byte("PW=[redacted]"), 1) // as it is buried
	bury(t, o, timeseries.Record{Seq: 3, Delivery: devices.Delivery{
		Origin: devices.Origin{Device: "logger"}, Received: yardtest.Noon,
		Letter: &devices.DeadLetter{Topic: "hj212/M1", Payload: frame, Problem: devices.Invalid("st", "foreign_st", "不允许", "not allowed")},
	}})
	got, err := o.Replay(t.Context(), Filter{})
	if err != nil || got.Understood != 0 || len(got.Failed) != 1 || got.Failed[0].Problem.Code != "foreign_st" {
		t.Fatalf("before it is mended: %+v, %v", got, err)
	}
	mended := *logger
	mended.HJ212 = &devices.HJ212Settings{MN: "M1"}
	yardtest.Register(t, r, &mended)
	got, err = o.Replay(t.Context(), Filter{})
	if err != nil || got.Understood != 1 || got.Readings != 1 || len(taken) != 1 {
		t.Fatalf("after it: %+v, %v", got, err)
	}
	want := []devices.Reading{{Site: "plant", Point: "stack.cod", Value: 12.5, At: yardtest.Noon, Mark: "N"}}
	if diff := cmp.Diff(want, taken[0].Readings); diff != "" || taken[0].Origin.ID != "replay-3" {
		t.Errorf("%s, origin %+v", diff, taken[0].Origin)
	}
}
