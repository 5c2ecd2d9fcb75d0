package spool

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"offsite/devices"
)

// TestFullDisk fills a small file system. The log says in time that the disk is
// full, keeps what it acknowledged, and takes readings again when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64m"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	little := filepath.Join(dir, "little")
	for name, size := range map[string]int{ballast: 31 << 20, little: 1 << 20} {
		if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	cfg := Config{Room: DiskRoom(dir, 16<<20)}
	r := start(t, vfs.Default, cfg)
	acked, n := 0, 0
	var err error
	for ; err == nil && n < 1_000_000; n += 50 {
		if err = r.put(bulky(n, 50)...); err == nil {
			acked += 50
		}
	}
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != "disk_full" || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the end was %v, want disk_full", err)
	}
	if err := os.Remove(little); err != nil {
		t.Fatal(err)
	}
	r.checkRoom() // what Run does once a second
	if err := r.put(delivery(n)); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("with a little more than the reserve: %v, it would be refused again at once", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r.checkRoom()
	if err := r.put(delivery(n)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := r.close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
	r = start(t, vfs.Default, cfg)
	defer r.close()
	if got := len(stored(t, r.Log)); got < acked+1 {
		t.Errorf("%d records, %d were acknowledged", got, acked+1)
	}
}

// bulky is count deliveries with a kilobyte of dead letter each.
func bulky(from, count int) []devices.Delivery {
	var ds []devices.Delivery
	rng := rand.NewChaCha8([32]byte{byte(from), byte(from >> 8), byte(from >> 16)})
	for i := range count {
		d := delivery(from + i)
		payload := make([]byte, 1000)
		_, _ = rng.Read(payload) // so that Pebble cannot compress it away
		d.Letter = &devices.DeadLetter{Topic: "t", Payload: payload}
		ds = append(ds, d)
	}
	return ds
}

// TestPebbleStandsStill lets no table be written, so that Pebble's memtables
// fill and a write waits inside it without an error. Devices are told, and all
// goes on by itself afterwards.
func TestPebbleStandsStill(t *testing.T) {
	full := errorfs.Toggle{Injector: errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpCreate && strings.HasSuffix(op.Path, ".sst") {
			time.Sleep(time.Millisecond) // Pebble tries again without a pause of its own
			return syscall.ENOSPC
		}
		return nil
	})}
	r := start(t, errorfs.Wrap(vfs.NewMem(), &full), Config{Pending: 1 << 30})
	full.On()
	results := make(chan error, 20_000)
	accepted := 0
	for ; accepted < 6000; accepted += 50 { // several memtables
		for _, d := range bulky(accepted, 50) {
			r.Append(d, func(err error) { results <- err })
		}
	}
	refused := 0
	for range accepted {
		select {
		case err := <-results:
			if err != nil {
				refused++
			}
		case <-time.After(time.Minute):
			t.Fatal("devices wait for ever")
		}
	}
	if refused == 0 {
		t.Fatal("Pebble took everything: the case is not reached")
	}
	if err := r.put(delivery(9000)); !errors.Is(err, errStuck) {
		t.Errorf("while it stands still: %v, want disk_stuck", err)
	}
	full.Off()
	if err := r.Wait(t.Context(), uint64(accepted)-1); err != nil {
		t.Fatal(err)
	}
	again := bulky(accepted-1, 1)[0]
	again.Origin.Resent = true
	if err := r.put(again); err != nil {
		t.Errorf("sent again: %v", err)
	}
	if got := len(stored(t, r.Log)); got != accepted {
		t.Errorf("%d records, want %d: each once", got, accepted)
	}
	if err := r.close(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
