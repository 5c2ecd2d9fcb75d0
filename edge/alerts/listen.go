package alerts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
)

// Times of listening.
const (
	leastPause = 2 * time.Second
	mostPause  = 2 * time.Minute
	clockEvery = 10 * time.Minute
	mostDrift  = 5 * time.Second // of a clock that is not told
)

// clocks are how far the cameras' clocks are off, of those that are.
type clocks struct {
	mu   *sync.Mutex
	list map[string]time.Duration
}

func newClocks() clocks { return clocks{new(sync.Mutex), map[string]time.Duration{}} }

// Drift gives a warning where a camera's own clock, as it tells it by ONVIF, is
// off; nil where it is right or unknown.
func (r *Room) Drift(camera string) *devices.Problem {
	r.clocks.mu.Lock()
	defer r.clocks.mu.Unlock()
	off := r.clocks.list[camera]
	if off.Abs() <= mostDrift {
		return nil
	}
	by := off.Round(time.Second)
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "camera_clock",
		ZH: fmt.Sprintf("摄像机的时钟与网关相差 %s，请在摄像机上设置 NTP 校时", by), EN: fmt.Sprintf("the camera's clock is off by %s; set NTP on the camera", by),
	}
}

// listen keeps one listener for each camera that has an ONVIF address.
func (r *Room) listen(ctx context.Context) error {
	wake, stop := r.cfg.Registry.Watch()
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	type listener struct {
		version int64
		cancel  context.CancelFunc
	}
	running := map[string]listener{}
	for {
		cams := r.cfg.Registry.Snapshot().Cameras
		for id, l := range running {
			if cam := cams[id]; cam == nil || cam.ONVIF == "" || cam.Version != l.version {
				l.cancel()
				delete(running, id)
			}
		}
		for id, cam := range cams {
			if _, is := running[id]; is || cam.ONVIF == "" {
				continue
			}
			own, cancel := context.WithCancel(ctx)
			running[id] = listener{cam.Version, cancel}
			thing := *cam
			all.Go(func() {
				defer cancel()
				r.attend(own, thing)
			})
		}
		select {
		case <-wake:
		case <-ctx.Done():
			for _, l := range running {
				l.cancel()
			}
			return context.Cause(ctx)
		}
	}
}

// attend listens to one camera until ctx ends, or for good when it has refused
// the password: whoever edits the camera has it tried again.
func (r *Room) attend(ctx context.Context, cam devices.Camera) {
	defer r.setClock(cam.ID, 0)
	for failures := 0; ; failures++ {
		began := time.Now()
		err := r.hear(ctx, cam)
		if ctx.Err() != nil {
			return
		}
		var p *devices.Problem
		if errors.As(err, &p) && (p.Code == onvif.CodePassword || p.Code == onvif.CodeUnknown) {
			r.cfg.Log.WarnContext(ctx, "camera tells no events; it waits for a person", "camera", cam.ID, "err", err)
			return
		}
		if time.Since(began) > mostPause {
			failures = 0
		}
		pause := min(mostPause, leastPause<<min(failures, 8))
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
	}
}

// hear asks for the camera's clock, again and again, and listens where its
// entry names alerts.
func (r *Room) hear(ctx context.Context, cam devices.Camera) error {
	client, err := onvif.Open(onvif.Access{URL: cam.ONVIF, Username: cam.Username, Password: cam.Password, Fingerprint: cam.Fingerprint}, r.cfg.ONVIF)
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		clock, err := client.Clock(ctx)
		if err != nil {
			return err
		}
		r.setClock(cam.ID, clock.Offset)
		limited, cancel := context.WithTimeout(ctx, clockEvery)
		if len(cam.Alerts) == 0 {
			<-limited.Done()
			err = nil
		} else {
			holds := holding{}
			err = client.Listen(limited, func(e onvif.Event) { r.heard(limited, cam, holds, e) })
		}
		over := limited.Err() != nil
		cancel()
		if ctx.Err() != nil || !over {
			return err
		}
	}
}

func (r *Room) setClock(camera string, off time.Duration) {
	r.clocks.mu.Lock()
	before := r.clocks.list[camera]
	if off == 0 { // right, or nobody asks any more
		delete(r.clocks.list, camera)
	} else {
		r.clocks.list[camera] = off
	}
	r.clocks.mu.Unlock()
	if (before.Abs() > mostDrift) != (off.Abs() > mostDrift) {
		r.cfg.Changed(camera)
	}
}

// mostHolding bounds a holding; no camera has nearly as many rules.
const mostHolding = 256

// holding is what a camera has told to go on since it was last listened to: topic,
// source and rule, with the type that they tell of.
type holding map[[3]string]onvif.Type

// note takes an event in. ends is false where it ends one rule while another of
// the same type goes on.
func (h holding) note(e onvif.Event) (ends bool) {
	rule := [3]string{e.Topic, e.Source, e.Rule}
	switch {
	case e.Once:
	case !e.On:
		delete(h, rule)
	case len(h) < mostHolding:
		h[rule] = e.Type
	}
	return !slices.Contains(slices.Collect(maps.Values(h)), e.Type)
}

// heard tells what the camera's entry asks for. A recorder tells of all its
// channels. What does not hold at the beginning of listening is told, too: it may
// have ended while nobody listened.
func (r *Room) heard(ctx context.Context, cam devices.Camera, holds holding, e onvif.Event) {
	ours := cam.Source == "" || e.Source == "" || e.Source == cam.Source
	if !ours || !slices.Contains(cam.Alerts, string(e.Type)) {
		return
	}
	if ends := holds.note(e); !e.On && !ends {
		return
	}
	if _, err := r.Tell(ctx, Alert{Camera: cam.ID, Type: string(e.Type), At: e.At, On: e.On, Once: e.Once, Heard: true}); err != nil && ctx.Err() == nil {
		r.cfg.Log.WarnContext(ctx, "event of a camera lost", "camera", cam.ID, "err", err)
	}
}
