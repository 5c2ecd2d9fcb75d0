package streams_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"offsite/streams"
)

// numbered publishes a frame of n bytes that are told by its number, in two units, and
// spoils what it has published.
func numbered(feed *streams.Feed, number uint64, n int, key bool, at time.Time) {
	data := told(number, n)
	feed.Publish(&streams.Frame{NALUs: [][]byte{data[:n/2], data[n/2:]}, Key: key, At: at})
	clear(data)
}

func told(number uint64, n int) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, number*0x9E3779B97F4A7C15), n/8)
}

// turn publishes groups of ten frames, one frame a tenth of a second.
func turn(feed *streams.Feed, from, count uint64, n int, began time.Time) {
	for i := from; i < from+count; i++ {
		numbered(feed, i, n, i%10 == 1, began.Add(time.Duration(i)*time.Second/10))
	}
}

// kept are frames by their numbers, which they had when they were given.
type kept map[uint64]*streams.Frame

func (k kept) add(frames []*streams.Frame) {
	for _, f := range frames {
		k[f.Seq] = f
	}
}

func (k kept) check(t *testing.T, n int) {
	t.Helper()
	if len(k) == 0 {
		t.Error("no frames")
	}
	for number, f := range k {
		if f.Seq != number || !bytes.Equal(bytes.Join(f.NALUs, nil), told(number, n)) {
			t.Errorf("frame %d is another picture now", number)
		}
	}
}

// Evidence may lie in a frame long after the ring has let it go.
func TestGivenFramesAreNotWrittenAgain(t *testing.T) {
	const n = 20 << 10
	began := time.Now()
	read := func(r *streams.Reader) []*streams.Frame {
		defer r.Close()
		f, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return []*streams.Frame{f}
	}
	tests := []struct {
		name string
		take func(*streams.Feed) []*streams.Frame
	}{
		{"key frame", func(f *streams.Feed) []*streams.Frame { return []*streams.Frame{f.Key()} }},
		{"group", func(f *streams.Feed) []*streams.Frame { return f.Group() }},
		{"ring", func(f *streams.Feed) []*streams.Frame { return f.Ring(began, began.Add(time.Hour)) }},
		{"key frames", func(f *streams.Feed) []*streams.Frame { return f.Keys(began, began.Add(time.Hour)) }},
		{"reader", func(f *streams.Feed) []*streams.Frame { return read(f.Subscribe()) }},
		{"follower", func(f *streams.Feed) []*streams.Frame { return read(f.Follow(began)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spare := new(streams.Spare)
			feed := streams.NewFeed(streams.FeedConfig{Ring: 3 * time.Second, Spare: spare})
			other := streams.NewFeed(streams.FeedConfig{Ring: 3 * time.Second, Spare: spare})
			feed.Connected()
			other.Connected()
			kept := kept{}
			for round := range uint64(5) {
				turn(feed, 1+100*round, 95, n, began)
				turn(other, 1+100*round, 100, n, began)
				kept.add(tt.take(feed))
				turn(feed, 96+100*round, 5, n, began)
			}
			feed.Forget()
			turn(other, 501, 200, n, began)
			kept.check(t, n)
		})
	}
}

// The same while others publish and read at once; the race detector looks on.
func TestReadersOfFeedsThatShareMemoryKeepWhatTheyHave(t *testing.T) {
	const n, frames = 30 << 10, 600
	spare, began := new(streams.Spare), time.Now()
	var wait sync.WaitGroup
	for i := range 3 {
		feed := streams.NewFeed(streams.FeedConfig{Ring: 2 * time.Second, Spare: spare})
		feed.Connected()
		wait.Go(func() {
			turn(feed, 1, frames, n, began)
			feed.Close()
		})
		if i == 0 {
			continue // nobody reads this one
		}
		wait.Go(func() {
			r := feed.Subscribe()
			defer r.Close()
			kept := kept{}
			for {
				f, err := r.Next(t.Context())
				if err != nil {
					break
				}
				if f.Seq%7 == 0 {
					kept.add([]*streams.Frame{f})
				}
			}
			kept.check(t, n)
		})
	}
	wait.Wait()
}

// allocated is how much run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestFramesOfNobodyMakeRoomForTheNext(t *testing.T) {
	const n, turns = 20 << 10, 3000
	began := time.Now()
	data := told(1, n)
	publish := func(feed *streams.Feed, from, count int) {
		for i := from; i < from+count; i++ {
			feed.Publish(&streams.Frame{NALUs: [][]byte{data}, Key: i%10 == 0, At: began.Add(time.Duration(i) * time.Second / 10)})
		}
	}
	tests := []struct {
		name string
		look func(*streams.Feed)
		most uint64 // bytes that are allocated for 60 MB of frames
	}{
		{"nobody looks", func(*streams.Feed) {}, 2 << 20},
		{"key frames are looked at", func(f *streams.Feed) { f.Keys(began, began.Add(time.Hour)) }, 20 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			feed := streams.NewFeed(streams.FeedConfig{Ring: 10 * time.Second})
			feed.Connected()
			publish(feed, 0, 300)
			got := allocated(func() {
				for from := 300; from < turns; from += 100 {
					publish(feed, from, 100)
					tt.look(feed)
				}
			})
			if got > tt.most {
				t.Errorf("%d bytes, want %d at most", got, tt.most)
			}
		})
	}
}

// inUse is the heap that is not garbage.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // far below
}

func TestMemoryThatTheRingLetGoIsBounded(t *testing.T) {
	const mib = 1 << 20
	nobody, viewer := func(*streams.Feed) {}, func(f *streams.Feed) { f.Key() }
	tests := []struct {
		name   string
		n      int // bytes of a frame
		look   func(*streams.Feed)
		forget bool
		most   int64
	}{
		{"large frames", 300 << 10, nobody, false, 6 * mib},
		{"large frames that were given", 300 << 10, viewer, false, 6 * mib},
		{"small frames", 2000, nobody, false, 6 * mib},
		{"forgotten", 20 << 10, nobody, true, 2 * mib},
		{"forgotten and given", 20 << 10, viewer, true, 2 * mib},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := inUse()
			feed := streams.NewFeed(streams.FeedConfig{Ring: time.Hour, RingBytes: 4 * mib})
			feed.Connected()
			began := time.Now()
			for i := range uint64(10 * mib / tt.n) {
				numbered(feed, i, tt.n, i%5 == 0, began)
				tt.look(feed)
			}
			if tt.forget {
				feed.Forget()
			}
			if got := inUse() - before; got > tt.most {
				t.Errorf("%d bytes are in use, want %d at most", got, tt.most)
			}
			runtime.KeepAlive(feed)
		})
	}
}
