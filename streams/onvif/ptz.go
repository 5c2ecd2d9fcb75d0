package onvif

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
)

// Vector is a direction, or a way: right, up and in are positive. Each part is
// from -1 to 1, the whole of what the camera can do.
type Vector struct {
	Pan  float64 `json:"pan"`
	Tilt float64 `json:"tilt"`
	Zoom float64 `json:"zoom"`
}

// Check says which part is out of bounds.
func (v Vector) Check() error {
	var ps devices.Problems
	for _, part := range []struct {
		field string
		value float64
	}{{"pan", v.Pan}, {"tilt", v.Tilt}, {"zoom", v.Zoom}} {
		if math.IsNaN(part.value) || math.Abs(part.value) > 1 {
			ps.Add(devices.Invalid(part.field, "out_of_range", "须在 -1 与 1 之间", "give a number from -1 to 1"))
		}
	}
	return ps.Err()
}

// Preset 预置位 is a place that the camera remembers.
type Preset struct {
	Token string `json:"token"`
	Name  string `json:"name"`
}

const mostPresets = 300

// Steer gives the token of the profile by which a video source is steered, "" of
// any. It returns a Problem of code onvif_unsupported where that cannot be.
func (c *Client) Steer(ctx context.Context, source string) (profile string, err error) {
	if _, err := c.service(ctx, nsPTZ); err != nil {
		return "", err
	}
	list, err := c.Profiles(ctx)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(list, func(p Profile) bool { return p.PTZ && (source == "" || p.Source == source) })
	if at < 0 {
		return "", unsupported()
	}
	return list[at].Token, nil
}

// Move turns the camera until it is told to stop, at most for a while: that
// bound is the camera's own, in case nobody reaches it any more.
func (c *Client) Move(ctx context.Context, profile string, v Vector, most time.Duration) error {
	if err := v.Check(); err != nil {
		return err
	}
	_, err := c.steer(ctx, `<w:ContinuousMove><w:ProfileToken>`+escape(profile)+`</w:ProfileToken><w:Velocity>`+v.xml()+
		fmt.Sprintf(`</w:Velocity><w:Timeout>PT%dS</w:Timeout></w:ContinuousMove>`, int(math.Ceil(max(most, time.Second).Seconds()))))
	return err
}

// Nudge turns the camera by a way from where it looks.
func (c *Client) Nudge(ctx context.Context, profile string, v Vector) error {
	if err := v.Check(); err != nil {
		return err
	}
	_, err := c.steer(ctx, `<w:RelativeMove><w:ProfileToken>`+escape(profile)+`</w:ProfileToken><w:Translation>`+v.xml()+`</w:Translation></w:RelativeMove>`)
	return err
}

// Stop ends every movement.
func (c *Client) Stop(ctx context.Context, profile string) error {
	_, err := c.steer(ctx, `<w:Stop><w:ProfileToken>`+escape(profile)+`</w:ProfileToken><w:PanTilt>true</w:PanTilt><w:Zoom>true</w:Zoom></w:Stop>`)
	return err
}

// Presets lists what the camera remembers.
func (c *Client) Presets(ctx context.Context, profile string) ([]Preset, error) {
	answer, err := c.steer(ctx, `<w:GetPresets><w:ProfileToken>`+escape(profile)+`</w:ProfileToken></w:GetPresets>`)
	if err != nil {
		return nil, err
	}
	list := []Preset{}
	for _, e := range answer.all("Preset") {
		if p := (Preset{Token: e.attr("token"), Name: e.value("Name")}); p.Token != "" && len(list) < mostPresets {
			list = append(list, p)
		}
	}
	return list, nil
}

// GoTo turns the camera to a preset.
func (c *Client) GoTo(ctx context.Context, profile, preset string) error {
	_, err := c.steer(ctx, `<w:GotoPreset><w:ProfileToken>`+escape(profile)+`</w:ProfileToken><w:PresetToken>`+escape(preset)+`</w:PresetToken></w:GotoPreset>`)
	return err
}

// SetPreset has the camera remember where it looks, in place of a preset or as a
// new one where token is "". It gives the token.
func (c *Client) SetPreset(ctx context.Context, profile, token, name string) (string, error) {
	body := `<w:SetPreset><w:ProfileToken>` + escape(profile) + `</w:ProfileToken><w:PresetName>` + escape(name) + `</w:PresetName>`
	if token != "" {
		body += `<w:PresetToken>` + escape(token) + `</w:PresetToken>`
	}
	answer, err := c.steer(ctx, body+`</w:SetPreset>`)
	if err != nil {
		return "", err
	}
	if given := answer.value("PresetToken"); given != "" {
		return given, nil
	}
	return token, nil
}

// RemovePreset has the camera forget one.
func (c *Client) RemovePreset(ctx context.Context, profile, preset string) error {
	_, err := c.steer(ctx, `<w:RemovePreset><w:ProfileToken>`+escape(profile)+`</w:ProfileToken><w:PresetToken>`+escape(preset)+`</w:PresetToken></w:RemovePreset>`)
	return err
}

// steer calls the PTZ service.
func (c *Client) steer(ctx context.Context, body string) (*element, error) {
	at, err := c.service(ctx, nsPTZ)
	if err != nil {
		return nil, err
	}
	return c.call(ctx, request{to: at, space: nsPTZ, body: body})
}

// xml writes the parts of a vector. A part that is 0 is left out where the other
// is not: a dome without zoom refuses a request that names it.
func (v Vector) xml() string {
	var b strings.Builder
	number := func(f float64) string { return strconv.FormatFloat(f, 'f', 3, 64) }
	if v.Pan != 0 || v.Tilt != 0 || v.Zoom == 0 {
		b.WriteString(`<tt:PanTilt x="` + number(v.Pan) + `" y="` + number(v.Tilt) + `"/>`)
	}
	if v.Zoom != 0 {
		b.WriteString(`<tt:Zoom x="` + number(v.Zoom) + `"/>`)
	}
	return b.String()
}
