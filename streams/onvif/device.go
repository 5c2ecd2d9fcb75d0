package onvif

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Clock is the camera's clock beside ours.
type Clock struct {
	At     time.Time     // when it was asked, by ours
	Offset time.Duration // that it is ahead, exact to Within
	Within time.Duration // half of the second in which cameras tell the time, and half of what the answer took
	NTP    bool          // it is set by NTP
}

// Information is what a camera says of itself.
type Information struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Firmware     string `json:"firmware"`
	Serial       string `json:"serial"`
}

// Clock asks for the camera's time. No user is needed for that.
func (c *Client) Clock(ctx context.Context) (Clock, error) {
	began := time.Now()
	answer, err := c.call(ctx, request{to: c.at.String(), space: nsDevice, body: `<w:GetSystemDateAndTime/>`, open: true})
	if err != nil {
		return Clock{}, err
	}
	// The answer was written somewhere between the two, in whole seconds.
	half := time.Since(began) / 2
	middle := began.Add(half)
	utc := answer.find("UTCDateTime")
	at, ok := dateOf(utc)
	if !ok {
		return Clock{}, c.explain(fmt.Errorf("%w: no time in UTC", errGarbled))
	}
	clock := Clock{At: middle, Offset: at.Add(time.Second / 2).Sub(middle), Within: time.Second/2 + half, NTP: answer.find("DateTimeType").value() == "NTP"}
	c.mu.Lock()
	c.clock = &clock
	c.mu.Unlock()
	return clock, nil
}

func dateOf(e *element) (time.Time, bool) {
	part := func(group, name string, low, high int) (int, bool) {
		n, err := strconv.Atoi(e.value(group, name))
		return n, err == nil && n >= low && n <= high
	}
	year, y := part("Date", "Year", 1970, 2200)
	month, m := part("Date", "Month", 1, 12)
	day, d := part("Date", "Day", 1, 31)
	hour, h := part("Time", "Hour", 0, 23)
	minute, n := part("Time", "Minute", 0, 59)
	second, s := part("Time", "Second", 0, 61)
	return time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC), y && m && d && h && n && s
}

// synchronised asks for the clock where that was not done yet. A camera that
// does not tell it is spoken to by ours.
func (c *Client) synchronised(ctx context.Context) error {
	c.mu.Lock()
	known := c.clock != nil
	c.mu.Unlock()
	if known {
		return nil
	}
	if _, err := c.Clock(ctx); err != nil && !answered(err) {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clock == nil {
		c.clock = &Clock{At: time.Now()}
	}
	return nil
}

// Information asks what the camera is.
func (c *Client) Information(ctx context.Context) (Information, error) {
	if err := c.synchronised(ctx); err != nil {
		return Information{}, err
	}
	answer, err := c.call(ctx, request{to: c.at.String(), space: nsDevice, body: `<w:GetDeviceInformation/>`})
	if err != nil {
		return Information{}, err
	}
	return Information{
		Manufacturer: answer.value("Manufacturer"), Model: answer.value("Model"), Firmware: answer.value("FirmwareVersion"), Serial: answer.value("SerialNumber"),
	}, nil
}

// Offers says which services a camera has.
type Offers struct {
	PTZ    bool `json:"ptz"`
	Events bool `json:"events"`
	Replay bool `json:"replay"` // it keeps recordings of its own
}

// Offers asks for the camera's services.
func (c *Client) Offers(ctx context.Context) (Offers, error) {
	places, err := c.services(ctx)
	if err != nil {
		return Offers{}, err
	}
	return Offers{PTZ: places[nsPTZ] != "", Events: places[nsEvents] != "", Replay: places[nsReplay] != ""}, nil
}

// capabilities are the services' names in the answer of older cameras.
var capabilities = map[string]string{nsMedia: "Media", nsPTZ: "PTZ", nsEvents: "Events", nsReplay: "Replay", nsSearch: "Search"}

// services gives the pinned addresses of services by namespace, asked once.
func (c *Client) services(ctx context.Context) (map[string]string, error) {
	c.mu.Lock()
	places := c.places
	c.mu.Unlock()
	if places != nil {
		return places, nil
	}
	if err := c.synchronised(ctx); err != nil {
		return nil, err
	}
	places = map[string]string{}
	answer, err := c.call(ctx, request{to: c.at.String(), space: nsDevice, body: `<w:GetServices><w:IncludeCapability>false</w:IncludeCapability></w:GetServices>`})
	switch {
	case err == nil:
		for _, s := range answer.all("Service") {
			if at := c.pin(s.value("XAddr"), "http", "https"); at != "" {
				places[s.value("Namespace")] = at
			}
		}
	case !declined(err):
		return nil, err
	}
	if len(places) == 0 { // before ONVIF 2.0
		answer, err := c.call(ctx, request{to: c.at.String(), space: nsDevice, body: `<w:GetCapabilities><w:Category>All</w:Category></w:GetCapabilities>`})
		if err != nil {
			return nil, err
		}
		for space, name := range capabilities {
			if at := c.pin(answer.find(name).value("XAddr"), "http", "https"); at != "" {
				places[space] = at
			}
		}
	}
	c.mu.Lock()
	c.places = places
	c.mu.Unlock()
	return places, nil
}

// service gives the address of one, or a Problem of code onvif_unsupported.
func (c *Client) service(ctx context.Context, space string) (string, error) {
	places, err := c.services(ctx)
	if err != nil {
		return "", err
	}
	if places[space] == "" {
		return "", unsupported()
	}
	return places[space], nil
}
