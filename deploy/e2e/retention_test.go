package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"offsite/streams/recording"
)

// newest says whether something was recorded since, in the last seconds.
func (p *program) newest(camera string, since time.Time) error {
	tl, err := p.timeline(camera, since)
	if n := len(tl.Stretches); err == nil && (n == 0 || tl.Stretches[n-1].To.Before(since) || time.Since(tl.Stretches[n-1].To) > 10*time.Second) {
		err = fmt.Errorf("recorded %+v", tl.Stretches)
	}
	return err
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
		archive := archiveOf(t, state, recording.Config{Segment: 10 * time.Second})
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
