package recorders

import (
	"context"
	"errors"
	"net/url"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
	"offsite/streams/rtsp"
)

// How long what a recorder has said is believed.
const (
	placeLasts  = 10 * time.Minute
	faultLasts  = 30 * time.Second
	refuseLasts = time.Hour // of a password, lest asking again lock the account
	askTime     = 8 * time.Second
	mostHolding = 31 * 24 * time.Hour
	clockLasts  = time.Hour      // that an offset is gone by where it cannot be asked for again
	mostAhead   = 24 * time.Hour // that a clock is followed
)

// place is where a camera's past is.
type place struct {
	camera    devices.Camera // as it was registered then
	until     time.Time
	recording *onvif.Recording // nil: the entry names the address
	url       string           // of ONVIF replay
	clock     *onvif.Clock     // the recorder's beside ours; nil: not known
	err       error            // why there is none
}

// Skew is how the clock of a recorder stands against the gateway's.
type Skew struct {
	Offset *time.Duration // that it is ahead; nil: not known
	Asked  time.Time      // when that was asked; zero where it is not known
	Shift  time.Duration  // that the recorder's times are less here than by its clock; zero: they are its own
}

// skew says by how much times are shifted. A clock that may well be right is not followed, nor one that
// cannot be meant.
func (p *place) skew() Skew {
	if p.clock == nil {
		return Skew{}
	}
	s := Skew{Offset: &p.clock.Offset, Asked: p.clock.At.UTC().Truncate(time.Millisecond)}
	if ahead := p.clock.Offset.Abs(); ahead > p.clock.Within && ahead <= mostAhead {
		s.Shift = p.clock.Offset.Round(time.Millisecond)
		if p.recording == nil {
			s.Shift = p.clock.Offset.Round(time.Second) // as exact as its address is
		}
	}
	return s
}

// Holding is what a recorder keeps of a camera.
type Holding struct {
	Host      string          // of the recorder
	Known     bool            // else it does not tell what it keeps: it may be asked for all
	Stretches []onvif.Stretch // oldest first
	Skew
}

// Holding tells what the camera's recorder keeps of [from, to), at most 31 days. It
// returns ErrNotFound, code "no_recorder", for a camera without one.
func (r *Recorders) Holding(ctx context.Context, camera string, from, to time.Time) (*Holding, error) {
	if !to.After(from) || to.Sub(from) > mostHolding {
		return nil, devices.Invalid("to", "out_of_range", "时段须为 31 天以内", "ask for an interval of at most 31 days")
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	at, err := r.place(ctx, camera)
	if err != nil {
		return nil, err
	}
	h := &Holding{Host: hostOf(at.camera.URL), Skew: at.skew(), Known: at.recording != nil}
	if at.recording == nil {
		return h, nil
	}
	client, err := r.client(&at.camera)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if h.Stretches, err = client.Kept(ctx, *at.recording, from.Add(h.Shift), to.Add(h.Shift)); err != nil {
		r.forget(camera, err)
		return nil, err
	}
	for i, s := range h.Stretches {
		h.Stretches[i] = onvif.Stretch{From: s.From.Add(-h.Shift), To: s.To.Add(-h.Shift)}
	}
	return h, nil
}

// place finds out where a camera's past is; what was found is believed for a while.
func (r *Recorders) place(ctx context.Context, camera string) (*place, error) {
	cam := r.cfg.Camera(camera)
	if cam == nil || (cam.ReplayURL == "" && cam.ONVIF == "") {
		return nil, noRecorder()
	}
	now := time.Now()
	r.mu.Lock()
	known := r.asked[camera]
	r.mu.Unlock()
	if known != nil && now.Before(known.until) && known.camera.Version == cam.Version {
		return known, known.err
	}
	at := &place{camera: *cam, until: now.Add(placeLasts)}
	if at.err = r.find(ctx, at); at.err != nil {
		if ctx.Err() != nil && errors.Is(at.err, context.Canceled) {
			return nil, at.err // who asked has left; the recorder has said nothing
		}
		at.until = now.Add(lasts(at.err))
	}
	if at.clock == nil && known != nil && known.camera.Version == cam.Version && known.clock != nil && now.Sub(known.clock.At) < clockLasts {
		at.clock = known.clock
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[camera] = at
	return at, at.err
}

// forget has the recorder asked again, but not at once.
func (r *Recorders) forget(camera string, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at := r.asked[camera]; at != nil {
		again := *at
		again.until, again.err = time.Now().Add(lasts(why)), why
		r.asked[camera] = &again
	}
}

// lasts is how long a failure stands.
func lasts(why error) time.Duration {
	var p *devices.Problem
	switch {
	case errors.Is(why, devices.ErrNotFound):
		return placeLasts
	case errors.As(why, &p) && (p.Code == onvif.CodePassword || p.Code == rtsp.CodePassword):
		return refuseLasts
	}
	return faultLasts
}

// find asks the recorder. A camera whose device keeps nothing has none.
func (r *Recorders) find(ctx context.Context, at *place) error {
	if at.camera.ONVIF == "" {
		return nil
	}
	client, err := r.client(&at.camera)
	if err != nil {
		return err
	}
	defer client.Close()
	clock, err := client.Clock(ctx)
	if err == nil {
		at.clock = &clock
	}
	if at.camera.ReplayURL != "" {
		return nil // the clock is good to know, but not needed
	}
	if err != nil {
		return err
	}
	offers, err := client.Offers(ctx)
	if err != nil {
		return err
	}
	if !offers.Replay {
		return noRecorder()
	}
	list, err := client.Recordings(ctx)
	if p := new(devices.Problem); errors.As(err, &p) && p.Code == onvif.CodeUnknown {
		return noRecorder() // it names the service and does not have it
	}
	if err != nil {
		return err
	}
	profiles, err := client.Profiles(ctx)
	if err != nil {
		return err
	}
	var places []string
	for _, ch := range onvif.Choose(profiles) {
		places = append(places, ch.Source)
	}
	if at.recording = onvif.RecordingOf(list, at.camera.Source, places); at.recording == nil {
		return noRecorder()
	}
	at.url, err = client.ReplayURL(ctx, at.recording.Token)
	return err
}

func (r *Recorders) client(c *devices.Camera) (*onvif.Client, error) {
	return onvif.Open(onvif.Access{URL: c.ONVIF, Username: c.Username, Password: c.Password, Fingerprint: c.Fingerprint}, r.cfg.ONVIF)
}

// source gives the camera as its past is pulled, and whether it is asked for by time; from and
// to are the recorder's.
func (p *place) source(from, to time.Time) (cam devices.Camera, clock bool) {
	cam = p.camera
	cam.SubURL, cam.Transport = "", ""
	if p.recording != nil {
		cam.URL = p.url
		return cam, true
	}
	cam.URL = p.camera.ReplayAddress(from, to)
	return cam, false
}

func noRecorder() *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "no_recorder",
		ZH: "该摄像机没有可回放的录像机；请填写其 ONVIF 地址（录像机须支持 Profile G）或回放地址 replay_url", EN: "this camera has no recorder that plays its past; give it the ONVIF address of one with Profile G, or an address for replay (replay_url)",
	}
}

// hostOf is the host of an address.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil { // registered ones are checked
		return ""
	}
	return u.Hostname()
}
