package relay

import (
	"bytes"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// TestSpareTakesWhatIsLeft reads 1 MB by an upload of 80 kB a second, of which
// streams take nothing, half or all.
func TestSpareTakesWhatIsLeft(t *testing.T) {
	const rate = 80_000 // bytes a second
	for _, tt := range []struct {
		name        string
		streams     int64 // bytes a second
		least, most time.Duration
	}{
		{"nobody else", 0, 11 * time.Second, 13 * time.Second},
		{"half is taken", rate / 2, 22 * time.Second, 26 * time.Second},
		{"all is taken", rate, 200 * time.Second, 300 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := New(Config{Upload: 8 * rate})
				done := make(chan struct{})
				go func() {
					tick := time.NewTicker(100 * time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case now := <-tick.C:
							r.upload.take(tt.streams/10, false, now)
						case <-done:
							return
						}
					}
				}()
				began := time.Now()
				in := r.Spare(io.NopCloser(bytes.NewReader(make([]byte, 1_000_000))))
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, in, make([]byte, 32<<10))
				close(done)
				if took := time.Since(began); n != 1_000_000 || err != nil || took < tt.least || took > tt.most {
					t.Errorf("%d bytes in %v, %v", n, took, err)
				}
			})
		})
	}
}

func TestClosingEndsAReadThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := New(Config{Upload: 64_000})
		in := r.Spare(io.NopCloser(bytes.NewReader(make([]byte, 1_000_000))))
		ended := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, in)
			ended <- err
		}()
		time.Sleep(10 * time.Second)
		began := time.Now()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err == nil || time.Since(began) > 0 {
			t.Errorf("ended after %v: %v", time.Since(began), err)
		}
	})
}
