package storetest

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/timeseries"
)

var cases = []struct {
	name string
	run  func(h *harness)
}{
	{"raw range", rawRange},
	{"every value comes back", everyValue},
	{"windows", windowsOf},
	{"days are Beijing's", beijingDays},
	{"windows cut by the span", cutWindows},
	{"bad values are kept and not averaged", badQuality},
	{"last value", lastValue},
	{"late data", lateData},
	{"the last write wins", lastWriteWins},
	{"a correction takes the newest value's trust", distrusted},
	{"exact times", exactTimes},
	{"retention", retention},
	{"nothing there", nothingThere},
	{"what no store can hold", refused},
	{"records written again", writtenAgain},
	{"names", names},
	{"random writes against a model", model},
}

func rawRange(h *harness) {
	var want []timeseries.Sample
	for i := range 10 {
		at := noon.Add(time.Duration(i) * 20 * time.Minute) // over three hours and a bit
		h.write(good(at, float64(i)/4))
		want = append(want, sample(at, float64(i)/4))
	}
	h.write(reading(timeseries.Series{Site: "site-1", Point: "stack.nox"}, noon, 99, 0))
	h.always(func(t *testing.T, s timeseries.Store) {
		end := noon.Add(10 * time.Hour)
		wantRange(t, s, key, noon, end, 0, want...)
		wantRange(t, s, key, noon, end, 4, want[:4]...)
		wantRange(t, s, key, want[3].At, want[7].At, 0, want[3:7]...)
		wantRange(t, s, key, want[3].At.Add(time.Millisecond), want[7].At.Add(time.Millisecond), 0, want[4:8]...)
		wantRange(t, s, key, time.Unix(0, 0), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), 0, want...)
		wantRange(t, s, key, end, noon, 0)
	})
}

func everyValue(h *harness) {
	var want []timeseries.Sample
	for i, v := range values {
		at := noon.Add(time.Duration(i*i) * 7 * time.Millisecond)
		h.write(good(at, v))
		want = append(want, sample(at, v))
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(time.Hour), 0, want...)
	})
}

func windowsOf(h *harness) {
	for i, v := range []float64{4, 1, 7, 3} {
		h.write(good(noon.Add(time.Duration(i)*15*time.Minute), v))
	}
	h.write(good(noon.Add(3*time.Hour), 5)) // two empty hours between
	h.always(func(t *testing.T, s timeseries.Store) {
		wantWindows(t, s, noon, noon.Add(24*time.Hour), time.Hour,
			timeseries.Window{Start: noon, Count: 4, Mean: 3.75, Min: 1, Max: 7, First: 4, Last: 3},
			flat(noon.Add(3*time.Hour), 1, 5))
		wantWindows(t, s, noon, noon.Add(time.Hour), 30*time.Minute,
			timeseries.Window{Start: noon, Count: 2, Mean: 2.5, Min: 1, Max: 4, First: 4, Last: 1},
			timeseries.Window{Start: noon.Add(30 * time.Minute), Count: 2, Mean: 5, Min: 3, Max: 7, First: 7, Last: 3})
		if _, err := s.Windows(t.Context(), key, noon, noon.Add(time.Hour), 0); !errors.Is(err, devices.ErrInvalid) {
			t.Errorf("a window of no length: %v, want ErrInvalid", err)
		}
	})
}

func beijingDays(h *harness) {
	midnight := noon.Add(12 * time.Hour)
	h.write(good(midnight.Add(-time.Millisecond), 1), good(midnight, 2), good(midnight.Add(24*time.Hour-time.Millisecond), 2))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantWindows(t, s, noon.Add(-48*time.Hour), noon.Add(72*time.Hour), 24*time.Hour,
			flat(midnight.Add(-24*time.Hour), 1, 1), flat(midnight, 2, 2))
		wantWindows(t, s, noon.Add(-48*time.Hour), noon.Add(72*time.Hour), 7*24*time.Hour,
			timeseries.Window{Start: timeseries.Align(noon, 7*24*time.Hour), Count: 3, Mean: 5. / 3, Min: 1, Max: 2, First: 1, Last: 2})
	})
}

func cutWindows(h *harness) {
	for i := range 6 {
		h.write(good(noon.Add(time.Duration(i)*10*time.Minute), float64(i)))
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		wantWindows(t, s, noon.Add(20*time.Minute), noon.Add(40*time.Minute), time.Hour,
			timeseries.Window{Start: noon, Count: 2, Mean: 2.5, Min: 2, Max: 3, First: 2, Last: 3})
	})
}

func badQuality(h *harness) {
	bad, worse := noon.Add(time.Minute), noon.Add(2*time.Minute)
	h.write(
		good(noon, 10),
		reading(key, bad, 1000, devices.BadDevice),
		reading(key, worse, -1000, devices.BadClock),
		reading(key, noon.Add(3*time.Minute), 20, devices.UncertainRange),
		reading(key, noon.Add(time.Hour), 5, devices.BadDevice),
	)
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(30*time.Minute), 0,
			sample(noon, 10),
			timeseries.Sample{At: bad, Value: 1000, Quality: devices.BadDevice},
			timeseries.Sample{At: worse, Value: -1000, Quality: devices.BadClock},
			timeseries.Sample{At: noon.Add(3 * time.Minute), Value: 20, Quality: devices.UncertainRange})
		wantWindows(t, s, noon, noon.Add(3*time.Hour), time.Hour,
			timeseries.Window{Start: noon, Count: 2, Mean: 15, Min: 10, Max: 20, First: 10, Last: 20})
	})
}

func lastValue(h *harness) {
	h.write(good(noon, 1), good(noon.Add(time.Second), 2), reading(key, noon.Add(time.Hour), 9, devices.BadClock))
	h.always(func(t *testing.T, s timeseries.Store) { wantLast(t, s, sample(noon.Add(time.Second), 2)) })
	h.write(reading(key, noon.Add(2*time.Second), 3, devices.BadDevice))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantLast(t, s, timeseries.Sample{At: noon.Add(2 * time.Second), Value: 3, Quality: devices.BadDevice})
	})
	h.write(good(noon.Add(-time.Hour), 4))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantLast(t, s, timeseries.Sample{At: noon.Add(2 * time.Second), Value: 3, Quality: devices.BadDevice})
	})
}

func lateData(h *harness) {
	h.write(good(noon, 1), good(noon.Add(time.Minute), 2))
	h.flush()
	h.write(good(noon.Add(30*time.Second), 3), good(noon.Add(-72*time.Hour), 4), good(noon.Add(-72*time.Hour).Add(time.Minute), 5), good(noon.Add(2*time.Minute), 6))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon.Add(-96*time.Hour), noon.Add(time.Hour), 0,
			sample(noon.Add(-72*time.Hour), 4), sample(noon.Add(-72*time.Hour).Add(time.Minute), 5),
			sample(noon, 1), sample(noon.Add(30*time.Second), 3), sample(noon.Add(time.Minute), 2), sample(noon.Add(2*time.Minute), 6))
		wantLast(t, s, sample(noon.Add(2*time.Minute), 6))
	})
}

func lastWriteWins(h *harness) {
	later := noon.Add(time.Second)
	h.write(good(noon, 1), good(later, 1), good(noon, 2))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(time.Hour), 0, sample(noon, 2), sample(later, 1))
	})
	h.write(good(noon, 3))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(time.Hour), 0, sample(noon, 3), sample(later, 1))
		wantWindows(t, s, noon, noon.Add(time.Hour), time.Hour, timeseries.Window{Start: noon, Count: 2, Mean: 2, Min: 1, Max: 3, First: 3, Last: 1})
	})
	h.write(reading(key, later, 8, devices.BadDevice))
	h.write(good(later, 9))
	h.always(func(t *testing.T, s timeseries.Store) { wantLast(t, s, sample(later, 9)) })
}

func distrusted(h *harness) {
	h.write(good(noon, 1), good(noon.Add(time.Second), 2))
	h.always(func(t *testing.T, s timeseries.Store) { wantLast(t, s, sample(noon.Add(time.Second), 2)) })
	h.write(reading(key, noon.Add(time.Second), 2, devices.BadClock))
	h.always(func(t *testing.T, s timeseries.Store) { wantLast(t, s, sample(noon, 1)) })
	h.write(reading(key, noon, 1, devices.BadClock))
	h.always(func(t *testing.T, s timeseries.Store) { wantNoLast(t, s, key) })
}

func exactTimes(h *harness) {
	old := noon.Add(-48 * time.Hour)
	h.write(good(old, 1), good(old.Add(time.Millisecond), 2), good(noon, 3), reading(key, noon.Add(time.Hour), 4, devices.BadDevice))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantAt(t, s, []time.Time{noon.Add(time.Hour), old, noon.Add(time.Millisecond), old.Add(2 * time.Millisecond), noon, noon.Add(-time.Hour)},
			sample(old, 1), sample(noon, 3), timeseries.Sample{At: noon.Add(time.Hour), Value: 4, Quality: devices.BadDevice})
		wantAt(t, s, nil)
		got, err := s.At(t.Context(), timeseries.Series{Site: "site-1", Point: "stack.none"}, []time.Time{noon})
		if err != nil || len(got) != 0 {
			t.Errorf("At of no series = %v, %v", got, err)
		}
	})
}

func retention(h *harness) {
	midnight := noon.Add(-12 * time.Hour)
	h.write(good(midnight.Add(-48*time.Hour), 1), good(midnight.Add(-time.Millisecond), 2), good(midnight, 3))
	h.flush()
	h.write(good(midnight.Add(-time.Hour), 4), good(noon, 5))
	if err := h.store.Retain(h.t.Context(), noon.Add(time.Hour)); err != nil {
		h.t.Fatalf("Retain: %v", err)
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon.Add(-100*time.Hour), noon.Add(time.Hour), 0, sample(midnight, 3), sample(noon, 5))
		wantLast(t, s, sample(noon, 5))
	})
	if err := h.store.Retain(h.t.Context(), noon.Add(48*time.Hour)); err != nil {
		h.t.Fatalf("Retain: %v", err)
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon.Add(-100*time.Hour), noon.Add(time.Hour), 0)
		wantNoLast(t, s, key)
	})
	h.write(good(noon.Add(50*time.Hour), 6))
	h.always(func(t *testing.T, s timeseries.Store) { wantLast(t, s, sample(noon.Add(50*time.Hour), 6)) })
}

func nothingThere(h *harness) {
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(time.Hour), 0)
		wantWindows(t, s, noon, noon.Add(time.Hour), time.Minute)
		wantNoLast(t, s, key)
	})
	h.write(good(noon, 1))
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon.Add(time.Second), noon.Add(time.Hour), 0)
		wantWindows(t, s, noon.Add(time.Second), noon.Add(time.Hour), time.Minute)
		wantNoLast(t, s, timeseries.Series{Site: "site-2", Point: key.Point})
	})
}

func refused(h *harness) {
	w := h.write(
		good(noon, 1), good(noon, math.NaN()), good(noon.Add(1), math.Inf(1)), good(time.Date(1500, 1, 1, 0, 0, 0, 0, time.UTC), 2),
		reading(timeseries.Series{Site: "site-1", Point: "nodot"}, noon, 3, 0), good(noon.Add(time.Second), 4))
	var codes []string
	for _, r := range w.Refused {
		codes = append(codes, r.Reason.Code)
		if r.Reason.ZH == "" || r.Reason.EN == "" {
			h.t.Errorf("refusal %+v says nothing", r)
		}
	}
	if diff := cmp.Diff([]string{"not_finite", "not_finite", "time_out_of_range", "bad_point_id"}, codes); diff != "" {
		h.t.Error(diff)
	}
	h.write(devices.Reading{Site: key.Site, Point: key.Point, At: noon.Add(2 * time.Second), Value: 5})
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon.Add(-time.Hour), noon.Add(time.Hour), 0, sample(noon, 1), sample(noon.Add(time.Second), 4), sample(noon.Add(2*time.Second), 5))
	})
}

func writtenAgain(h *harness) {
	rs := []devices.Reading{good(noon, 1), good(noon.Add(time.Second), 2)}
	h.write(rs...)
	h.flush()
	h.seq -= 2
	h.write(rs...)
	w, err := h.store.Write(h.t.Context(), []timeseries.Record{{Seq: h.seq + 1, Delivery: devices.Delivery{Letter: &devices.DeadLetter{Topic: "t"}}}})
	if h.seq++; err != nil || len(w.Refused) != 0 {
		h.t.Errorf("a dead letter: %+v, %v", w, err)
	}
	if _, err := h.store.Write(h.t.Context(), nil); err != nil {
		h.t.Errorf("nothing to write: %v", err)
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		wantRange(t, s, key, noon, noon.Add(time.Hour), 0, sample(noon, 1), sample(noon.Add(time.Second), 2))
	})
}

func names(h *harness) {
	all := []timeseries.Series{
		{Site: "site-1", Point: "out.a"},
		{Site: "site-1", Point: "out-2.a"},
		{Site: "site-2", Point: "out.a"},
		{Site: `site, with=strange 'letters' \x "and" 场所`, Point: "out.a"},
		{Site: "s' OR '1'='1", Point: "out.a"},
	}
	for i, k := range all {
		h.write(reading(k, noon, float64(i), 0))
	}
	h.always(func(t *testing.T, s timeseries.Store) {
		for i, k := range all {
			wantRange(t, s, k, noon, noon.Add(time.Second), 0, sample(noon, float64(i)))
		}
		wantRange(t, s, timeseries.Series{Site: "x' OR '1'='1", Point: "out.a"}, noon, noon.Add(time.Second), 0)
	})
}

// model writes at random over five days, often to the same times, and compares
// every kind of query with a map.
func model(h *harness) {
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[int64]timeseries.Sample{}
	for round := range 6 {
		var rs []devices.Reading
		for range 300 {
			at := noon.Add(time.Duration(rng.IntN(2000)) * 3 * time.Minute)
			r := reading(key, at, math.Round(rng.NormFloat64()*1000)/100, devices.Good)
			if rng.IntN(10) == 0 {
				r.Quality = []devices.Quality{devices.UncertainRange, devices.BadClock, devices.BadDevice}[rng.IntN(3)]
			}
			want[at.UnixMilli()] = timeseries.Sample{At: at, Value: r.Value, Quality: r.Quality}
			rs = append(rs, r)
		}
		h.write(rs...)
		if round%2 == 0 {
			h.flush()
		}
	}
	var all []timeseries.Sample
	for _, s := range want {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b timeseries.Sample) int { return a.At.Compare(b.At) })
	h.always(func(t *testing.T, s timeseries.Store) { compare(t, s, rng, all) })
}

func compare(t *testing.T, s timeseries.Store, rng *rand.Rand, all []timeseries.Sample) {
	for range 10 {
		from := noon.Add(time.Duration(rng.IntN(100)) * time.Hour)
		to := from.Add(time.Duration(rng.IntN(50)) * time.Hour)
		var part []timeseries.Sample
		for _, v := range all {
			if !v.At.Before(from) && v.At.Before(to) {
				part = append(part, v)
			}
		}
		wantRange(t, s, key, from, to, 0, part...)
		every := []time.Duration{time.Minute, 7 * time.Minute, time.Hour, 24 * time.Hour}[rng.IntN(4)]
		wantWindows(t, s, from, to, every, windowsByHand(part, every)...)
		var at []time.Time
		for _, i := range rng.Perm(len(part))[:len(part)/3] {
			at = append(at, part[i].At, part[i].At.Add(time.Millisecond))
		}
		var there []timeseries.Sample
		for i := 0; i < len(at); i += 2 {
			n, _ := slices.BinarySearchFunc(all, at[i], func(s timeseries.Sample, t time.Time) int { return s.At.Compare(t) })
			there = append(there, all[n])
		}
		wantAt(t, s, at, there...)
	}
	for _, v := range slices.Backward(all) {
		if v.Quality != devices.BadClock {
			wantLast(t, s, v)
			break
		}
	}
}

func windowsByHand(samples []timeseries.Sample, every time.Duration) []timeseries.Window {
	var ws []timeseries.Window
	for _, s := range samples {
		if !s.Quality.Usable() {
			continue
		}
		start := timeseries.Align(s.At, every)
		if n := len(ws); n == 0 || !ws[n-1].Start.Equal(start) {
			ws = append(ws, timeseries.Window{Start: start, Min: s.Value, Max: s.Value, First: s.Value})
		}
		w := &ws[len(ws)-1]
		w.Mean += (s.Value - w.Mean) / float64(w.Count+1)
		w.Count++
		w.Min, w.Max, w.Last = min(w.Min, s.Value), max(w.Max, s.Value), s.Value
	}
	return ws
}
