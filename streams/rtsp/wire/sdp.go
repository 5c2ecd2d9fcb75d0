package wire

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
)

// medium is a section of a description (RFC 4566, 5.14).
type medium struct {
	kind    string
	formats []string
	rtpmap  map[string]string // by payload type
	fmtp    map[string]string
	control string
}

// mendSDP gives a description of one video track: the first of H.264, else of
// H.265, else of JPEG. All else that a description may hold is left out; most
// faults of cameras are there (origins and connections without an address,
// sound without its settings, keys that do not exist), and sound is not wanted.
// Without such a track it describes one of no codec.
func mendSDP(body []byte) []byte {
	base, media := readSDP(string(body))
	out := []string{"v=0", "o=- 0 0 IN IP4 0.0.0.0", "s=-", "c=IN IP4 0.0.0.0", "t=0 0"}
	if strings.HasPrefix(base, "rtsp://") || strings.HasPrefix(base, "rtsps://") {
		out = append(out, "a=control:"+base)
	}
	m, format, name := choose(media)
	if m == nil {
		out = append(out, "m=application 0 RTP/AVP 127", "a=rtpmap:127 none/90000")
		return []byte(strings.Join(out, "\r\n") + "\r\n")
	}
	out = append(out, "m=video 0 RTP/AVP "+format, "a=rtpmap:"+format+" "+name+"/90000")
	if f := m.fmtp[format]; f != "" {
		out = append(out, "a=fmtp:"+format+" "+mendFormat(f))
	}
	if m.control != "" && m.control != "*" {
		out = append(out, "a=control:"+m.control)
	}
	return []byte(strings.Join(out, "\r\n") + "\r\n")
}

func readSDP(text string) (base string, media []*medium) {
	var m *medium
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' || r == 0 }) {
		key, value, found := strings.Cut(strings.TrimSpace(line), "=")
		if !found {
			continue
		}
		switch key {
		case "m":
			m = &medium{rtpmap: map[string]string{}, fmtp: map[string]string{}}
			if fields := strings.Fields(value); len(fields) > 3 {
				m.kind, m.formats = fields[0], fields[3:]
			}
			media = append(media, m)
		case "a":
			name, rest, _ := strings.Cut(value, ":")
			rest = strings.TrimSpace(rest)
			switch {
			case name == "control" && m == nil:
				base = rest
			case name == "control":
				m.control = rest
			case m != nil && (name == "rtpmap" || name == "fmtp"):
				format, what, _ := strings.Cut(rest, " ")
				if name == "rtpmap" {
					m.rtpmap[format] = strings.TrimSpace(what)
				} else {
					m.fmtp[format] = strings.TrimSpace(what)
				}
			}
		}
	}
	return base, media
}

// choose gives the track, its payload type and its codec's name.
func choose(media []*medium) (m *medium, format, name string) {
	for _, want := range []string{"H264", "H265", "JPEG"} {
		for _, m := range media {
			if m.kind != "video" {
				continue
			}
			for _, format := range m.formats {
				if m.codec(format) == want {
					return m, format, want
				}
			}
		}
	}
	return nil, "", ""
}

// codec names what is sent as this payload type. A track without a map is known
// by its number (RFC 3551, table 5) or by its settings.
func (m *medium) codec(format string) string {
	name, _, _ := strings.Cut(m.rtpmap[format], "/")
	switch name = strings.ToUpper(name); name {
	case "HEVC":
		return "H265"
	case "":
	default:
		return name
	}
	switch settings := m.fmtp[format]; {
	case format == "26":
		return "JPEG"
	case strings.Contains(settings, "sprop-vps"):
		return "H265"
	case strings.Contains(settings, "sprop-parameter-sets"), strings.Contains(settings, "packetization-mode"):
		return "H264"
	}
	return ""
}

// mendFormat keeps the parameter sets that can be read and a packetisation mode
// that is one; what it is called makes no difference to how it is read (RFC 6184,
// 6.2 and 6.3).
func mendFormat(settings string) string {
	out := []string{"packetization-mode=1"}
	for part := range strings.SplitSeq(settings, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch key {
		case "sprop-parameter-sets", "sprop-vps", "sprop-sps", "sprop-pps":
			if readable(key, value) {
				out = append(out, key+"="+value)
			}
		}
	}
	return strings.Join(out, ";")
}

// readable says whether gortsplib reads this value; it refuses the whole
// description otherwise.
func readable(key, value string) bool {
	for text := range strings.SplitSeq(value, ",") {
		set, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return false
		}
		set = bytes.TrimPrefix(set, []byte{0, 0, 0, 1})
		switch key {
		case "sprop-sps":
			err = new(h265.SPS).Unmarshal(set)
		case "sprop-pps":
			err = new(h265.PPS).Unmarshal(set)
		}
		if err != nil {
			return false
		}
	}
	return true
}
