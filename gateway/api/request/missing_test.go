package request

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestAForgottenNumberIsNotNought(t *testing.T) {
	tests := []struct {
		name, body string
		into       any
		want       []string
	}{
		{"limit", `{"id":"l","point":"o.p","level":"H"}`, new(devices.Limit), []string{"value"}},
		{"limit of null", `{"value":null}`, new(devices.Limit), []string{"value"}},
		{"limit of 0", `{"value":0}`, new(devices.Limit), nil},
		{"register", `{"register":{"table":"holding","type":"int16"}}`, new(devices.Binding), []string{"register.address"}},
		{"register 0", `{"register":{"address":0}}`, new(devices.Binding), nil},
		{"no register", `{"topic":{"path":"v"}}`, new(devices.Binding), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var fields []string
			for _, p := range devices.AllProblems(decodeStrictly([]byte(tt.body), tt.into)) {
				if p.Code == "missing" && p.Field != "point" {
					fields = append(fields, p.Field)
				}
			}
			if diff := cmp.Diff(tt.want, fields); diff != "" {
				t.Error(diff)
			}
		})
	}
}
