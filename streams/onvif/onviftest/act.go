package onviftest

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// act carries a request out and gives the content of its answer.
func (d *Device) act(r *http.Request, action string, q, envelope *node) (string, *fault) {
	media2 := q.XMLName.Space == "http://www.onvif.org/ver20/media/wsdl"
	if media2 && d.cfg.BrokenMedia2 {
		return "", notSupported
	}
	switch action {
	case "GetSystemDateAndTime":
		return d.clock(), nil
	case "GetDeviceInformation":
		return `<tds:GetDeviceInformationResponse><tds:Manufacturer>Example</tds:Manufacturer><tds:Model>DOME-1</tds:Model><tds:FirmwareVersion>5.7</tds:FirmwareVersion><tds:SerialNumber>SN123</tds:SerialNumber><tds:HardwareId>1</tds:HardwareId></tds:GetDeviceInformationResponse>`, nil
	case "GetServices":
		if d.cfg.Old {
			return "", notSupported
		}
		return d.services(), nil
	case "GetCapabilities":
		return d.capabilities(), nil
	case "GetProfiles":
		return d.profiles(media2), nil
	case "GetStreamUri":
		return d.stream(q.text("ProfileToken"), media2)
	case "GetSnapshotUri":
		return d.still(q.text("ProfileToken"))
	case "CreatePullPointSubscription":
		return d.subscribe(), nil
	case "PullMessages":
		return d.pull(r, q, envelope)
	case "Renew", "Unsubscribe":
		return d.keep(r, action, envelope)
	case "FindRecordings", "FindEvents", "GetRecordingSearchResults", "GetEventSearchResults", "EndSearch", "GetReplayUri":
		if d.cfg.Recordings == nil {
			return "", notSupported
		}
		return d.past(action, q)
	}
	if d.cfg.NoPTZ {
		return "", notSupported
	}
	return d.steer(action, q)
}

func (d *Device) clock() string {
	t := time.Now().Add(d.cfg.Ahead).UTC()
	return fmt.Sprintf(`<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings><tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone><tt:UTCDateTime><tt:Time><tt:Hour>%d</tt:Hour><tt:Minute>%d</tt:Minute><tt:Second>%d</tt:Second></tt:Time><tt:Date><tt:Year>%d</tt:Year><tt:Month>%d</tt:Month><tt:Day>%d</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>`,
		t.Hour(), t.Minute(), t.Second(), t.Year(), int(t.Month()), t.Day())
}

func (d *Device) services() string {
	var b strings.Builder
	add := func(space, name string) {
		fmt.Fprintf(&b, `<tds:Service><tds:Namespace>%s</tds:Namespace><tds:XAddr>%s</tds:XAddr><tds:Version><tt:Major>2</tt:Major><tt:Minor>5</tt:Minor></tds:Version></tds:Service>`, space, d.service(name))
	}
	add("http://www.onvif.org/ver10/device/wsdl", "device_service")
	add("http://www.onvif.org/ver10/media/wsdl", "media")
	add("http://www.onvif.org/ver10/events/wsdl", "events")
	if d.cfg.Media2 || d.cfg.BrokenMedia2 {
		add("http://www.onvif.org/ver20/media/wsdl", "media2")
	}
	if !d.cfg.NoPTZ {
		add("http://www.onvif.org/ver20/ptz/wsdl", "ptz")
	}
	if d.cfg.Recordings != nil {
		add("http://www.onvif.org/ver10/search/wsdl", "search")
		add("http://www.onvif.org/ver10/replay/wsdl", "replay")
	}
	return `<tds:GetServicesResponse>` + b.String() + `</tds:GetServicesResponse>`
}

func (d *Device) capabilities() string {
	one := func(name string) string {
		return fmt.Sprintf(`<tt:%s><tt:XAddr>%s</tt:XAddr></tt:%[1]s>`, name, d.service(strings.ToLower(name)))
	}
	list := one("Device") + one("Events") + one("Media")
	if !d.cfg.NoPTZ {
		list += one("PTZ")
	}
	if d.cfg.Recordings != nil {
		list += `<tt:Extension>` + one("Search") + one("Replay") + `</tt:Extension>`
	}
	return `<tds:GetCapabilitiesResponse><tds:Capabilities>` + list + `</tds:Capabilities></tds:GetCapabilitiesResponse>`
}

func (d *Device) profiles(media2 bool) string {
	var b strings.Builder
	for _, p := range d.cfg.Profiles {
		encoder := fmt.Sprintf(`<tt:Encoding>%s</tt:Encoding><tt:Resolution><tt:Width>%d</tt:Width><tt:Height>%d</tt:Height></tt:Resolution><tt:RateControl><tt:FrameRateLimit>%d</tt:FrameRateLimit></tt:RateControl>`, p.Codec, p.Width, p.Height, p.Rate)
		source := `<tt:SourceToken>` + p.Source + `</tt:SourceToken>`
		if media2 {
			steered := ""
			if p.PTZ && !d.cfg.NoPTZ {
				steered = `<tr2:PTZ token="ptz"/>`
			}
			fmt.Fprintf(&b, `<tr2:Profiles token="%s"><tr2:Name>%s</tr2:Name><tr2:Configurations><tr2:VideoSource>%s</tr2:VideoSource><tr2:VideoEncoder>%s</tr2:VideoEncoder>%s</tr2:Configurations></tr2:Profiles>`, p.Token, p.Name, source, encoder, steered)
			continue
		}
		steered := ""
		if p.PTZ && !d.cfg.NoPTZ {
			steered = `<tt:PTZConfiguration token="ptz"/>`
		}
		fmt.Fprintf(&b, `<trt:Profiles token="%s"><tt:Name>%s</tt:Name><tt:VideoSourceConfiguration>%s</tt:VideoSourceConfiguration><tt:VideoEncoderConfiguration>%s</tt:VideoEncoderConfiguration>%s</trt:Profiles>`, p.Token, p.Name, source, encoder, steered)
	}
	if media2 {
		return `<tr2:GetProfilesResponse>` + b.String() + `</tr2:GetProfilesResponse>`
	}
	return `<trt:GetProfilesResponse>` + b.String() + `</trt:GetProfilesResponse>`
}

func (d *Device) stream(token string, media2 bool) (string, *fault) {
	for _, p := range d.cfg.Profiles {
		if p.Token != token {
			continue
		}
		uri := fmt.Sprintf("rtsp://%s%s", d.host(d.cfg.RTSP), p.Stream)
		if media2 {
			return `<tr2:GetStreamUriResponse><tr2:Uri>` + uri + `</tr2:Uri></tr2:GetStreamUriResponse>`, nil
		}
		return `<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>` + uri + `</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect></trt:MediaUri></trt:GetStreamUriResponse>`, nil
	}
	return "", &fault{"s:Sender", "ter:NoProfile", "no such profile"}
}

func (d *Device) still(token string) (string, *fault) {
	if d.cfg.NoStill {
		return "", notSupported
	}
	return `<trt:GetSnapshotUriResponse><trt:MediaUri><tt:Uri>http://user:secret@` + d.host(d.Port()) + `/snap.jpg?profile=` + token + `</tt:Uri></trt:MediaUri></trt:GetSnapshotUriResponse>`, nil
}

// steer carries out what moves.
func (d *Device) steer(action string, q *node) (string, *fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	done := `<tptz:` + action + `Response/>`
	switch action {
	case "ContinuousMove":
		d.velocity, d.looks, d.stopAt = [3]float64{q.number("PanTilt", "x"), q.number("PanTilt", "y"), q.number("Zoom", "x")}, "", time.Time{}
		if seconds, err := strconv.Atoi(strings.Trim(q.text("Timeout"), "PTS")); err == nil && !d.cfg.Restless {
			d.stopAt = time.Now().Add(time.Duration(seconds) * time.Second)
		}
	case "RelativeMove":
		d.looks = ""
	case "Stop":
		d.velocity, d.stopAt = [3]float64{}, time.Time{}
		d.stops++
	case "GetPresets":
		var b strings.Builder
		for _, p := range d.presets {
			fmt.Fprintf(&b, `<tptz:Preset token="%s"><tt:Name>%s</tt:Name></tptz:Preset>`, p.token, p.name)
		}
		return `<tptz:GetPresetsResponse>` + b.String() + `</tptz:GetPresetsResponse>`, nil
	case "GotoPreset":
		token := q.text("PresetToken")
		if d.presetAt(token) < 0 {
			return "", &fault{"s:Sender", "ter:NoToken", "no such preset"}
		}
		d.looks, d.velocity = token, [3]float64{}
	case "SetPreset":
		return d.setPreset(q.text("PresetToken"), q.text("PresetName"))
	case "RemovePreset":
		at := d.presetAt(q.text("PresetToken"))
		if at < 0 {
			return "", &fault{"s:Sender", "ter:NoToken", "no such preset"}
		}
		d.presets = append(d.presets[:at:at], d.presets[at+1:]...)
	default:
		return "", notSupported
	}
	return done, nil
}

func (d *Device) presetAt(token string) int {
	for i, p := range d.presets {
		if p.token == token {
			return i
		}
	}
	return -1
}

func (d *Device) setPreset(token, name string) (string, *fault) {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(name)) // a Builder never fails
	if at := d.presetAt(token); at >= 0 {
		d.presets[at].name = b.String()
	} else {
		token = strconv.Itoa(len(d.presets) + 10)
		d.presets = append(d.presets, preset{token, b.String()})
	}
	return `<tptz:SetPresetResponse><tptz:PresetToken>` + token + `</tptz:PresetToken></tptz:SetPresetResponse>`, nil
}

func (d *Device) subscribe() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nextSub++
	id := strconv.Itoa(d.nextSub)
	d.subs[id] = &sub{}
	at, parameters := d.service("subscription?id="+id), ""
	if d.cfg.ReferenceID {
		at, parameters = d.service("subscription"), `<wsa:ReferenceParameters><SubscriptionId xmlns="http://example.com/events">`+id+`</SubscriptionId></wsa:ReferenceParameters>`
	}
	return `<tev:CreatePullPointSubscriptionResponse><tev:SubscriptionReference><wsa:Address>` + at + `</wsa:Address>` + parameters + `</tev:SubscriptionReference></tev:CreatePullPointSubscriptionResponse>`
}

// subOf gives the id of the subscription that a request is about.
func (d *Device) subOf(r *http.Request, envelope *node) string {
	if d.cfg.ReferenceID {
		return envelope.text("SubscriptionId")
	}
	return r.URL.Query().Get("id")
}

func (d *Device) keep(r *http.Request, action string, envelope *node) (string, *fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	id := d.subOf(r, envelope)
	if d.subs[id] == nil {
		return "", noSuch
	}
	if action == "Unsubscribe" {
		delete(d.subs, id)
	}
	return `<wsnt:` + action + `Response/>`, nil
}

// pull waits for an event as long as the request says.
func (d *Device) pull(r *http.Request, q, envelope *node) (string, *fault) {
	seconds, _ := strconv.Atoi(strings.Trim(q.text("Timeout"), "PTS")) // at once where it does not say
	end := time.NewTimer(time.Duration(seconds) * time.Second)
	defer end.Stop()
	for waiting := true; ; {
		d.mu.Lock()
		s, wake := d.subs[d.subOf(r, envelope)], d.wake
		if s == nil {
			d.mu.Unlock()
			return "", noSuch
		}
		if len(s.waiting) > 0 || !waiting {
			list := strings.Join(s.waiting, "")
			s.waiting = nil
			if s.pulls++; s.pulls == d.cfg.Forgetful {
				clear(d.subs)
			}
			d.mu.Unlock()
			return `<tev:PullMessagesResponse>` + list + `</tev:PullMessagesResponse>`, nil
		}
		d.mu.Unlock()
		select {
		case <-wake:
		case <-end.C:
			waiting = false
		case <-r.Context().Done():
			return "", noSuch
		}
	}
}
