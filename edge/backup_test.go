package edge

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
)

// TestADamagedStateIsRestoredAndTold damages the database behind a backup, starts, and
// starts once more.
func TestADamagedStateIsRestoredAndTold(t *testing.T) {
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = t.TempDir(), "127.0.0.1:0", "none"
	open := func() *Box {
		t.Helper()
		b, err := Open(t.Context(), cfg, Parts{})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	end := func(b *Box) {
		t.Helper()
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	b := open()
	yardtest.Register(t, b.Registry, yardtest.Yard()...)
	if err := b.DB.Backup(t.Context()); err != nil {
		t.Fatal(err)
	}
	yardtest.Register(t, b.Registry, &devices.Outlet{ID: "later", Site: "plant", Name: "后来", OutletKind: "other"})
	end(b)
	if err := os.Truncate(filepath.Join(cfg.State, "offsite.db"), 5000); err != nil {
		t.Fatal(err)
	}
	b = open()
	if s := b.Registry.Snapshot(); s.Sites["plant"] == nil || s.Outlets["later"] != nil {
		t.Errorf("restored: %v, %v", s.Sites, s.Outlets)
	}
	if p := b.notices.Why(notice.State); p == nil || p.Code != "state_restored" || !strings.Contains(p.ZH, "damaged-") || !strings.Contains(p.EN, "tokens") {
		t.Errorf("notice %+v", p)
	}
	if rows, err := b.Audit.List(t.Context(), 0, 1); err != nil || len(rows) != 1 || rows[0].Act != "state.restored" {
		t.Errorf("the trail: %+v, %v", rows, err)
	}
	if list, err := b.Ledger.Losses(t.Context(), 1); err != nil || len(list) != 1 || list[0].Kind != ledger.LossState || !list[0].To.After(list[0].From) {
		t.Errorf("losses: %+v, %v", list, err)
	}
	end(b)
	b = open()
	defer end(b)
	if p := b.notices.Why(notice.State); p != nil {
		t.Errorf("the start after that: %+v", p)
	}
}

// TestBackupsAreMadeInTime backs up at a first start, and again when one is old.
func TestBackupsAreMadeInTime(t *testing.T) {
	b := idleLookout(t).Box
	backup := filepath.Join(b.cfg.State, "offsite.db.backup")
	for _, old := range []time.Duration{0, 2 * backupEvery} {
		if old > 0 {
			if err := os.Chtimes(backup, time.Time{}, time.Now().Add(-old)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- b.backUp(ctx) }()
		eventually(t, "no backup", func() bool { return time.Since(b.DB.BackedUp()) < time.Minute })
		cancel()
		<-done
	}
}

func TestABackupIsNeverDueLaterThanOnePeriod(t *testing.T) {
	for _, tt := range []struct {
		name string
		age  time.Duration
		want time.Duration
	}{
		{"there is none", yardtest.Noon.Sub(time.Time{}), 0},
		{"an old one", backupEvery, 0},
		{"a fresh one", time.Hour, backupEvery - time.Hour},
		{"of the future, as the clock was set back", -1000 * time.Hour, backupEvery},
	} {
		if got := backupDue(yardtest.Noon.Add(-tt.age), yardtest.Noon); got != tt.want {
			t.Errorf("%s: due in %v, want %v", tt.name, got, tt.want)
		}
	}
}
