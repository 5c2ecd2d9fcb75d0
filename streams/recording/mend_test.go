package recording_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"offsite/streams"
	"offsite/streams/recording"
)

// torn gives the bytes of a segment of ten seconds that is still being written.
func torn(t *testing.T) (name string, data []byte) {
	t.Helper()
	dir := t.TempDir()
	a := archive(t, dir, recording.Config{})
	clip := pictures(t)
	synctest.Test(t, func(t *testing.T) {
		feed := streams.NewFeed(streams.FeedConfig{})
		feed.Connected()
		record(t, a, feed, func() {
			play(feed, clip, 10*time.Second)
			synctest.Wait() // the recorder's tick falls on the same instant
			path := files(t, dir)[0]
			var err error
			if data, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			if name, err = filepath.Rel(dir, path); err != nil {
				t.Fatal(err)
			}
		})
	})
	return name, data
}

func TestTornFilesAreCutBehindTheLastWholeFragment(t *testing.T) {
	needProbe(t)
	name, data := torn(t)
	if !strings.HasSuffix(name, ".part") {
		t.Fatal(name)
	}
	zeros := func(n int) []byte {
		b := append([]byte(nil), data...)
		clear(b[len(b)-n:])
		return b
	}
	for _, tt := range []struct {
		name     string
		data     []byte
		pictures int
	}{
		{"whole", data, 225},
		{"last byte is missing", data[:len(data)-1], 200},
		{"half a header more", append(append([]byte(nil), data...), 0, 0, 1), 225},
		{"zeros behind", append(append([]byte(nil), data...), make([]byte, 5000)...), 225},
		{"zeros where pictures should be", zeros(3000), 200},
		{"no fragment", data[:800], 0},
		{"empty", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, tt.data, 0o600); err != nil {
				t.Fatal(err)
			}
			a := archive(t, dir, recording.Config{})
			list, n := all(t, a), 0
			if len(list) == 1 {
				n = len(probe(t, files(t, dir)[0]))
				if want := time.Duration(n) * every; list[0].To.Sub(list[0].From) != want || list[0].Open {
					t.Errorf("%+v, want %v", list[0], want)
				}
			}
			if n != tt.pictures {
				t.Errorf("%d pictures, want %d", n, tt.pictures)
			}
		})
	}
}

// FuzzMend feeds files that nobody wrote to the mending and to clips.
func FuzzMend(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x08moof"), 3)
	f.Add([]byte{}, 100)
	f.Fuzz(func(t *testing.T, data []byte, at int) {
		if len(data) > 1<<16 {
			return
		}
		sample := sampleFile(t)
		at = max(0, min(at, len(sample)))
		data = append(append(append([]byte(nil), sample[:at]...), data...), sample[at:]...)
		dir := t.TempDir()
		if err := os.MkdirAll(dir+"/cam-1/20260101", 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"000000.000.part", "000100.000_60000_" + "123" + ".mp4"} {
			if err := os.WriteFile(dir+"/cam-1/20260101/"+name, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a := archive(t, dir, recording.Config{})
		c, err := a.Clip("cam-1", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 1, 0, 5, 0, 0, time.UTC))
		if err != nil {
			return
		}
		r := c.Open()
		defer r.Close()
		_, _ = r.Seek(c.Size/2, 0)
		_, _ = r.Read(make([]byte, 100))
	})
}

// sampleFile is a segment of some pictures.
func sampleFile(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	a := archive(t, dir, recording.Config{Fragment: 10 * time.Millisecond})
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	for i, p := range pictures(t)[:6] {
		c := *p
		c.PTS, c.DTS, c.At = time.Duration(i)*every, time.Duration(i)*every, time.Now()
		feed.Publish(&c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Record(ctx, "cam-1", feed, time.Time{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	data, err := os.ReadFile(files(t, dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	return data
}
