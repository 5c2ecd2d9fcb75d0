package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"offsite/devices"
	"offsite/timeseries"
	"offsite/timeseries/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type quiet struct{}

func (quiet) Infof(string, ...any)           {}
func (quiet) Errorf(string, ...any)          {}
func (quiet) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

func openDB(t testing.TB, fs vfs.FS) *pebble.DB {
	t.Helper()
	db, err := pebble.Open("readings", &pebble.Options{FS: fs, Logger: quiet{}})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func openStore(t testing.TB, db *pebble.DB, cfg Config) *Store {
	t.Helper()
	s, err := Open(db, []byte("h/"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// peer is a store on a file system in memory.
type peer struct {
	fs *vfs.MemFS
	db *pebble.DB
}

func (p *peer) Open(t *testing.T) timeseries.Store {
	p.db = openDB(t, p.fs)
	t.Cleanup(func() { p.db.Close() })
	return openStore(t, p.db, Config{})
}

func (p *peer) Reopen(t *testing.T, s timeseries.Store) timeseries.Store {
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.db.Close(); err != nil {
		t.Fatal(err)
	}
	p.db = openDB(t, p.fs)
	return openStore(t, p.db, Config{})
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Peer { return &peer{fs: vfs.NewMem()} })
}

var (
	noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)
	key  = timeseries.Series{Site: "site-1", Point: "stack.so2"}
)

func record(seq uint64, at time.Time, v float64) timeseries.Record {
	return timeseries.Record{Seq: seq, Delivery: devices.Delivery{Readings: []devices.Reading{{Site: key.Site, Point: key.Point, At: at, Value: v}}}}
}

func write(t testing.TB, s *Store, recs ...timeseries.Record) timeseries.Written {
	t.Helper()
	w, err := s.Write(context.Background(), recs)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func count(t testing.TB, s *Store) int {
	t.Helper()
	got, err := s.Range(context.Background(), key, noon.Add(-time.Hour), noon.Add(10000*time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	return len(got)
}

func TestHeadIsFlushedBySizeAndAge(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	s := openStore(t, db, Config{Samples: 100})
	for i := range uint64(300) {
		w := write(t, s, record(i+1, noon.Add(time.Duration(i)*time.Second), 1))
		if lag := i + 1 - w.Durable; lag > 100 {
			t.Fatalf("%d records only in memory", lag)
		}
	}
	if d := s.Durable(); d == 0 {
		t.Error("never flushed")
	}
	s = openStore(t, db, Config{Every: time.Nanosecond})
	write(t, s, record(400, noon, 1))
	if w := write(t, s, record(401, noon, 1)); w.Durable != 401 {
		t.Errorf("durable %d, want 401", w.Durable)
	}
}

// TestPowerCutLeavesWholeFlushes cuts the power between writes and flushes:
// what Durable says is there, and the rest comes again from the log.
func TestPowerCutLeavesWholeFlushes(t *testing.T) {
	fs := vfs.NewCrashableMem()
	db := openDB(t, fs)
	s := openStore(t, db, Config{})
	for i := range uint64(50) {
		write(t, s, record(i+1, noon.Add(time.Duration(i)*time.Minute), float64(i)))
		if i%7 == 0 {
			if _, err := s.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		after := openDB(t, fs.CrashClone(vfs.CrashCloneCfg{}))
		again := openStore(t, after, Config{})
		if d := again.Durable(); d != s.Durable() {
			t.Fatalf("durable %d after the cut, %d before", d, s.Durable())
		}
		if n := count(t, again); uint64(n) != again.Durable() {
			t.Fatalf("%d samples, durable %d", n, again.Durable())
		}
		after.Close()
	}
	db.Close()
}

func TestDamagedChunk(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	s := openStore(t, db, Config{})
	write(t, s, record(1, noon, 1))
	if _, err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	hour, _ := split(noon.UnixMilli())
	chunk := s.chunkKey(nil, 0, hour)
	if err := db.Set(chunk, []byte{chunkVersion, 200, 1}, pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Range(t.Context(), key, noon, noon.Add(time.Hour), 0); !errors.Is(err, errCorrupt) || !errors.Is(err, devices.ErrUnavailable) {
		t.Errorf("Range = %v, want that the chunk is corrupt", err)
	}
	s = openStore(t, db, Config{})
	write(t, s, record(2, noon.Add(time.Second), 2))
	if _, err := s.Flush(t.Context()); err != nil {
		t.Fatalf("a damaged chunk stops the history: %v", err)
	}
	if n := count(t, s); n != 1 {
		t.Errorf("%d samples, want the new one", n)
	}
	aside := append([]byte(nil), chunk...)
	aside[len(s.prefix)] = kindCorrupt
	if _, closer, err := db.Get(aside); err != nil {
		t.Errorf("the damaged chunk is gone: %v", err)
	} else {
		closer.Close()
	}
}

func TestFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	full := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileWrite || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSync {
			return syscall.ENOSPC
		}
		return nil
	})}
	db := openDB(t, errorfs.Wrap(mem, &full))
	s := openStore(t, db, Config{})
	write(t, s, record(1, noon, 1))
	if _, err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	full.On()
	write(t, s, record(2, noon.Add(time.Second), 2))
	w, err := s.Flush(t.Context())
	if !errors.Is(err, devices.ErrUnavailable) || !errors.Is(err, syscall.ENOSPC) || w.Durable != 1 {
		t.Errorf("Flush = %+v, %v", w, err)
	}
	if n := count(t, s); n != 2 {
		t.Errorf("%d samples visible, want both", n)
	}
	_ = db.Close()
	full.Off()
	db = openDB(t, mem)
	defer db.Close()
	if s = openStore(t, db, Config{}); count(t, s) == 0 || s.Durable() == 0 {
		t.Error("what was durable is gone")
	}
}

// TestManyFlushesOfAnHour adds block after block to the same chunks, with late
// data between and restarts that forget the chunks' shapes.
func TestManyFlushesOfAnHour(t *testing.T) {
	db := openDB(t, vfs.NewMem())
	defer db.Close()
	s := openStore(t, db, Config{})
	seq := uint64(0)
	for i := range 500 {
		at := noon.Add(time.Duration(i) * 10 * time.Second)
		if i%90 == 89 {
			at = noon.Add(time.Duration(i)*5*time.Second + time.Millisecond)
		}
		seq++
		write(t, s, record(seq, at, float64(i)))
		if _, err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if i%70 == 69 {
			s = openStore(t, db, Config{})
		}
		if n := count(t, s); n != i+1 {
			t.Fatalf("%d samples after flush %d", n, i+1)
		}
	}
}

// BenchmarkDayOfHourMeans asks for what the console draws most.
func BenchmarkDayOfHourMeans(b *testing.B) {
	db := openDB(b, vfs.NewMem())
	defer db.Close()
	s := openStore(b, db, Config{})
	for i := range 86400 {
		write(b, s, record(uint64(i+1), noon.Add(time.Duration(i)*time.Second), math.Round(200+50*math.Sin(float64(i)/300)+float64(i%7))/10))
	}
	if _, err := s.Flush(context.Background()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		ws, err := s.Windows(context.Background(), key, noon, noon.Add(24*time.Hour), time.Hour)
		if err != nil || len(ws) != 24 {
			b.Fatal(len(ws), err)
		}
	}
}

func TestChunkRoundTrip(t *testing.T) {
	value := rapid.OneOf(
		rapid.Float64Range(-1e6, 1e6),
		rapid.Map(rapid.IntRange(-100000, 100000), func(n int) float64 { return float64(n) / 100 }),
		rapid.Map(rapid.IntRange(-100000, 100000), func(n int) float64 { return float64(n) * 0.1 }),
		rapid.Map(rapid.Float32Range(-1e30, 1e30), func(f float32) float64 { return float64(f) }),
		rapid.Just(math.MaxFloat64), rapid.Float64Range(-math.MaxFloat64, math.MaxFloat64),
	)
	block := func(rt *rapid.T, from int32) columns {
		var c columns
		gen := value
		if rapid.Bool().Draw(rt, "same kind") {
			gen = rapid.Just(value.Draw(rt, "value"))
		}
		step := rapid.Int32Range(1, 5000).Draw(rt, "step")
		for at := from; at < hourMilli && len(c.at) < 50; at += step {
			c.add(at, gen.Draw(rt, "v"), uint8(rapid.SampledFrom([]int{0, 0, 0, 64, 65, 255}).Draw(rt, "q")))
			if rapid.IntRange(0, 5).Draw(rt, "jitter") == 0 {
				step = rapid.Int32Range(1, 5000).Draw(rt, "step")
			}
		}
		return c
	}
	rapid.Check(t, func(rt *rapid.T) {
		var e encoder
		chunk := []byte{chunkVersion}
		var want columns
		from := rapid.Int32Range(0, 1000).Draw(rt, "from")
		for range rapid.IntRange(1, 3).Draw(rt, "blocks") {
			c := block(rt, from)
			chunk = e.appendBlock(chunk, &c)
			want.addAll(&c, 0, len(c.at))
			from = c.at[len(c.at)-1] + 1
		}
		var got columns
		if err := decodeChunk(&got, chunk); err != nil {
			rt.Fatal(err)
		}
		if len(got.at) != len(want.at) {
			rt.Fatalf("%d samples, want %d", len(got.at), len(want.at))
		}
		for i := range want.at {
			if got.at[i] != want.at[i] || got.v[i] != want.v[i] || got.quality(i) != want.quality(i) {
				rt.Fatalf("sample %d: %d %v %d, want %d %v %d", i, got.at[i], got.v[i], got.quality(i), want.at[i], want.v[i], want.quality(i))
			}
		}
		if s, err := chunkShape(chunk, 0); err != nil || s.last != want.at[len(want.at)-1] {
			rt.Fatalf("shape says %+v, %v", s, err)
		}
	})
}

func TestChunkSizes(t *testing.T) {
	tests := []struct {
		name  string
		value func(i int) float64
		most  float64 // bytes a reading
	}{
		{"constant", func(int) float64 { return 20.5 }, 0.02},
		{"one decimal, moving", func(i int) float64 { return math.Round(200+50*math.Sin(float64(i)/30)) / 10 }, 1.5},
		{"raw times 0.1", func(i int) float64 { return float64(1000+i%7) * 0.1 }, 1.5},
		{"float32 of an instrument", func(i int) float64 { return float64(float32(20 + math.Sin(float64(i)/100))) }, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c columns
			for i := range 3600 {
				c.add(int32(i*1000), tt.value(i), 0)
			}
			var e encoder
			if got := float64(len(e.appendBlock(nil, &c))) / 3600; got > tt.most {
				t.Errorf("%.2f bytes a reading, want at most %.2f", got, tt.most)
			}
		})
	}
}

func FuzzDecodeChunk(f *testing.F) {
	var e encoder
	for _, vs := range [][]float64{{1, 2, 3}, {0.1, 0.3, math.Pi}, {float64(float32(1.1)), 2}} {
		var c columns
		for i, v := range vs {
			c.add(int32(i*1000), v, uint8(i*32))
		}
		f.Add(e.appendBlock([]byte{chunkVersion}, &c))
	}
	f.Add([]byte{2})
	f.Fuzz(func(t *testing.T, chunk []byte) {
		var c columns
		if err := decodeChunk(&c, chunk); err != nil || len(c.at) == 0 {
			return
		}
		if len(c.v) != len(c.at) || (c.q != nil && len(c.q) != len(c.at)) {
			t.Fatalf("columns of %d, %d and %d", len(c.at), len(c.v), len(c.q))
		}
		for i := 1; i < len(c.at); i++ {
			if c.at[i] <= c.at[i-1] || c.at[i] >= hourMilli {
				t.Fatalf("time %d follows %d", c.at[i], c.at[i-1])
			}
		}
		for _, v := range c.v {
			if math.IsNaN(v) {
				return // stored by nobody, and not comparable
			}
		}
		var again columns
		if err := decodeChunk(&again, e.appendBlock([]byte{chunkVersion}, &c)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.v, again.v); diff != "" {
			t.Fatal(diff)
		}
	})
}
