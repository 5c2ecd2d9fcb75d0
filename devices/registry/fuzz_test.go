package registry_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices/registry"
)

// FuzzThing decodes anything as a thing of every kind: Check never panics, and
// what it lets pass is copied, and so stored, without loss.
func FuzzThing(f *testing.F) {
	for _, seed := range []string{
		`{"id":"a","name":"n","uscc":"91350100M000100Y43","region_code":"330106"}`,
		`{"id":"a","site":"s","name":"n","kind":"dust","lon":1,"lat":2,"entities":[{"entity":"e","role":"owner"}]}`,
		`{"id":"a.b","name":"n","factor":"f","unit":"u","min":0,"max":1,"digits":2}`,
		`{"id":"a","site":"s","name":"n","driver":"modbus","endpoint":"modbus://h:502","modbus":{"unit":1,"gap":3},"password":"p","period":"1s"}`,
		`{"id":"a","point":"o.p","device":"d","from":"2026-07-01T00:00:00+08:00","to":"2026-07-02T00:00:00Z","register":{"table":"input","address":7,"type":"bit","bit":3}}`,
		`{"id":"a","site":"s","name":"n","url":"rtsp://h/1","outlets":["o"],"transport":"udp"}`,
		`{"id":"a","point":"o.p","level":"HH","value":1e300,"averaging":"instant","on_delay":"1m","exclude_marks":["M"],"valid_from":"2026-07-01T00:00:00Z"}`,
		`{"id":null,"modbus":null,"topic":{"topic":"t","path":"a.b"},"version":9}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, kind := range registry.Kinds() {
			thing := registry.New(kind)
			if json.Unmarshal(text, thing) != nil || thing.Check() != nil {
				continue
			}
			twin, err := registry.Clone(thing)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			again, err := registry.Clone(twin)
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			if diff := cmp.Diff(twin, again); diff != "" {
				t.Errorf("%s is not what it was:\n%s", kind, diff)
			}
			if twin.Key() != thing.Key() || twin.Check() != nil {
				t.Errorf("%s: the copy is another thing: %v", kind, twin)
			}
		}
	})
}
