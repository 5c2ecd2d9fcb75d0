package footage_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/footage"
	"offsite/streams"
	"offsite/streams/recording"
)

// watch takes all that a player gives and tells when each picture that is to be seen was
// taken by its stamp, in seconds since the first one.
func watch(t *testing.T, p *footage.Player) (seen []int, err error) {
	t.Helper()
	for {
		f, late, err := p.Next(t.Context())
		if err != nil {
			return seen, err
		}
		if !late {
			seen = append(seen, int((f.PTS+time.Second/2)/time.Second))
		}
	}
}

func numbers(from, to int) []int {
	var list []int
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

func TestThePastIsPlayedFromBoth(t *testing.T) {
	broken := &devices.Problem{Kind: devices.ErrUnavailable, Code: "replay_refused"}
	tests := []struct {
		name   string
		change func(*nvr)
		from   float64
		want   []int // seconds since from
		plan   []footage.Source
		code   string
	}{
		{"from our own over the recorder's to our own", func(n *nvr) { n.held = []footage.Span{span(0, 60)} }, 10, numbers(0, 50), []footage.Source{"own", "recorder", "own"}, "EOF"},
		{"from the recorder's, in pieces", nil, 61, numbers(0, 39), []footage.Source{"recorder"}, "EOF"},
		{"the recorder gives nothing", func(n *nvr) { n.broken = broken }, 10, append(numbers(0, 10), numbers(30, 50)...), []footage.Source{"own", "recorder", "own", "recorder"}, "replay_refused"},
		{"it gives nothing at the beginning", func(n *nvr) { n.broken, n.held = broken, []footage.Span{span(20, 40)} }, 25, numbers(0, 20), []footage.Source{"own"}, "EOF"},
		{"there is none", func(n *nvr) { n.none = true }, 10, append(numbers(0, 10), numbers(30, 50)...), []footage.Source{"own"}, "EOF"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t)
			if tt.change != nil {
				tt.change(s.nvr)
			}
			synctest.Test(t, func(t *testing.T) {
				p, err := s.Play(t.Context(), "cam", at(tt.from))
				if err != nil {
					t.Fatal(err)
				}
				var plan []footage.Source
				for _, one := range p.Plan {
					plan = append(plan, one.Source)
				}
				p.Again()
				began := time.Now()
				got, err := watch(t, p)
				if diff := cmp.Diff(tt.want, got); diff != "" || codeOf(err) != tt.code {
					t.Errorf("%v: %s", err, diff)
				}
				if took, want := time.Since(began), time.Duration(len(tt.want)-1)*time.Second; (took - want).Abs() > 2*time.Second {
					t.Errorf("it took %v, want about %v", took, want)
				}
				if diff := cmp.Diff(tt.plan, plan); diff != "" {
					t.Error(diff)
				}
				if err := p.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAPlaybackEndsWhereItCannotGoOn(t *testing.T) {
	s := open(t)
	s.nvr.archived = newArchive(t)
	lay(t, s.nvr.archived, at(-10), counted(t, streams.MJPEG, 110))
	synctest.Test(t, func(t *testing.T) {
		p, err := s.Play(t.Context(), "cam", at(10))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if got, err := watch(t, p); len(got) != 10 || codeOf(err) != "recording_codec" {
			t.Errorf("%d pictures, then %v", len(got), err)
		}
	})
	if _, err := s.Play(t.Context(), "cam", at(200)); codeOf(err) != "no_recording" {
		t.Errorf("where nobody has anything: %v", err)
	}
}

// TestASlowRecorderHoldsNobodyUp leaves in the midst of a fetch, and asks one that never answers.
func TestASlowRecorderHoldsNobodyUp(t *testing.T) {
	s := open(t)
	synctest.Test(t, func(t *testing.T) {
		s.nvr.mute = true
		began := time.Now()
		tl, err := s.Timeline(t.Context(), "cam", at(0), at(60))
		if err != nil || time.Since(began) != 5*time.Second || codeIn(tl.Recorder.Why) != "recorder_silent" || len(tl.Stretches) != 2 {
			t.Errorf("after %v: %+v, %v", time.Since(began), tl, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Timeline(ctx, "cam", at(0), at(60)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who has less time: %v", err)
		}
		s.nvr.mute = false
	})
	held := &waiting{nvr: s.nvr}
	f, err := footage.Open(t.Context(), s.db, footage.Config{Own: gateway{s.own}, Recorders: held})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		p, err := f.Play(t.Context(), "cam", at(15))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		n := 0
		for err == nil {
			_, _, err = p.Next(ctx)
			n++
		}
		if n != 6 || codeOf(err) != "replay_slow" {
			t.Errorf("%d pictures, then %v", n, err)
		}
		if err := p.Close(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
}

// TestAPlayersManyPartsAreOneQuestion asks for the same clip as a player does that reads it in ranges.
func TestAPlayersManyPartsAreOneQuestion(t *testing.T) {
	s := open(t)
	synctest.Test(t, func(t *testing.T) {
		for i, want := range []int{1, 1, 1, 2} {
			if i == 3 {
				time.Sleep(20 * time.Second)
			}
			if _, err := s.Clip(t.Context(), "cam", at(0), at(60), ""); err != nil || s.nvr.questions != want {
				t.Errorf("after %d parts the recorder was asked %d times, want %d: %v", i+1, s.nvr.questions, want, err)
			}
		}
	})
}

// TestASlowRecorderLeavesTimeForOurOwn takes out within a time which the recorder lets pass.
func TestASlowRecorderLeavesTimeForOurOwn(t *testing.T) {
	s := open(t)
	f, err := footage.Open(t.Context(), s.db, footage.Config{Own: gateway{s.own}, Recorders: &waiting{nvr: s.nvr}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	e, err := f.Export(ctx, footage.Order{Camera: "cam", From: at(0), To: at(60)}, note(nil))
	if err != nil || len(e.Parts) != 1 || len(e.Missing) != 1 || e.Missing[0].Recorder == nil {
		t.Errorf("%+v, %v", e, err)
	}
}

// waiting is a recorder that sends nothing.
type waiting struct{ *nvr }

func (w *waiting) Clip(ctx context.Context, _ string, _, _ time.Time) (footage.Fetched, error) {
	<-ctx.Done()
	return footage.Fetched{}, context.Cause(ctx)
}

func (w *waiting) Take(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, footage.Taken, error) {
	f, err := w.Clip(ctx, camera, from, to)
	return f, footage.Taken{}, err
}

func (w *waiting) Play(ctx context.Context, camera string, from, to time.Time) (*recording.Player, error) {
	_, err := w.Clip(ctx, camera, from, to)
	return nil, err
}
