package onvif

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
)

// Profile is one of a camera's streams as it is set up.
type Profile struct {
	Token  string  `json:"token"`
	Name   string  `json:"name"`
	Source string  `json:"source"` // token of the video source, the channel of a recorder
	Codec  string  `json:"codec"`  // H264, H265, JPEG, as Media 2 writes them
	Width  int     `json:"width"`
	Height int     `json:"height"`
	Rate   float64 `json:"rate"` // pictures a second, at most
	PTZ    bool    `json:"ptz"`  // it can be steered by this profile
}

func (p *Profile) size() int { return p.Width * p.Height }

// Channel is what one eye of a device sees: a camera has one, a recorder many.
type Channel struct {
	Source   string    `json:"source"`
	Name     string    `json:"name"`
	Profiles []Profile `json:"profiles"`
	Main     string    `json:"main"` // token of the largest H.264 or H.265 profile, else the largest of all
	Sub      string    `json:"sub"`  // token of the smallest H.264 profile besides; "" if there is none
	URL      string    `json:"url"`  // of the main stream
	SubURL   string    `json:"sub_url"`
	StillURL string    `json:"still_url"` // "" if the camera offers none
	PTZ      bool      `json:"ptz"`
	Moved    []string  `json:"moved"` // hosts that the camera named in place of its own
}

// Most that is taken of a device.
const (
	mostProfiles = 512
	mostChannels = 128
)

// media gives the address and namespace of the better media service.
func (c *Client) media(ctx context.Context) (at, space string, err error) {
	places, err := c.services(ctx)
	if err != nil {
		return "", "", err
	}
	for _, space := range []string{nsMedia2, nsMedia} {
		if places[space] != "" {
			return places[space], space, nil
		}
	}
	return "", "", unsupported()
}

// Profiles asks for the streams that are set up. Media 2 is preferred: only it
// names H.265.
func (c *Client) Profiles(ctx context.Context) ([]Profile, error) {
	at, space, err := c.media(ctx)
	if err != nil {
		return nil, err
	}
	body := `<w:GetProfiles/>`
	if space == nsMedia2 {
		body = `<w:GetProfiles><w:Type>All</w:Type></w:GetProfiles>`
	}
	answer, err := c.call(ctx, request{to: at, space: space, body: body})
	if err != nil && space == nsMedia2 && declined(err) && c.forgo(nsMedia2) {
		return c.Profiles(ctx)
	}
	if err != nil {
		return nil, err
	}
	var list []Profile
	for _, e := range answer.all("Profiles") {
		if p := profileOf(e); p.Token != "" && len(list) < mostProfiles {
			list = append(list, p)
		}
	}
	return list, nil
}

// forgo drops a service that the camera names and does not have; false where
// there is nothing in its place.
func (c *Client) forgo(space string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.places, space)
	return c.places[nsMedia] != ""
}

// profileOf reads a profile of Media 1 or of Media 2.
func profileOf(e *element) Profile {
	part := func(names ...string) *element {
		for _, name := range names {
			if c := e.at(name); c != nil {
				return c
			}
			if c := e.at("Configurations", name); c != nil {
				return c
			}
		}
		return nil
	}
	encoder, source := part("VideoEncoderConfiguration", "VideoEncoder"), part("VideoSourceConfiguration", "VideoSource")
	p := Profile{
		Token: e.attr("token"), Name: e.value("Name"), Source: source.value("SourceToken"),
		Codec: strings.ToUpper(encoder.value("Encoding")), PTZ: part("PTZConfiguration", "PTZ") != nil,
	}
	p.Width, p.Height = whole(encoder.value("Resolution", "Width")), whole(encoder.value("Resolution", "Height"))
	if rate, err := strconv.ParseFloat(encoder.value("RateControl", "FrameRateLimit"), 64); err == nil && rate > 0 && rate <= 1000 {
		p.Rate = rate
	}
	if p.Codec == "H265" || p.Codec == "HEVC" {
		p.Codec = "H265"
	}
	return p
}

// whole reads a number of pixels.
func whole(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<15 {
		return 0
	}
	return n
}

// StreamURL gives the pinned RTSP address of a profile.
func (c *Client) StreamURL(ctx context.Context, profile string) (string, error) {
	at, space, err := c.media(ctx)
	if err != nil {
		return "", err
	}
	body := `<w:GetStreamUri><w:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport></w:StreamSetup><w:ProfileToken>` + escape(profile) + `</w:ProfileToken></w:GetStreamUri>`
	if space == nsMedia2 {
		body = `<w:GetStreamUri><w:Protocol>RTSP</w:Protocol><w:ProfileToken>` + escape(profile) + `</w:ProfileToken></w:GetStreamUri>`
	}
	answer, err := c.call(ctx, request{to: at, space: space, body: body})
	if err != nil {
		return "", err
	}
	if url := c.pin(answer.find("Uri").value(), "rtsp", "rtsps"); url != "" {
		return url, nil
	}
	return "", unsupported()
}

// StillURL gives the pinned address of a profile's still picture.
func (c *Client) StillURL(ctx context.Context, profile string) (string, error) {
	at, space, err := c.media(ctx)
	if err != nil {
		return "", err
	}
	answer, err := c.call(ctx, request{to: at, space: space, body: `<w:GetSnapshotUri><w:ProfileToken>` + escape(profile) + `</w:ProfileToken></w:GetSnapshotUri>`})
	if err != nil {
		return "", err
	}
	if url := c.pin(answer.find("Uri").value(), "http", "https"); url != "" {
		return url, nil
	}
	return "", unsupported()
}

// Channels gives the device's eyes with the streams chosen for them.
func (c *Client) Channels(ctx context.Context) ([]Channel, error) {
	profiles, err := c.Profiles(ctx)
	if err != nil {
		return nil, err
	}
	list := Choose(profiles)
	for i := range list {
		ch := &list[i]
		if ch.URL, err = c.StreamURL(ctx, ch.Main); err != nil {
			return nil, err
		}
		if ch.Sub != "" {
			if ch.SubURL, err = c.StreamURL(ctx, ch.Sub); err != nil && !declined(err) {
				return nil, err
			}
		}
		if ch.SubURL == ch.URL {
			ch.Sub, ch.SubURL = "", ""
		}
		if ch.StillURL, err = c.StillURL(ctx, ch.Main); err != nil && !answered(err) {
			return nil, err
		}
		ch.Moved = c.takeMoved()
	}
	return list, nil
}

// takeMoved gives the foreign hosts that were named since it was last asked.
func (c *Client) takeMoved() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]string, 0, len(c.moved))
	for host := range c.moved {
		list = append(list, host)
	}
	clear(c.moved)
	slices.Sort(list)
	return list
}

// Choose groups profiles by their video source, in the order of the first of
// each, and chooses the streams: main is the largest in H.264 or H.265, sub the
// smallest in H.264.
func Choose(profiles []Profile) []Channel {
	var list []Channel
	for _, p := range profiles {
		if p.Codec == "" { // of sound or metadata
			continue
		}
		at := slices.IndexFunc(list, func(c Channel) bool { return c.Source == p.Source })
		if at < 0 {
			if len(list) == mostChannels {
				continue
			}
			list, at = append(list, Channel{Source: p.Source, Name: p.Name}), len(list)
		}
		list[at].Profiles = append(list[at].Profiles, p)
	}
	for i := range list {
		list[i].choose()
	}
	return list
}

func (ch *Channel) choose() {
	bySize := slices.Clone(ch.Profiles)
	slices.SortStableFunc(bySize, func(a, b Profile) int {
		return cmp.Or(cmp.Compare(rank(&b), rank(&a)), cmp.Compare(b.size(), a.size()))
	})
	main := bySize[0]
	ch.Main, ch.Name, ch.PTZ = main.Token, main.Name, slices.ContainsFunc(ch.Profiles, func(p Profile) bool { return p.PTZ })
	slices.SortStableFunc(bySize, func(a, b Profile) int { return cmp.Compare(a.size(), b.size()) })
	for _, p := range bySize {
		if p.Codec == "H264" && p.Token != main.Token {
			ch.Sub = p.Token
			break
		}
	}
}

// rank prefers what is pulled well.
func rank(p *Profile) int {
	if p.Codec == "H264" || p.Codec == "H265" {
		return 1
	}
	return 0
}
