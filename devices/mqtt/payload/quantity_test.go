package payload_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

func TestGuessQuantity(t *testing.T) {
	tests := []struct {
		name, says, unit string
		want             payload.Quantity
	}{
		{"Tasmota", "AM2301.Temperature", "", payload.Quantity{Factor: "a01001", Unit: "℃", Digits: 1}},
		{"SenML", "urn:dev:ow:10e2073a01080063:temperature", "Cel", payload.Quantity{Factor: "a01001", Unit: "℃", Digits: 1}},
		{"several words", "wind_speed", "", payload.Quantity{Factor: "a01007", Unit: "m/s", Digits: 1}},
		{"fine dust", "sensor.pm2_5 pm25", "µg/m³", payload.Quantity{Factor: "a34004", Unit: "ug/m3", Digits: 0}},
		{"stated unit goes first", "ENERGY.Power", "kW", payload.Quantity{Factor: "power", Unit: "kW", Digits: 2}},
		{"by unit", "urn:x:a", "V", payload.Quantity{Factor: "voltage", Unit: "V", Digits: 1}},
		{"unknown word", "tank.foam", "", payload.Quantity{Factor: "foam", Digits: 2}},
		{"no word", "传感器/7", "", payload.Quantity{Factor: "value", Digits: 2}},
		{"nothing", "", "", payload.Quantity{Factor: "value", Digits: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := payload.GuessQuantity(tt.says, tt.unit)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			point := devices.Point{ID: "a.b", Name: "n", Factor: got.Factor, Unit: got.Unit, Digits: got.Digits}
			if err := point.Check(); err != nil {
				t.Error(err)
			}
		})
	}
}
