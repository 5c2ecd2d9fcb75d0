package request

import (
	"encoding/json"
	"testing"

	"offsite/devices"
)

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{"id":"x","modbus":{"unit":1},"period":"5s"}`, `{"id":null,"mqtt":{"qos":1}}`, `{"unknown":[{}]}`,
		`[`, `{"period":5}`, `{"modbus":{"unit":-1}}`, `{"id":"a","id":"b"}`, "{\"name\":\"\\ud800\"}", `{"password":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var d devices.Device
		err := decodeStrictly(body, &d)
		if err == nil {
			// What was taken can be written and taken again.
			text, err := json.Marshal(d)
			if err != nil {
				t.Fatalf("taken but not written: %v", err)
			}
			if err := decodeStrictly(text, new(devices.Device)); err != nil {
				t.Fatalf("%s was taken, %s was not: %v", body, text, err)
			}
			return
		}
		for _, p := range devices.AllProblems(err) {
			if p.Code == "internal" || p.ZH == "" || p.EN == "" {
				t.Errorf("%q: no clear problem: %v", body, err)
			}
		}
	})
}
