package spool

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/timeseries"
)

// TestLogAgainstModel drives the log with random acts and compares what it
// gives with a slice of records.
func TestLogAgainstModel(t *testing.T) {
	cfg := Config{Followers: []string{"history", "judge"}}
	rapid.Check(t, func(rt *rapid.T) {
		fs := vfs.NewMem()
		r := start(t, fs, cfg)
		defer func() { r.close() }()
		var all []timeseries.Record
		cursors := map[string]uint64{}
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				var ds []devices.Delivery
				for range rapid.IntRange(1, 40).Draw(rt, "count") {
					d := delivery(n)
					d.Received = base.Add(time.Duration(n) * time.Duration(rapid.IntRange(1, 2000).Draw(rt, "ms")) * time.Millisecond)
					n++
					ds = append(ds, d)
					normalise(&d)
					all = append(all, timeseries.Record{Seq: uint64(len(all) + 1), Delivery: d})
				}
				if err := r.put(ds...); err != nil {
					rt.Fatal(err)
				}
			},
			"read": func(rt *rapid.T) {
				after := rapid.Uint64Range(0, uint64(len(all)+1)).Draw(rt, "after")
				most := rapid.IntRange(1, 100).Draw(rt, "most")
				got, err := r.Read(after, most)
				if err != nil {
					rt.Fatal(err)
				}
				from := min(max(after, r.First()-1), uint64(len(all)))
				want := all[from:]
				if len(got) > len(want) || len(got) > most || (len(got) == 0 && len(want) > 0) {
					rt.Fatalf("%d records after %d, at most %d of %d", len(got), after, most, len(want))
				}
				if len(got) > 0 && !reflect.DeepEqual(want[:len(got)], got) {
					rt.Fatal(cmp.Diff(want[:len(got)], got))
				}
			},
			"advance": func(rt *rapid.T) {
				name := rapid.SampledFrom(cfg.Followers).Draw(rt, "follower")
				seq := rapid.Uint64Range(0, uint64(len(all))).Draw(rt, "seq")
				if err := r.Advance(name, seq); err != nil {
					rt.Fatal(err)
				}
				cursors[name] = max(cursors[name], seq)
			},
			"trim": func(rt *rapid.T) {
				if err := r.trim(true); err != nil {
					rt.Fatal(err)
				}
			},
			"reopen": func(*rapid.T) {
				r.close()
				r = start(t, fs, cfg)
			},
			"": func(rt *rapid.T) {
				if d := r.Durable(); d != uint64(len(all)) {
					rt.Fatalf("durable %d of %d", d, len(all))
				}
				least := min(cursors["history"], cursors["judge"])
				if f := r.First(); f > least+1 {
					rt.Fatalf("record %d is gone, the least cursor is %d", f-1, least)
				}
				for name, want := range cursors {
					if got := r.Cursor(name); got != want {
						rt.Fatalf("cursor of %s is %d, want %d", name, got, want)
					}
				}
			},
		})
	})
}

func TestRecordRoundTrip(t *testing.T) {
	text := rapid.StringN(0, 20, 200)
	at := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(-1e15, 1e15).Draw(t, "ms")).UTC()
	})
	reading := rapid.Custom(func(t *rapid.T) devices.Reading {
		r := devices.Reading{
			Site: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "site"), Point: text.Draw(t, "point"),
			Value: rapid.Float64().Draw(t, "value"), At: at.Draw(t, "at"), Mark: text.Draw(t, "mark"),
			Quality: devices.Quality(rapid.Byte().Draw(t, "quality")),
			Stamped: rapid.Bool().Draw(t, "stamped"), Repeat: rapid.Bool().Draw(t, "repeat"),
		}
		if rapid.Bool().Draw(t, "claims") {
			r.Claimed = at.Draw(t, "claimed")
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		d := devices.Delivery{
			Origin:   devices.Origin{Device: text.Draw(t, "device"), ID: text.Draw(t, "id"), Hash: rapid.Uint64().Draw(t, "hash"), Resent: rapid.Bool().Draw(t, "resent")},
			Received: time.Unix(0, rapid.Int64().Draw(t, "received")).UTC(),
			Readings: rapid.SliceOfN(reading, 0, 5).Draw(t, "readings"),
		}
		if rapid.Bool().Draw(t, "letter") {
			d.Letter = &devices.DeadLetter{Topic: text.Draw(t, "topic"), Payload: rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "payload")}
			if rapid.Bool().Draw(t, "problem") {
				d.Letter.Problem = &devices.Problem{Kind: rapid.SampledFrom(kinds[:]).Draw(t, "kind"), Code: text.Draw(t, "code"), ZH: text.Draw(t, "zh")}
			}
		}
		if len(d.Readings) == 0 {
			d.Readings = nil
		}
		normalise(&d)
		got, err := parseRecord(appendRecord(nil, &d)[4:])
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(d, got) {
			t.Fatalf("wrote %+v\nread  %+v", d, got)
		}
	})
}

func FuzzReadGroup(f *testing.F) {
	g := make([]byte, headSize)
	for n := range 3 {
		d := delivery(n)
		normalise(&d)
		g = appendRecord(g, &d)
	}
	d := devices.Delivery{Received: base, Letter: &devices.DeadLetter{Topic: "t", Payload: []byte("p"), Problem: devices.Invalid("a", "b", "c", "d")}}
	g = appendRecord(g, &d)
	head{count: 4}.put(g)
	f.Add(g)
	f.Add(g[:len(g)-5])
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, value []byte) {
		recs, _, err := readGroup(nil, 1, value, 1, 10)
		if err == nil && len(recs) > 10 {
			t.Fatal("more records than asked for")
		}
		for _, r := range recs {
			_ = fmt.Sprint(r)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	b.Chdir(b.TempDir())
	r := start(b, vfs.Default, Config{})
	defer r.close()
	d := delivery(1)
	d.Readings = d.Readings[:1]
	window := make(chan struct{}, 400)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		window <- struct{}{}
		d := d
		d.Origin.ID = "7"
		d.Readings = append([]devices.Reading(nil), d.Readings...)
		r.Append(d, func(error) { <-window })
	}
}
