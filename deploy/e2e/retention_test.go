package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"offsite/edge/dispatch"
	"offsite/gateway/api"
	"offsite/streams/recording"
)

// smallDisk mounts an ext4 of its own. It skips the test where that is not allowed.
func smallDisk(t *testing.T, size int64) (dir string) {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "disk.img"), t.TempDir()
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"mkfs.ext4", "-q", "-F", image}, {"mount", "-o", "loop", image, dir}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil { //nolint:noctx,gosec // ends at once
			t.Skipf("no disk of our own here: %s: %v: %s", c[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil { //nolint:noctx // ends at once
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// fill lays a file that leaves this part of the disk in use, and gives what takes it
// away.
func fill(t *testing.T, dir string, part float64) (empty func()) {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	used := float64(st.Blocks - st.Bfree)
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, int64((part*(used+float64(st.Bavail))-used)*float64(st.Bsize))); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// newest says whether something was recorded since, in the last seconds.
func (p *program) newest(camera string, since time.Time) error {
	tl, err := p.timeline(camera, since)
	if n := len(tl.Recorded); err == nil && (n == 0 || tl.Recorded[n-1].To.Before(since) || time.Since(tl.Recorded[n-1].To) > 10*time.Second) {
		err = fmt.Errorf("recorded %+v", tl.Recorded)
	}
	return err
}

// TestReadingsGoOnWhileTheDiskIsFull fills the disk of a gateway that records, ends
// it hard meanwhile, and gives the room back.
func TestReadingsGoOnWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 1<<30)
	gst := startGstCamera(t, cameraClip(t, "h264", 20))
	p := startProgramIn(t, filepath.Join(disk, "state"), "recording:\n  segment: 4s\n")
	began := time.Now()
	client := p.instrument(t, "gate")
	say := func(v float64) { t.Helper(); publishOnce(t, client, "offsite/gate/v", at(0, v)) }
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": gst.camera().URL, "record": "continuous"})
	p.await("the camera is recorded", func() error { return p.newest("yard", began) })
	say(1)
	full := time.Now()
	empty := fill(t, disk, 0.93)
	p.await("recording stops and says so", func() error {
		_, err := p.notice("recording_stopped")
		return err
	})
	told, err := p.notice("recording_stopped")
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after %v: %s / %s", time.Since(full), told.Zh, told.En)
	say(2)
	say(150)
	p.await("the event at the platform", func() error { return wantCount(p.told("gate.v", dispatch.EventStepOpened), 1) })
	p.holds("gate.v", 1, 2, 150)
	p.Kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client.Disconnect(0)
	client = connectPaho(t, p.Broker, "gate", "gate-password-1")
	say(3)
	p.holds("gate.v", 1, 2, 150, 3)
	p.await("it does not record after the start either", func() error {
		_, err := p.notice("recording_stopped")
		return err
	})
	empty()
	room := time.Now()
	p.await("recording goes on", func() error { return p.newest("yard", room) })
	p.await("nothing is wrong any more", func() error {
		if _, err := p.notice("recording_stopped"); err == nil {
			return errors.New("it still says so")
		}
		return nil
	})
	tl, err := p.timeline("yard", began)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(tl.Gaps, func(g api.RecordingGap) bool { return g.Why.Code == "recording_stopped" }) {
		t.Errorf("gaps %+v", tl.Gaps)
	}
}

// TestTheOldestRecordingsGo starts on recordings that are too many, and then on some
// that are too old.
func TestTheOldestRecordingsGo(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state")
	now := time.Now().Truncate(time.Second)
	old, early, late := now.AddDate(0, 0, -20), now.AddDate(0, 0, -2), now.Add(-30*time.Minute)
	lay := func(camera string, began ...time.Time) {
		t.Helper()
		archive, err := recording.Open(filepath.Join(state, "recordings"), recording.Config{Segment: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		layFilm(t, archive, camera, began...)
		if err := archive.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lay("gate", early, late)
	lay("yard", late, late.Add(time.Minute), late.Add(2*time.Minute))
	p := startProgramIn(t, state, "recording:\n  total: 64MiB\n")
	for _, camera := range []string{"gate", "yard"} {
		p.post("/cameras", thing{"id": camera, "site": "plant", "name": camera, "url": "rtsp://127.0.0.1:1/1", "pull": "demand", "record_days": 15})
	}
	// why gives the reasons around a minute of film, one after the other.
	why := func(camera string, began time.Time) (codes []string) {
		t.Helper()
		tl, err := p.timeline(camera, began.Add(-10*time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range tl.Gaps {
			if g.From.Before(began.Add(2 * time.Minute)) {
				codes = append(codes, g.Why.Code)
			}
		}
		return codes
	}
	p.await("the oldest have gone", func() error {
		_, err := p.notice("recording_deleted_total")
		return err
	})
	for _, tt := range []struct {
		camera string
		began  time.Time
		want   []string
	}{
		{"gate", early, []string{"recording_off", "recording_deleted_total", "recording_off"}},
		{"gate", late, []string{"recording_off", "recording_deleted_total"}},
		{"yard", late, []string{"recording_off", "recording_deleted_total"}},
	} {
		p.await(fmt.Sprint("the reasons of ", tt.camera, " since ", tt.began), func() error {
			if got := why(tt.camera, tt.began); !slices.Equal(got[:min(len(got), len(tt.want))], tt.want) {
				return fmt.Errorf("%q, want %q", got, tt.want)
			}
			return nil
		})
	}
	left := int64(0)
	for _, camera := range []string{"gate", "yard"} {
		tl, err := p.timeline(camera, late)
		if err != nil {
			t.Fatal(err)
		}
		left += tl.Bytes
	}
	if left > 64<<20 || left < 50<<20 {
		t.Errorf("%d MiB are left", left>>20)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	lay("gate", old)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await("what is too old has gone", func() error {
		list, err := filepath.Glob(filepath.Join(state, "recordings", "gate", old.UTC().Format("20060102"), "*"))
		if err == nil && len(list) > 0 {
			err = fmt.Errorf("%d files", len(list))
		}
		return err
	})
	if got := why("gate", old); !slices.Equal(got[:min(len(got), 1)], []string{"recording_expired"}) {
		t.Errorf("reasons %q", got)
	}
}
