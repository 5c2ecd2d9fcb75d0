package edge

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/yardtest"
)

// enrolled gives a reference platform that the box is enrolled with.
func enrolled(t *testing.T, b *Box) *platformtest.Platform {
	t.Helper()
	p, err := platformtest.Open(platformtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := platformtest.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	beside(t, func(ctx context.Context) error { return p.Run(ctx, listener) })
	if err := b.Enrol(t.Context(), "http://"+listener.Addr().String(), p.Code()); err != nil {
		t.Fatal(err)
	}
	return p
}

// beside runs a task until the test has ended.
func beside(t *testing.T, task func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = task(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

// eventually waits until it is so.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for limit := time.After(time.Minute); !is(); {
		select {
		case <-limit:
			t.Fatal(what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestAClipThatIsTooLargeHoldsBackNoPicture tells of a still and a clip to a platform that
// takes no file of the clip's size.
func TestAClipThatIsTooLargeHoldsBackNoPicture(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		over   int64
		state  wire.EvidenceState
		pieces []bool // that arrive: still, clip
		lost   int64
	}{
		{"the clip alone", 1 << 20, wire.EvidenceStateAttached, []bool{true, false}, 1},
		{"all but the manifest", 10 << 10, wire.EvidenceStateNone, []bool{false, false}, 2},
		{"nothing", 64 << 20, wire.EvidenceStateAttached, []bool{true, true}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := idleLookout(t)
			b := s.Box
			p := enrolled(t, b)
			p.Inject(platformtest.Fault{Kind: platformtest.Status, Status: 413, Route: "putBlob", Over: tt.over})
			if err := s.tell(t.Context(), "eye", breach.CameraBlack, true, nil); err != nil {
				t.Fatal(err)
			}
			standing, err := b.Events.Faults(t.Context())
			if err != nil || len(standing) != 1 {
				t.Fatal(standing, err)
			}
			r := laidEvidence(t, b, standing[0].ID)
			err = b.DB.Update(t.Context(), func(tx *sql.Tx) error { return b.tellEvidence(t.Context(), tx, r) })
			if err != nil {
				t.Fatal(err)
			}
			beside(t, func(ctx context.Context) error { return b.Outbox.Run(ctx, b.deliver) })
			beside(t, b.clerk.Run)
			var told []platformtest.Event
			eventually(t, "no evidence at the platform", func() bool {
				told = p.Events()
				return len(told) == 2
			})
			e := told[1].Evidence
			if e.State != tt.state || e.Manifest != r.Manifest || len(e.Items) != 2 {
				t.Fatalf("told %+v", e)
			}
			for i, it := range e.Items {
				if arrives := it.SHA256 == r.Items[i].SHA256 && p.Blob(it.SHA256) != nil; arrives != tt.pieces[i] || !arrives && (it.SHA256 != "" || it.ReasonZh != evidenceTooLarge.ZH) {
					t.Errorf("%s: %+v", it.Kind, it)
				}
			}
			eventually(t, "the loss is not told", func() bool {
				list, err := b.Ledger.Losses(t.Context(), ledger.Filter{Max: 1})
				return err == nil && (tt.lost == 0 || len(list) == 1 && list[0].Count == tt.lost && list[0].Why.Code == "evidence_too_large")
			})
			if v := p.Violations(); len(v) > 0 {
				t.Error(v)
			}
		})
	}
}

// laidEvidence puts a still and a clip with their manifest into the vault.
func laidEvidence(t *testing.T, b *Box, event string) evidence.Result {
	t.Helper()
	put := func(content []byte) string {
		sha, err := b.Vault.Put(content)
		if err != nil {
			t.Fatal(err)
		}
		return sha
	}
	r := evidence.Result{Event: event, State: evidence.Attached, Complete: true}
	var pieces []string
	for _, piece := range []struct {
		kind, media string
		size        int
	}{{evidence.Still, "image/jpeg", 100 << 10}, {evidence.Clip, "video/mp4", 2 << 20}} {
		content := make([]byte, piece.size)
		_, _ = rand.Read(content) // never fails
		it := evidence.Item{Event: event, Camera: "eye", Kind: piece.kind, State: evidence.Attached, SHA256: put(content), CapturedAt: time.Now()}
		it.Size, it.MediaType = int64(piece.size), piece.media
		r.Items = append(r.Items, it)
		pieces = append(pieces, fmt.Sprintf(`{"sha256":%q,"size":%d}`, it.SHA256, it.Size))
	}
	r.Manifest = put(fmt.Appendf(nil, `{"format":"offsite-evidence/1","event":{"id":%q},"pieces":[%s]}`, event, strings.Join(pieces, ",")))
	return r
}

// TestWhatOfEventsMayBeDeleted asks of an event that goes on, that is over and of which a
// person has taken notice, and writes what was deleted.
func TestWhatOfEventsMayBeDeleted(t *testing.T) {
	s := idleLookout(t)
	box := s.Box
	if err := s.tell(t.Context(), "eye", breach.CameraBlack, true, nil); err != nil {
		t.Fatal(err)
	}
	standing, err := box.Events.Faults(t.Context())
	if err != nil || len(standing) != 1 {
		t.Fatal(standing, err)
	}
	id, e := standing[0].ID, evidenceEvents{box}
	is := func(name string, over, noticed bool) {
		t.Helper()
		at, seen, err := e.Over(t.Context(), id)
		if err != nil || at.IsZero() == over || seen != noticed {
			t.Errorf("%s: ended %v, noticed %v: %v", name, at, seen, err)
		}
	}
	is("it goes on", false, false)
	if err := s.tell(t.Context(), "eye", "", true, standing); err != nil {
		t.Fatal(err)
	}
	is("it is over", true, false)
	if _, err := box.Acknowledge(t.Context(), id, "li", "看过", time.Now(), func(context.Context, *sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	is("somebody has seen it", true, true)
	if _, _, err := e.Over(t.Context(), "ca-none"); !errors.Is(err, devices.ErrNotFound) {
		t.Error(err)
	}
	if unsent, err := e.Unsent(t.Context()); err != nil || len(unsent) != 0 {
		t.Errorf("a gateway of no platform waits for it: %v, %v", unsent, err)
	}
	if unsent, err := box.Outbox.Unsent(t.Context()); err != nil || !unsent[id] {
		t.Errorf("unsent %v, %v", unsent, err)
	}

	err = box.DB.Update(t.Context(), func(tx *sql.Tx) error {
		return e.Deleted(t.Context(), tx, evidence.Deletion{Why: evidence.Disk, Events: 2, Files: 7, Bytes: 1 << 20, From: yardtest.Noon, To: yardtest.After(1000)})
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := box.Audit.List(t.Context(), 0, 1)
	if err != nil || len(rows) != 1 || rows[0].Act != "evidence.deleted" || !strings.Contains(rows[0].Detail, "disk: 7 files of 2 events") {
		t.Errorf("the trail: %+v, %v", rows, err)
	}
	losses, err := box.Ledger.Losses(t.Context(), ledger.Filter{Max: 1})
	if err != nil || len(losses) != 1 || losses[0].Subject != "evidence" || losses[0].Count != 7 {
		t.Errorf("losses: %+v, %v", losses, err)
	}
	if n := box.Ledger.LossCounts()[ledger.LossRecording]; n != 7 {
		t.Errorf("/metrics counts %d of 7 files", n)
	}
	box.notices.Set(notice.Storage, yardtest.Trouble("disk_full"))
	beat, taken := platformSite{box}.Status()
	if len(beat.Notices) != 1 || beat.Notices[0].Code != "disk_full" || beat.State != wire.HeartbeatStateFault {
		t.Errorf("the platform hears %v %+v", beat.State, beat.Notices)
	}
	if len(beat.Losses) != 1 || beat.Losses[0].What != "recording evidence" || beat.Losses[0].Count != 7 || beat.Losses[0].ID != losses[0].ID {
		t.Errorf("the platform hears of losses %+v", beat.Losses)
	}
	if err := taken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if beat, _ := (platformSite{box}).Status(); len(beat.Losses) != 0 {
		t.Errorf("and again %+v", beat.Losses)
	}
}
