package registry_test

import (
	"fmt"
	"testing"

	"offsite/devices"
	"offsite/devices/registry"
)

// BenchmarkImport registers a plant of 1,000 points, each with its binding, in
// one edit; BenchmarkEdit changes one thing in it.
func BenchmarkImport(b *testing.B) {
	for b.Loop() {
		r := open(b)
		plant(b, r)
	}
}

func BenchmarkEdit(b *testing.B) {
	r := open(b)
	plant(b, r)
	version := int64(0)
	for b.Loop() {
		version++
		if err := r.Update(b.Context(), func(e *registry.Edit) error { return e.Replace(site("north"), version) }); err != nil {
			b.Fatal(err)
		}
	}
}

func plant(b *testing.B, r *registry.Registry) {
	b.Helper()
	things := []devices.Thing{site("north"), plc("plc", "north")}
	for i := range 50 {
		things = append(things, outlet(fmt.Sprintf("o%d", i), "north"))
		for j := range 20 {
			id := fmt.Sprintf("o%d.p%d", i, j)
			things = append(things, point(id), bind("", id, "plc", word(uint16(i*20+j), "int16")))
		}
	}
	create(b, r, things...)
}
