package evidence

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"offsite/streams"
)

// platter is a disk of which one fsync fails. It knows what would be there after a power
// cut: the bytes that were synced, under the names that were.
type platter struct {
	dir   string
	fails int // which call; 0: none

	mu      sync.Mutex
	calls   int
	written map[string]bool
	durable map[string]bool // by hash
}

func (p *platter) sync(f *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls == p.fails {
		return syscall.EIO
	}
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		data, err := os.ReadFile(filepath.Join(p.dir, filepath.Base(f.Name())))
		sum := sha256.Sum256(data)
		p.written[hex.EncodeToString(sum[:])] = true
		return err
	}
	entries, err := os.ReadDir(p.dir)
	for _, e := range entries {
		p.durable[e.Name()] = p.durable[e.Name()] || p.written[e.Name()]
	}
	return err
}

// TestWhatIsNotSyncedIsNotToldAsKept takes stills, their marked copies, a clip and the
// manifest of an event, once for each fsync that fails.
func TestWhatIsNotSyncedIsNotToldAsKept(t *testing.T) {
	var picture bytes.Buffer
	if err := jpeg.Encode(&picture, image.NewGray(image.Rect(0, 0, 64, 36)), nil); err != nil {
		t.Fatal(err)
	}
	for fails, last := 0, 1; fails <= last; fails++ {
		t.Run(fmt.Sprint("fsync ", fails), func(t *testing.T) {
			with(t, Config{Moments: []time.Duration{0}, Watermark: MarkBurn}, func(t *testing.T, b *bench) {
				disk := &platter{dir: b.dir + "/evidence", fails: fails, written: map[string]bool{}, durable: map[string]bool{}}
				b.vault.fsync = disk.sync
				b.expect("al-1", time.Now(), "a")
				var clips []string
				shot := func() (streams.Still, error) { return streams.Still{JPEG: picture.Bytes(), At: time.Now()}, nil }
				lens := lenses{
					clip:   films(&clips),
					moment: func(string, time.Time) (streams.Still, error) { return shot() },
					take:   func(context.Context, string) (streams.Still, error) { return shot() },
				}
				var told []Result
				tell := func(_ context.Context, _ *sql.Tx, r Result) error {
					told = append(told, r)
					disk.mu.Lock()
					defer disk.mu.Unlock()
					for _, sha := range r.Blobs() {
						if !disk.durable[sha] {
							t.Errorf("told of %.8s before it was on disk: %s", sha, outline(r))
						}
					}
					return nil
				}
				for range 2 { // whoever supervises runs it again
					_ = b.try(time.Minute, lens, tell)
				}
				if len(told) == 0 || !told[len(told)-1].Complete || told[len(told)-1].Manifest == "" {
					t.Fatalf("told %+v", told)
				}
				missing := 0
				for _, it := range told[len(told)-1].Items {
					if it.State != Attached || (it.Kind == Still && it.Marked == "") {
						missing++
					}
					if it.State == None && code(it.Problem) != "disk_error" {
						t.Errorf("%+v", it)
					}
				}
				if most := min(fails, 1); missing > most {
					t.Errorf("%d pieces lost by one fault: %s", missing, outline(told[len(told)-1]))
				}
				if fails == 0 {
					last = disk.calls
				}
			})
		})
	}
}
