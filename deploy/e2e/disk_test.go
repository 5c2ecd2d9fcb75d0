package e2e

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"

	"offsite/devices/state/disktest"
	"offsite/edge/dispatch/wire"
	"offsite/gateway/api/contract"
)

// smallDisk mounts an ext4 of its own. It skips the test where that is not allowed.
func smallDisk(t *testing.T, size int64) (dir string) {
	t.Helper()
	disk, err := disktest.New(t.TempDir(), size)
	if err != nil {
		t.Skipf("no disk of our own here: %v", err)
	}
	t.Cleanup(func() {
		if err := disk.Remove(); err != nil {
			t.Error(err)
		}
	})
	return disk.Dir
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

// ready gives the status and the text of /readyz.
func (p *program) ready() (int, string) {
	answer, err := http.Get(strings.TrimSuffix(p.API, "/api/v1") + "/readyz") //nolint:noctx // loopback
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, fmt.Sprintf("%s %v", text, err)
}

// refuses waits until the gateway says on all ways that it takes no readings.
func (p *program) refuses(t *testing.T) {
	t.Helper()
	p.await("readyz says so", func() error {
		code, text := p.ready()
		if code != http.StatusServiceUnavailable || !strings.Contains(text, "磁盘已满") || !strings.Contains(text, "disk is full") {
			return fmt.Errorf("readyz: %d %s", code, text)
		}
		return nil
	})
	var n contract.FieldProblem
	p.await("notice", func() (err error) {
		n, err = p.notice("disk_full")
		return err
	})
	said(t, n, "disk_full", "", "空间", "space")
}

// TestReadingsGoOnWhileTheDiskIsFull fills the disk of a gateway that records, ends
// it hard meanwhile, and gives the room back.
func TestReadingsGoOnWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 2<<30) // so that 91 % of it leave more than the reserve
	gst := startGstCamera(t, cameraClip(t, "h264", 20))
	p := startProgramIn(t, filepath.Join(disk, "state"), "recording:\n  segment: 4s\n")
	began := time.Now()
	client := p.instrument(t, "gate")
	say := func(v float64) { t.Helper(); publishOnce(t, client, "offsite/gate/v", at(0, v)) }
	p.post("/cameras", thing{"id": "yard", "site": "plant", "name": "yard", "url": gst.camera().URL, "record": "continuous"})
	p.await("the camera is recorded", func() error { return p.newest("yard", began) })
	say(1)
	empty := fill(t, disk, 0.82)
	p.await("it warns of the disk", func() error {
		_, err := p.notice("disk_filling")
		return err
	})
	if _, err := p.notice("recording_stopped"); err == nil {
		t.Error("recording stopped before anything else")
	}
	empty()
	full := time.Now()
	empty = fill(t, disk, 0.91)
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
	p.await("the event at the platform", func() error { return wantCount(p.told("gate.v", wire.EventStepOpened), 1) })
	p.holds("gate.v", 1, 2, 150)
	p.Kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := time.Now()
	client.Disconnect(0)
	client = connectPaho(t, p.Broker, "gate", "gate-password-1")
	say(3)
	p.holds("gate.v", 1, 2, 150, 3)
	p.await("it does not record after the start either", func() error {
		_, err := p.notice("recording_stopped")
		return err
	})
	p.await("it lasts long enough to be a gap of its own", func() error {
		if d := time.Since(again); d < 7*time.Second {
			return fmt.Errorf("only for %v", d)
		}
		return nil
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
	if !slices.ContainsFunc(tl.Gaps, func(g contract.RecordingGap) bool { return g.Why.Code == "recording_stopped" }) {
		t.Errorf("gaps %+v", tl.Gaps)
	}
}

// TestReadingsAreRefusedBeforeTheDiskIsFull leaves less of the disk than the reserve:
// devices keep their data, and people and the platform are served from what is left.
func TestReadingsAreRefusedBeforeTheDiskIsFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 1<<30)
	p := startProgramIn(t, filepath.Join(disk, "state"), "")
	client := p.instrument(t, "kept")
	publishOnce(t, client, "offsite/kept/v", at(-time.Second, 150))
	p.await("the event at the platform", func() error { return wantCount(p.told("kept.v", wire.EventStepOpened), 1) })
	empty := fill(t, disk, 0.955)
	p.refuses(t)
	waits := client.Publish("offsite/kept/v", 1, false, at(0, 2))
	if waits.WaitTimeout(3 * time.Second) {
		t.Error("acknowledged although the reserve is touched")
	}
	for i := range 20 {
		p.post("/sites", thing{"id": fmt.Sprint("site-", i), "name": strings.Repeat("试验厂", 40), "kind": "plant"})
	}
	event := p.told("kept.v", wire.EventStepOpened)[0].ID
	p.post("/events/"+event+":acknowledge", thing{"note": "看到了"})
	p.await("the acknowledgement at the platform", func() error { return wantCount(p.told("kept.v", wire.EventStepUpdated), 1) })
	empty()
	if !waits.WaitTimeout(time.Minute) {
		t.Fatal("not taken although there is space again")
	}
	p.await("ready again", func() error {
		if code, text := p.ready(); code != http.StatusOK {
			return fmt.Errorf("readyz: %d %s", code, text)
		}
		return nil
	})
	p.holds("kept.v", 150, 2)
	p.await("its end at the platform", func() error { return wantCount(p.told("kept.v", wire.EventStepClosed), 1) })
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	t.Parallel()
	mount := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=200m", "offsite-e2e", mount).CombinedOutput(); err != nil {
		t.Skipf("mounts are not allowed here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil { //nolint:noctx // ends at once
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	p := startProgramIn(t, filepath.Join(mount, "state"), "")
	client := p.instrument(t, "full")
	publishOnce(t, client, "offsite/full/v", at(-time.Second, 1))

	filler := filepath.Join(mount, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	_ = f.Close()
	acked, start := 1, time.Now()
	ballast := strings.Repeat(" ", 60<<10)
	var refused interface{ Done() <-chan struct{} }
	for refused == nil && acked < 2000 {
		token := client.Publish("offsite/full/v", 1, false, ballast[:60<<10]+fmt.Sprintf(`{"t":%d,"deep":{"v":%d}}`, start.UnixMilli()+int64(acked), acked+1))
		if token.WaitTimeout(2 * time.Second) {
			acked++
			continue
		}
		refused = token
	}
	if refused == nil {
		t.Fatalf("%d messages were acknowledged on a full disk", acked)
	}
	t.Logf("refused after %d acknowledgements", acked)
	p.refuses(t)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	select {
	case <-refused.Done():
		acked++
	case <-time.After(time.Minute):
		t.Fatal("not taken although there is space again")
	}
	p.await("ready again", func() error {
		if code, text := p.ready(); code != http.StatusOK {
			return fmt.Errorf("readyz: %d %s", code, text)
		}
		return nil
	})
	complete := func() error {
		got, err := p.values("full.v")
		if err == nil && len(got) < acked {
			err = fmt.Errorf("%d of %d acknowledged readings", len(got), acked)
		}
		return err
	}
	p.await("history", complete)
	p.Kill()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await("history after a start", complete)
}

// TestALostDatabaseIsRestored spoils the database of a gateway that has recorded and
// judged. What it had acknowledged of readings is there, the platform is told nothing
// twice, and nobody is offered to make the first account again.
func TestALostDatabaseIsRestored(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		spoil  func(p *program, database string) error
		zh, en string // of the notice
	}{
		{"damaged", func(p *program, database string) error {
			return errors.Join(p.Stop(), os.Truncate(database, 8192))
		}, "损坏", "damaged"},
		{"gone with its log", func(p *program, database string) error {
			p.Kill()
			return removeAll(database, database+"-wal", database+"-shm")
		}, "丢失", "gone"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startProgram(t, "")
			client := p.instrument(t, "kept")
			p.backedUp(t)
			publishOnce(t, client, "offsite/kept/v", at(-2*time.Second, 150))
			p.await("the event at the platform", func() error { return wantCount(p.told("kept.v", wire.EventStepOpened), 1) })
			if err := tt.spoil(p, filepath.Join(p.State, "offsite.db")); err != nil {
				t.Fatal(err)
			}
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			n, err := p.notice("state_restored")
			if err != nil {
				t.Fatal(err)
			}
			said(t, n, "state_restored", "", tt.zh, tt.en)
			p.goesOn(t, client)
			p.refusesToBeginAnew(t)
		})
	}
}

// backedUp has a start make a backup of what is registered now.
func (p *program) backedUp(t *testing.T) {
	t.Helper()
	backup := filepath.Join(p.State, "offsite.db.backup")
	p.await("the first backup", func() error { _, err := os.Stat(backup); return err })
	p.Kill()
	if err := os.Chtimes(backup, time.Time{}, time.Now().Add(-24*time.Hour)); err != nil { // so that a start makes the next
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.await("the next backup", func() error {
		info, err := os.Stat(backup)
		if err == nil && time.Since(info.ModTime()) > time.Hour {
			err = errors.New("old")
		}
		return err
	})
}

// goesOn checks that a gateway whose state was restored records, judges and delivers
// as if nothing had happened.
func (p *program) goesOn(t *testing.T, client mqtt.Client) {
	t.Helper()
	publishOnce(t, client, "offsite/kept/v", at(-time.Second, 50))
	publishOnce(t, client, "offsite/kept/v", at(0, 160))
	p.holds("kept.v", 150, 50, 160)
	p.await("the next event at the platform", func() error { return wantCount(p.told("kept.v", wire.EventStepOpened), 2) })
	p.await("the end of the first", func() error { return wantCount(p.told("kept.v", wire.EventStepClosed), 1) })
	for key, n := range p.platform.Effects() {
		if n != 1 {
			t.Errorf("message %s took effect %d times", key, n)
		}
	}
	// What is judged again has another time of its judgement, under the key of before.
	other := func(v string) bool { return !strings.HasSuffix(v, "was used for another body") }
	if v := p.platform.Violations(); slices.ContainsFunc(v, other) {
		t.Error(v)
	}
	if rows, err := p.losses("refused", "platform"); err != nil || len(rows) > 0 {
		t.Errorf("dead letters: %+v, %v", rows, err)
	}
}

// refusesToBeginAnew takes database and backup away. The gateway says what to do, and
// shows no set-up token, at this start or at the ones before.
func (p *program) refusesToBeginAnew(t *testing.T) {
	t.Helper()
	database := filepath.Join(p.State, "offsite.db")
	p.Kill()
	if err := removeAll(database, database+"-wal", database+"-shm", database+".backup"); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "放回为 offsite.db") || !strings.Contains(err.Error(), "in place as offsite.db") {
		t.Errorf("without database and backup: %v", err)
	}
	if n := strings.Count(p.Out.String(), "setup token"); n != 1 {
		t.Errorf("a set-up token was shown %d times, want the one of the first start", n)
	}
}

// removeAll removes the files that there are.
func removeAll(paths ...string) error {
	var errs []error
	for _, path := range paths {
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
