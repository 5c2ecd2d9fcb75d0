package state_test

import (
	"testing"
)

// BenchmarkUpdate tells commits a second on the disk below TMPDIR, alone and
// from 64 callers that share groups.
func BenchmarkUpdate(b *testing.B) {
	for _, bb := range []struct {
		name    string
		callers int
	}{{"alone", 0}, {"shared", 64}} {
		b.Run(bb.name, func(b *testing.B) {
			db := open(b, b.TempDir())
			if bb.callers == 0 {
				for b.Loop() {
					if err := db.Update(b.Context(), put("x")); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.SetParallelism(bb.callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := db.Update(b.Context(), put("x")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
