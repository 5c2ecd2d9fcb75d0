package hls_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"offsite/streams"
	"offsite/streams/hls"
)

// fetch gives one file; the answer must be 200.
func fetch(t *testing.T, url string) (kind string, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %s", url, resp.Status, err, body)
	}
	return resp.Header.Get("Content-Type"), body
}

// media is a media playlist as it is read.
type media struct {
	text       string
	target     float64
	partTarget float64
	holdBack   float64
	sequence   int
	segments   []segment // those that are whole
	open       []part    // of the segment that is being made
	initial    string
}

type segment struct {
	uri      string
	duration float64
	gap      bool
	dated    bool
	parts    []part
}

type part struct {
	uri         string
	duration    float64
	independent bool
}

var attribute = regexp.MustCompile(`([A-Z-]+)=("[^"]*"|[^,]*)`)

func attributes(line string) map[string]string {
	_, list, _ := strings.Cut(line, ":")
	out := map[string]string{}
	for _, m := range attribute.FindAllStringSubmatch(list, -1) {
		out[m[1]] = strings.Trim(m[2], `"`)
	}
	return out
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, ","), 64)
	if err != nil {
		t.Errorf("number %q", s)
	}
	return v
}

// parse reads a media playlist; it knows the tags that are used here and fails on others.
func parse(t *testing.T, text string) media {
	t.Helper()
	m := media{text: text}
	var s segment
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if lines[0] != "#EXTM3U" {
		t.Errorf("begins with %q", lines[0])
	}
	for _, line := range lines[1:] {
		tag, value, _ := strings.Cut(line, ":")
		a := attributes(line)
		switch tag {
		case "#EXT-X-VERSION":
			if number(t, value) < 9 { // EXT-X-SKIP, RFC 8216bis, 8
				t.Errorf("version %s", value)
			}
		case "#EXT-X-TARGETDURATION":
			m.target = number(t, value)
		case "#EXT-X-SERVER-CONTROL":
			if a["CAN-BLOCK-RELOAD"] != "YES" {
				t.Error("cannot block")
			}
			m.holdBack = number(t, a["PART-HOLD-BACK"])
		case "#EXT-X-PART-INF":
			m.partTarget = number(t, a["PART-TARGET"])
		case "#EXT-X-MEDIA-SEQUENCE":
			m.sequence = int(number(t, value))
		case "#EXT-X-MAP":
			m.initial = a["URI"]
		case "#EXT-X-GAP":
			s.gap = true
		case "#EXT-X-PROGRAM-DATE-TIME":
			s.dated = true
		case "#EXT-X-PART":
			s.parts = append(s.parts, part{a["URI"], number(t, a["DURATION"]), a["INDEPENDENT"] == "YES"})
		case "#EXTINF":
			s.duration = number(t, value)
		case "#EXT-X-PRELOAD-HINT":
			if a["TYPE"] != "PART" || a["URI"] == "" {
				t.Errorf("hint %q", line)
			}
			m.open = s.parts
		default:
			if strings.HasPrefix(line, "#") || line == "" {
				t.Errorf("line %q", line)
			}
			s.uri = line
			m.segments = append(m.segments, s)
			s = segment{}
		}
	}
	return m
}

// obeys checks the rules for live Low-Latency HLS: RFC 8216bis 4.4.3 and 4.4.4,
// appendix B, and Apple's HLS authoring specification.
func (m media) obeys(t *testing.T) {
	t.Helper()
	total := 0.0
	for i, s := range m.segments {
		total += s.duration
		if math.Round(s.duration) > m.target {
			t.Errorf("segment of %.3f s, target %.0f", s.duration, m.target)
		}
		if late := len(m.segments)-i <= 2; late && !s.gap && (!s.dated || len(s.parts) == 0) {
			t.Errorf("segment %s has no date or no parts", s.uri)
		}
		m.partsObey(t, s.parts, true)
	}
	m.partsObey(t, m.open, false)
	for _, rule := range []struct {
		name  string
		holds bool
	}{
		{"the playlist is at least three target durations long", total >= 3*m.target},
		{"PART-HOLD-BACK is at least three times the part target", m.holdBack >= 3*m.partTarget-1e-3},
		{"there is an initialisation segment", m.initial != ""},
		{"the part target is short", m.partTarget > 0 && m.partTarget <= 0.5},
	} {
		if !rule.holds {
			t.Errorf("%s: broken by\n%s", rule.name, m.text)
		}
	}
}

func (m media) partsObey(t *testing.T, parts []part, whole bool) {
	t.Helper()
	for i, p := range parts {
		last := whole && i == len(parts)-1
		if p.duration > m.partTarget+1e-4 || (!last && p.duration < 0.85*m.partTarget) {
			t.Errorf("part %d of %d lasts %.4f s, target %.4f", i, len(parts), p.duration, m.partTarget)
		}
		if (i == 0) != p.independent && i == 0 {
			t.Error("a segment does not begin with a key frame")
		}
	}
}

// TestPlaylistsObeyTheRules reads playlists as they grow, of cameras that keep
// time and of such that do not.
func TestPlaylistsObeyTheRules(t *testing.T) {
	demo := clip(t, streams.H264, "../rtsp/rtsptest/demo.h264")
	tests := []struct {
		name   string
		step   time.Duration
		jitter time.Duration
		group  int
	}{
		{"25 a second", 40 * time.Millisecond, 0, 25},
		{"30 a second", time.Second / 30, 0, 30},
		{"12.5 a second", 80 * time.Millisecond, 0, 25},
		{"long groups", 40 * time.Millisecond, 0, 100},
		{"stamps by arrival", 40 * time.Millisecond, 9 * time.Millisecond, 25},
		{"15 a second by arrival", time.Second / 15, 12 * time.Millisecond, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cam := newCamera(demo)
			cam.step, cam.jitter, cam.group = tt.step, tt.jitter, tt.group
			cam.show(4 * tt.group)
			url := serve(t, hls.New(cam.feed, hls.Config{}))
			kind, index := fetch(t, url+"/index.m3u8")
			if kind != "application/vnd.apple.mpegurl" {
				t.Errorf("type %q", kind)
			}
			name := checkIndex(t, string(index))
			var before media
			for range 12 {
				_, text := fetch(t, url+"/"+name)
				now := parse(t, string(text))
				now.obeys(t)
				if before.text != "" && (now.target != before.target || now.partTarget != before.partTarget || now.sequence < before.sequence) {
					t.Errorf("target %v to %v, part target %v to %v, sequence %d to %d", before.target, now.target, before.partTarget, now.partTarget, before.sequence, now.sequence)
				}
				before = now
				next := now.sequence + len(now.segments)
				cam.show(tt.group)
				fetch(t, fmt.Sprintf("%s/%s?_HLS_msn=%d&_HLS_part=0", url, name, next))
			}
			if kind, init := fetch(t, url+"/"+before.initial); kind != "video/mp4" || !strings.Contains(string(init[:16]), "ftyp") {
				t.Errorf("initialisation segment of type %q", kind)
			}
		})
	}
}

// checkIndex checks a multivariant playlist and gives the media playlist that it names.
func checkIndex(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	var variant map[string]string
	for _, line := range lines {
		if strings.HasPrefix(line, "#EXT-X-STREAM-INF:") {
			variant = attributes(line)
		}
	}
	if lines[0] != "#EXTM3U" || !strings.Contains(text, "#EXT-X-INDEPENDENT-SEGMENTS") {
		t.Errorf("multivariant playlist %s", text)
	}
	for _, name := range []string{"BANDWIDTH", "AVERAGE-BANDWIDTH", "CODECS", "RESOLUTION"} {
		if variant[name] == "" {
			t.Errorf("no %s in %s", name, text)
		}
	}
	return lines[len(lines)-1]
}
