package cameras

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/streams/onvif"
)

// Inspection is what a device says of itself by ONVIF.
type Inspection struct {
	onvif.Information
	onvif.Offers
	ClockOffset time.Duration // that its clock is ahead of ours
	Channels    []onvif.Channel
}

// Find looks for ONVIF devices on the networks of this machine where cameras may
// be.
func (f *Feeds) Find(ctx context.Context, s onvif.Search) ([]onvif.Found, error) {
	s.Allow = f.cfg.Places.Allow
	return onvif.Discover(ctx, s)
}

// Inspect asks the device at the camera's ONVIF address what it is and which
// streams it has, with those chosen that would be registered. Of the camera only
// its access matters.
func (f *Feeds) Inspect(ctx context.Context, cam devices.Camera) (*Inspection, error) {
	client, err := onvif.Open(onvif.Access{URL: cam.ONVIF, Username: cam.Username, Password: cam.Password, Fingerprint: cam.Fingerprint}, f.cfg.ONVIF)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var seen Inspection
	clock, err := client.Clock(ctx)
	if err != nil {
		return nil, err
	}
	seen.ClockOffset = clock.Offset
	if seen.Information, err = client.Information(ctx); err != nil {
		return nil, err
	}
	if seen.Offers, err = client.Offers(ctx); err != nil {
		return nil, err
	}
	seen.Channels, err = client.Channels(ctx)
	return &seen, err
}
