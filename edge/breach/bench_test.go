package breach

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"offsite/devices"
)

func BenchmarkObserve(b *testing.B) {
	for _, n := range []int{0, 1, 4} {
		b.Run(fmt.Sprintf("limits=%d", n), func(b *testing.B) {
			e := openEngine(b, openDB(b))
			r := rules{}
			for i := range n {
				r[point] = append(r[point], limit(fmt.Sprintf("h-%d", i), "H", 100))
			}
			rec := record(1, reading(0, 50))
			b.ReportAllocs()
			for b.Loop() {
				rec.Seq++
				rec.Readings[0].At = rec.Readings[0].At.Add(time.Second)
				e.Observe(rec, r)
			}
		})
	}
}

func BenchmarkSave(b *testing.B) {
	e := openEngine(b, openDB(b))
	r := rules{}
	rec := record(0)
	for i := range 1000 {
		p := fmt.Sprintf("out.p%d", i)
		r[p] = []*devices.Limit{limit(fmt.Sprintf("h-%d", i), "H", 100)}
		rec.Readings = append(rec.Readings, reading(0, 50, func(r *devices.Reading) { r.Point = p }))
	}
	for b.Loop() {
		rec.Seq++
		for i := range rec.Readings {
			rec.Readings[i].At = rec.Readings[i].At.Add(time.Second)
		}
		e.Observe(rec, r)
		if err := e.db.Update(b.Context(), func(tx *sql.Tx) error { return e.Save(b.Context(), tx, rec.Seq, nil) }); err != nil {
			b.Fatal(err)
		}
		e.Saved()
	}
}
