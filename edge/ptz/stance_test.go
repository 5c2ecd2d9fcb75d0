package ptz

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/streams/onvif"
)

// TestWhereACameraLooks does one thing after the other; after each the gateway is asked
// where the camera looks, at once and a minute later, and again after a restart.
func TestWhereACameraLooks(t *testing.T) {
	t.Parallel()
	home, astray := Stance{}, Stance{Astray: true}
	preset := func(token string) Stance { return Stance{Place: token} }
	steps := []struct {
		name string
		do   func(p *place) error
		want Stance
		rest bool // nothing moves
	}{
		{"nobody has steered it", func(*place) error { return nil }, home, true},
		{"to a preset", func(p *place) error { return p.GoTo(p.t.Context(), "cam", wang, "3") }, preset("3"), false},
		{"to a preset that it does not have", func(p *place) error {
			p.dome.set(func(d *dome) { d.deaf = true })
			defer p.dome.set(func(d *dome) { d.deaf = false })
			p.refused(p.GoTo(p.t.Context(), "cam", wang, "4"), onvif.CodeRefused)
			return nil
		}, preset("3"), true},
		{"nobody knows whether it has gone", func(p *place) error {
			p.dome.set(func(d *dome) { d.broken = true })
			defer p.dome.set(func(d *dome) { d.broken = false })
			p.refused(p.GoTo(p.t.Context(), "cam", wang, "4"), "onvif_silent")
			return nil
		}, astray, false},
		{"back to a preset", func(p *place) error { return p.GoTo(p.t.Context(), "cam", wang, "3") }, preset("3"), false},
		{"a stop where nothing moves", func(p *place) error { return p.Stop(p.t.Context(), "cam") }, preset("3"), false},
		{"by a way", func(p *place) error { return p.Nudge(p.t.Context(), "cam", wang, onvif.Vector{Pan: 0.1}) }, astray, false},
		{"that becomes a preset", func(p *place) error {
			_, err := p.SetPreset(p.t.Context(), "cam", wang, "", "新")
			return err
		}, preset("9"), false},
		{"a button is held", func(p *place) error { return p.Move(p.t.Context(), "cam", wang, onvif.Vector{Pan: 1}) }, astray, false},
		{"stopped on the way to a preset", func(p *place) error {
			p.good(p.GoTo(p.t.Context(), "cam", wang, "3"))
			time.Sleep(time.Second)
			return p.Stop(p.t.Context(), "cam")
		}, astray, false},
		{"the preset it looks at is removed", func(p *place) error {
			p.good(p.GoTo(p.t.Context(), "cam", wang, "3"))
			return p.RemovePreset(p.t.Context(), "cam", wang, "3")
		}, astray, false},
		{"it shows that it is at home", func(p *place) error {
			time.Sleep(time.Minute)
			p.Home(p.t.Context(), "cam", p.Stance("cam"))
			return nil
		}, home, true},
		{"it has moved since it was seen", func(p *place) error {
			seen := p.Stance("cam")
			time.Sleep(time.Second)
			p.good(p.Nudge(p.t.Context(), "cam", wang, onvif.Vector{Pan: 0.1}))
			p.Home(p.t.Context(), "cam", seen)
			return nil
		}, astray, false},
		{"it is retired", func(p *place) error {
			p.gone.Store(true)
			defer p.gone.Store(false)
			return p.Tidy(p.t.Context())
		}, home, true},
	}
	inRoom(t, func(p *place) {
		for _, step := range steps {
			p.good(step.do(p))
			look := func(when string, moves bool) {
				got, want := p.Stance("cam"), step.want
				got.Since, want.Moves = time.Time{}, moves
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s, %s: %s", step.name, when, diff)
				}
			}
			look("at once", !step.rest)
			time.Sleep(time.Minute)
			look("a minute later", false)
			p.end()
			p.begin()
			look("after a restart", step.want != home || p.Stance("cam").Moves)
			time.Sleep(time.Minute)
			look("a minute after that", false)
		}
		if diff := cmp.Diff([]string{"cam 9", "cam 3"}, p.replaced); diff != "" {
			t.Error(diff)
		}
	})
}

// TestPatrolsOutliveTheGateway stops it in the middle of a patrol, and has the camera's
// entry change while the patrol is under way.
func TestPatrolsOutliveTheGateway(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Patrol(p.t.Context(), "cam", wang, "夜巡"))
		time.Sleep(12 * time.Second)
		p.end()
		time.Sleep(time.Minute)
		p.begin()
		time.Sleep(11 * time.Second)
		p.want("0s go 1", "10s go 2", "1m12s go 1", "1m22s go 2")
		p.good(p.GoTo(p.t.Context(), "cam", li, "7")) // no hold was taken up
		p.end()
		p.begin()
		time.Sleep(time.Hour)
		p.want("0s go 1", "10s go 2", "1m12s go 1", "1m22s go 2", "1m23s go 7")
	})
}

func TestPatrolsFollowTheirEntry(t *testing.T) {
	t.Parallel()
	inRoom(t, func(p *place) {
		p.good(p.Patrol(p.t.Context(), "cam", wang, "夜巡"))
		time.Sleep(time.Second)
		changed := &devices.Camera{ID: "cam", ONVIF: "http://cam/", Name: "新名", Meta: devices.Meta{Version: 2}, Patrols: []devices.Patrol{{
			Name: "夜巡", Stops: []devices.PatrolStop{{Preset: "1", Dwell: devices.Duration(time.Minute)}, {Preset: "8", Dwell: devices.Duration(time.Minute)}},
		}}}
		p.thing.Store(changed)
		time.Sleep(30 * time.Second)
		p.want("0s go 1", "10s go 8")
		gone := *changed
		gone.Patrols = nil
		p.thing.Store(&gone)
		time.Sleep(time.Hour)
		p.want("0s go 1", "10s go 8")
		if st, err := p.State(p.t.Context(), "cam"); err != nil || st.Patrol != "" {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
