package intake

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/timeseries"
)

// logStub keeps what is appended and answers each with err.
type logStub struct {
	got []devices.Delivery
	err error
}

func (l *logStub) Append(d devices.Delivery, done func(error)) {
	l.got = append(l.got, d)
	done(l.err)
}

var noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

func ms(n int) time.Time { return noon.Add(time.Duration(n) * time.Millisecond) }

type road struct {
	*Pipeline
	log       *logStub
	warned    []string
	refreshed []devices.Reading
}

func newRoad() *road {
	r := &road{log: &logStub{}}
	low, high := 0.0, 100.0
	r.Pipeline = New(Config{
		Tolerance: 5 * time.Minute,
		Point:     func(string) *devices.Point { return &devices.Point{Min: &low, Max: &high} },
		Warn: func(device string, _ time.Time, _ int64, p *devices.Problem) {
			r.warned = append(r.warned, device+" "+p.Code)
		},
		Refresh: func(rs []devices.Reading) { r.refreshed = append(r.refreshed, rs...) },
	})
	r.Open(r.log)
	return r
}

func TestPipelineSettlesTimesAndQuality(t *testing.T) {
	type in struct {
		at       time.Time
		value    float64
		stamped  bool
		repeat   bool
		received time.Time
	}
	type out struct {
		At      time.Time
		Quality devices.Quality
		Claimed time.Time
	}
	tests := []struct {
		name      string
		in        []in
		want      []out
		refreshed int
		warned    int
	}{
		{name: "device time is kept to the millisecond", in: []in{{at: ms(3).Add(400 * time.Microsecond), received: ms(9)}}, want: []out{{At: ms(3)}}},
		{
			name: "receipt times of one point never meet",
			in:   []in{{at: ms(5), stamped: true, received: ms(5)}, {at: ms(5), stamped: true, received: ms(5)}, {at: ms(4), stamped: true, received: ms(4)}},
			want: []out{{At: ms(5)}, {At: ms(6)}, {At: ms(7)}},
		},
		{
			name: "late device time stays what it was",
			in:   []in{{at: ms(50), received: ms(50)}, {at: ms(20), received: ms(60)}},
			want: []out{{At: ms(50)}, {At: ms(20)}},
		},
		{
			name:   "a clock far ahead is kept at its receipt and advances nothing",
			in:     []in{{at: noon.Add(time.Hour), received: ms(10)}, {at: ms(10), stamped: true, received: ms(10)}},
			want:   []out{{At: ms(10), Quality: devices.BadClock, Claimed: noon.Add(time.Hour)}, {At: ms(11)}},
			warned: 1,
		},
		{
			name: "readings of a wrong clock that come at once cover neither each other nor a good one",
			in: []in{
				{at: ms(10), received: ms(10)},
				{at: noon.Add(time.Hour), received: ms(10)},
				{at: noon.Add(2 * time.Hour), received: ms(10)},
				{at: noon.Add(3 * time.Hour), received: ms(9)},
			},
			want: []out{
				{At: ms(10)},
				{At: ms(11), Quality: devices.BadClock, Claimed: noon.Add(time.Hour)},
				{At: ms(12), Quality: devices.BadClock, Claimed: noon.Add(2 * time.Hour)},
				{At: ms(13), Quality: devices.BadClock, Claimed: noon.Add(3 * time.Hour)},
			},
			warned: 3,
		},
		{
			name: "within tolerance is believed",
			in:   []in{{at: noon.Add(4 * time.Minute), received: noon}},
			want: []out{{At: noon.Add(4 * time.Minute)}},
		},
		{
			name:      "a retained value without time only refreshes",
			in:        []in{{at: ms(1), stamped: true, repeat: true, received: ms(1)}},
			refreshed: 1,
		},
		{
			name:      "a retained value with its own time counts once",
			in:        []in{{at: ms(1), repeat: true, received: ms(8)}, {at: ms(1), repeat: true, received: ms(9)}, {at: ms(2), repeat: true, received: ms(10)}},
			want:      []out{{At: ms(1)}, {At: ms(2)}},
			refreshed: 1,
		},
		{name: "beyond the range is marked", in: []in{{at: ms(1), value: 101, received: ms(1)}}, want: []out{{At: ms(1), Quality: devices.UncertainRange}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRoad()
			for _, x := range tt.in {
				r.Accept(devices.Delivery{
					Origin: devices.Origin{Device: "d"}, Received: x.received,
					Readings: []devices.Reading{{Point: "o.p", Value: x.value, At: x.at, Stamped: x.stamped, Repeat: x.repeat}},
				}, func(error) {})
			}
			var got []out
			for _, d := range r.log.got {
				for _, rd := range d.Readings {
					got = append(got, out{rd.At, rd.Quality, rd.Claimed})
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if len(r.refreshed) != tt.refreshed || len(r.warned) != tt.warned {
				t.Errorf("refreshed %d warned %d, want %d and %d", len(r.refreshed), len(r.warned), tt.refreshed, tt.warned)
			}
			if len(r.log.got) != len(tt.in) {
				t.Errorf("%d deliveries went through the log's queue, want all %d", len(r.log.got), len(tt.in))
			}
		})
	}
}

func TestPipelineRefusesWhatItCannotRecord(t *testing.T) {
	t.Run("closed", func(t *testing.T) {
		r := newRoad()
		r.Open(nil)
		var got error
		r.Accept(devices.Delivery{}, func(err error) { got = err })
		if !errors.Is(got, devices.ErrUnavailable) {
			t.Errorf("done(%v), want unavailable", got)
		}
	})
	t.Run("storage error", func(t *testing.T) {
		r := newRoad()
		r.log.err = devices.ErrUnavailable
		var got error
		r.Accept(devices.Delivery{}, func(err error) { got = err })
		if !errors.Is(got, devices.ErrUnavailable) {
			t.Errorf("done(%v), want unavailable", got)
		}
	})
}

func TestDurationsAreSpoken(t *testing.T) {
	tests := []struct {
		d    time.Duration
		want [2]string
	}{
		{400 * time.Second, [2]string{"6 分钟 40 秒", "6 min 40 s"}},
		{time.Hour + 300*time.Millisecond, [2]string{"1 小时", "1 h"}},
		{400 * 24 * time.Hour, [2]string{"400 天", "400 d"}},
		{-time.Second, [2]string{"-1 秒", "-1 s"}},
	}
	for _, tt := range tests {
		if zh, en := spoken(tt.d); [2]string{zh, en} != tt.want {
			t.Errorf("%s is spoken %q, %q", tt.d, zh, en)
		}
	}
}

func TestPipelineTakesAgainWhatDidNotReachTheDisk(t *testing.T) {
	r := newRoad()
	retained := func() devices.Delivery {
		return devices.Delivery{Received: ms(9), Readings: []devices.Reading{{Point: "o.p", Value: 7, At: ms(1), Repeat: true}}}
	}
	r.log.err = devices.ErrUnavailable
	r.Accept(retained(), func(error) {})
	r.log.err = nil
	r.Accept(retained(), func(error) {})
	r.Accept(retained(), func(error) {})
	var kept []int
	for _, d := range r.log.got {
		kept = append(kept, len(d.Readings))
	}
	if diff := cmp.Diff([]int{1, 1, 0}, kept); diff != "" {
		t.Errorf("readings that went to the log, the first of which failed: %s", diff)
	}
}

func TestPipelineKeepsARetainedValueOfAWrongClockOnce(t *testing.T) {
	r := newRoad()
	for range 3 {
		r.Accept(devices.Delivery{Received: ms(9), Readings: []devices.Reading{{Point: "o.p", Value: 7, At: noon.Add(time.Hour), Repeat: true}}}, func(error) {})
	}
	if kept := len(r.log.got[0].Readings) + len(r.log.got[1].Readings) + len(r.log.got[2].Readings); kept != 1 {
		t.Errorf("kept %d times", kept)
	}
	for _, shown := range r.refreshed {
		if shown.Quality != devices.BadClock || !shown.At.Equal(ms(9)) {
			t.Errorf("shown as %+v", shown)
		}
	}
}

func TestPipelineGoesOnFromWhatTheDiskHolds(t *testing.T) {
	r := newRoad()
	r.Prime("o.p", ms(50))
	r.Prime("o.p", ms(20))
	r.Accept(devices.Delivery{Received: ms(10), Readings: []devices.Reading{
		{Point: "o.p", At: ms(10), Stamped: true}, {Point: "o.p", At: ms(50), Repeat: true}, {Point: "o.q", At: ms(10), Stamped: true},
	}}, func(error) {})
	var got []time.Time
	for _, rd := range r.log.got[0].Readings {
		got = append(got, rd.At)
	}
	if diff := cmp.Diff([]time.Time{ms(51), ms(10)}, got); diff != "" {
		t.Error(diff)
	}
}

// recs is a log in memory.
type recs []timeseries.Record

func (l recs) Read(after uint64, most int) ([]timeseries.Record, error) {
	rest := l[after:]
	return rest[:min(most, len(rest))], nil
}

// TestPipelineGoesOnFromTheTimesItGave begins anew before the times of receipt are
// together with the clock again.
func TestPipelineGoesOnFromTheTimesItGave(t *testing.T) {
	own := func(n int, point string) devices.Reading { return devices.Reading{Point: point, At: ms(n)} }
	given := func(n int, point string) devices.Reading {
		return devices.Reading{Point: point, At: ms(n), Stamped: true}
	}
	wrong := devices.Reading{Point: "a", At: ms(90), Quality: devices.BadClock}
	tests := []struct {
		name string
		log  [][]devices.Reading
		now  time.Time
		want time.Time // of a reading received now
	}{
		{name: "a first start", now: ms(7), want: ms(7)},
		{name: "the clock stands behind what was given", log: [][]devices.Reading{{given(50, "a")}, {given(60, "b")}}, now: ms(10), want: ms(60)},
		{name: "it stands ahead", log: [][]devices.Reading{{given(50, "a")}}, now: ms(70), want: ms(70)},
		{name: "times of devices lead nothing", log: [][]devices.Reading{{own(60, "a")}, {given(50, "b")}}, now: ms(10), want: ms(50)},
		{name: "nor does what was put behind one of them", log: [][]devices.Reading{{given(50, "b")}, {own(60, "a"), given(61, "a")}}, now: ms(10), want: ms(50)},
		{name: "nor a clock that was wrong", log: [][]devices.Reading{{given(50, "a")}, {wrong}}, now: ms(10), want: ms(50)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var log recs
			for i, rs := range tt.log {
				log = append(log, timeseries.Record{Seq: uint64(i) + 1, Delivery: devices.Delivery{Received: ms(i), Readings: rs}})
			}
			r := newRoad()
			heard, stamp, err := r.TakeUp(log, uint64(len(log)))
			if err != nil || len(log) > 0 && !heard.Equal(ms(len(log)-1)) {
				t.Errorf("heard %v, %v", heard, err)
			}
			r.GoOn(stamp, tt.now)
			r.Accept(devices.Delivery{Received: tt.now, Readings: []devices.Reading{{Point: "o.fresh", At: tt.now, Stamped: true}}}, func(error) {})
			if diff := cmp.Diff([]time.Time{tt.want}, []time.Time{r.log.got[0].Readings[0].At}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
