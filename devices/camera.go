package devices

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Profile 码流 names one of a camera's streams.
type Profile string

// The profiles of a camera. A wall of pictures shows the sub-stream; one picture
// alone, stills, clips and recordings are of the main stream.
const (
	MainProfile Profile = "main"
	SubProfile  Profile = "sub"
)

// Camera 摄像机 belongs to a site and watches outlets.
type Camera struct {
	ID          string   `json:"id"`
	Site        string   `json:"site"`
	Name        string   `json:"name"`
	URL         string   `json:"url"`               // of the main stream: rtsp(s)://host:port/path, without user and password
	SubURL      string   `json:"sub_url,omitempty"` // of the sub-stream 子码流; empty if there is none
	Username    string   `json:"username,omitempty"`
	Password    Secret   `json:"password,omitempty"`
	Transport   string   `json:"transport,omitempty"`   // tcp (the default) or udp, which falls back to tcp
	Fingerprint string   `json:"fingerprint,omitempty"` // rtsps: SHA-256 of the camera's certificate, hexadecimal; empty: a known authority has signed it
	Pull        string   `json:"pull,omitempty"`        // PullAlways or PullOnDemand; empty: always when it watches an outlet that has limits
	StillURL    string   `json:"still_url,omitempty"`   // http(s) address of the camera's own snapshot
	Record      string   `json:"record,omitempty"`      // RecordAlways or RecordEvents, of the main stream; empty: not at all
	RecordDays  int      `json:"record_days,omitempty"` // that recordings are kept, 1 to 3,650; 0: as the kind of site asks
	Outlets     []string `json:"outlets,omitempty"`     // ids of the outlets it watches
	ONVIF       string   `json:"onvif,omitempty"`       // http(s) address of its ONVIF device service, at the host of URL; empty: it is not steered and tells no events
	Source      string   `json:"source,omitempty"`      // its video source there, the channel of a recorder; empty: the first
	ReplayURL   string   `json:"replay_url,omitempty"`  // of its recorder, with {from:FORM} and {to:FORM} for times; empty: as its ONVIF address tells, if it does
	ReplayZone  string   `json:"replay_zone,omitempty"` // in which these times are written, such as +08:00; empty: UTC
	Alerts      []string `json:"alerts,omitempty"`      // what it recognises that becomes an event, of AlertTypes
	Patrols     []Patrol `json:"patrols,omitempty"`     // ways round its presets
	Meta
}

// Patrol 巡航 is a way round a camera's presets.
type Patrol struct {
	Name  string       `json:"name"`
	Stops []PatrolStop `json:"stops"`
}

// PatrolStop is one place on the way.
type PatrolStop struct {
	Preset string   `json:"preset"` // token
	Dwell  Duration `json:"dwell"`  // time until the next; 3 s to 1 h
}

// AlertTypes are what a camera, or a box beside it, may recognise by itself.
func AlertTypes() []string {
	return []string{"smoke", "fire", "intrusion", "line_crossing", "motion", "tamper"}
}

// When a camera's main stream is pulled. The sub-stream is pulled on demand.
const (
	PullAlways   = "always"
	PullOnDemand = "demand"
)

// What is recorded of a camera.
const (
	RecordAlways = "continuous"
	RecordEvents = "event" // before, during and after each event of an outlet that it watches
)

// mostRecordDays is ten years.
const mostRecordDays = 3650

// Kind is KindCamera.
func (*Camera) Kind() Kind { return KindCamera }

// Key is the id.
func (c *Camera) Key() string { return c.ID }

// In gives the camera as it is pulled in a profile: with the URL of the
// sub-stream for that, where it has one.
func (c Camera) In(p Profile) Camera {
	if p == SubProfile && c.SubURL != "" {
		c.URL, c.SubURL = c.SubURL, ""
	}
	return c
}

// Check tells every fault of the camera's own fields.
func (c *Camera) Check() error {
	var ps Problems
	ps.Add(CheckID("id", c.ID))
	ps.Add(CheckID("site", c.Site))
	ps.Add(checkName(c.Name))
	c.checkStream(&ps, "url", c.URL)
	if c.SubURL != "" {
		c.checkStream(&ps, "sub_url", c.SubURL)
	}
	if c.StillURL != "" {
		ps.Add(checkURL("still_url", c.StillURL, "http", "https"))
	}
	if c.Transport != "" {
		ps.Add(checkOneOf("transport", c.Transport, "tcp", "udp"))
	}
	if c.Pull != "" {
		ps.Add(checkOneOf("pull", c.Pull, PullAlways, PullOnDemand))
	}
	if c.Record != "" {
		ps.Add(checkOneOf("record", c.Record, RecordAlways, RecordEvents))
	}
	if c.RecordDays < 0 || c.RecordDays > mostRecordDays {
		ps.Add(Invalid("record_days", "out_of_range", "录像保存天数须在 1 与 3650 之间；不填则按场所类别", "keep recordings for 1 to 3650 days; leave it out to keep them as the kind of site asks"))
	}
	if _, ok := ReadFingerprint(c.Fingerprint); c.Fingerprint != "" && !ok {
		ps.Add(badFingerprint("fingerprint"))
	}
	for i, o := range c.Outlets {
		ps.Add(CheckID(fmt.Sprintf("outlets[%d]", i), o))
	}
	c.checkControl(&ps)
	c.checkReplay(&ps)
	return ps.Err()
}

// Bounds of what a camera's entry says of steering.
const (
	mostPatrols = 8
	mostStops   = 32
	leastDwell  = 3 * time.Second
	mostDwell   = time.Hour
)

// checkControl tells what is wrong with ONVIF, alerts and patrols.
func (c *Camera) checkControl(ps *Problems) {
	if c.ONVIF != "" {
		p := checkURL("onvif", c.ONVIF, "http", "https")
		ps.Add(p)
		if p == nil && !sameHost(c.ONVIF, c.URL) { // the password is meant for one host
			ps.Add(Invalid("onvif", "other_host", "ONVIF 地址须与码流地址在同一主机上，请更正", "the ONVIF address must be at the host of the stream's; correct one of them"))
		}
	}
	if len(c.Source) > 128 {
		ps.Add(Invalid("source", "too_long", "视频源最长 128 字节", "a video source has at most 128 bytes"))
	}
	for i, a := range c.Alerts {
		ps.Add(checkOneOf(fmt.Sprintf("alerts[%d]", i), a, AlertTypes()...))
	}
	if len(c.Patrols) > mostPatrols {
		ps.Add(Invalid("patrols", "too_many", "最多 8 条巡航", "a camera has at most 8 patrols"))
	}
	names := map[string]bool{}
	for i := range c.Patrols {
		c.Patrols[i].check(ps, fmt.Sprintf("patrols[%d].", i))
		if names[c.Patrols[i].Name] {
			ps.Add(Invalid(fmt.Sprintf("patrols[%d].name", i), "repeated", "巡航名称重复，请更换", "another patrol has this name; choose another"))
		}
		names[c.Patrols[i].Name] = true
	}
}

func (p *Patrol) check(ps *Problems, at string) {
	if bad := checkName(p.Name); bad != nil {
		bad.Field = at + "name"
		ps.Add(bad)
	}
	if len(p.Stops) < 2 || len(p.Stops) > mostStops {
		ps.Add(Invalid(at+"stops", "out_of_range", "巡航须有 2 至 32 个预置位", "a patrol has 2 to 32 presets"))
	}
	for i, s := range p.Stops {
		field := fmt.Sprintf("%sstops[%d].", at, i)
		if s.Preset == "" || len(s.Preset) > 128 {
			ps.Add(Invalid(field+"preset", "missing", "请选择预置位", "choose a preset"))
		}
		if d := s.Dwell.D(); d < leastDwell || d > mostDwell {
			ps.Add(Invalid(field+"dwell", "out_of_range", "停留时间须在 3s 与 1h 之间", "stay for 3s to 1h"))
		}
	}
}

// sameHost says that two addresses are at one host, whatever their ports.
func sameHost(x, y string) bool {
	a, err := url.Parse(x)
	b, bad := url.Parse(y)
	return err == nil && bad == nil && strings.EqualFold(a.Hostname(), b.Hostname())
}

// checkStream tells what is wrong with the address of a stream.
func (c *Camera) checkStream(ps *Problems, field, address string) {
	ps.Add(checkURL(field, address, "rtsp", "rtsps"))
	if strings.HasPrefix(address, "rtsps:") && c.Transport == "udp" {
		ps.Add(Invalid("transport", "encrypted_udp", "加密的 rtsps 地址只能用 TCP 传输，请改选 TCP", "an encrypted rtsps address is carried by TCP only; choose TCP"))
	}
}

// replayPlace is where a time stands in a camera's ReplayURL: {from:FORM} or {to:FORM}.
// FORM has YYYY, MM, DD, hh, mm and ss in the places of a time's parts, or is unix.
var replayPlace = regexp.MustCompile(`\{(from|to):([^{}]*)\}`)

// replayForm is what may stand between the parts of a time.
var replayForm = regexp.MustCompile(`^[TZ_.:-]*$`)

// ReplayAddress is the address of what the camera's recorder has kept of an interval; empty
// where its maker's form is not given (ReplayURL).
func (c *Camera) ReplayAddress(from, to time.Time) string {
	zone, _ := readZone(c.ReplayZone) // Check has read it
	return replayPlace.ReplaceAllStringFunc(c.ReplayURL, func(place string) string {
		m := replayPlace.FindStringSubmatch(place)
		at := from
		if m[1] == "to" {
			at = to
		}
		return writeReplayTime(m[2], at.In(zone))
	})
}

func writeReplayTime(form string, at time.Time) string {
	if form == "unix" {
		return strconv.FormatInt(at.Unix(), 10)
	}
	return strings.NewReplacer("YYYY", at.Format("2006"), "MM", at.Format("01"), "DD", at.Format("02"),
		"hh", at.Format("15"), "mm", at.Format("04"), "ss", at.Format("05")).Replace(form)
}

// readZone reads an offset such as +08:00; empty is UTC.
func readZone(text string) (*time.Location, bool) {
	if text == "" {
		return time.UTC, true
	}
	at, err := time.Parse("-07:00", text)
	if err != nil {
		return time.UTC, false
	}
	_, seconds := at.Zone()
	return time.FixedZone(text, seconds), seconds > -24*3600 && seconds < 24*3600
}

// checkReplay tells what is wrong with ReplayURL and ReplayZone.
func (c *Camera) checkReplay(ps *Problems) {
	if _, ok := readZone(c.ReplayZone); !ok {
		ps.Add(Invalid("replay_zone", "bad_zone", "时区须写作 +08:00，不填为 UTC", "write the zone as +08:00; leave it out for UTC"))
	}
	if c.ReplayURL == "" {
		return
	}
	_, rest, _ := strings.Cut(c.ReplayURL, "://")
	if i := strings.IndexAny(rest, "/?#"); strings.Contains(rest[:max(i, 0)], "{") { // else a time would choose the host
		ps.Add(Invalid("replay_url", "bad_place", "主机名中不能含时间", "a time cannot stand in the host"))
		return
	}
	said := map[string]bool{}
	for _, m := range replayPlace.FindAllStringSubmatch(c.ReplayURL, -1) {
		rest := strings.NewReplacer("YYYY", "", "MM", "", "DD", "", "hh", "", "mm", "", "ss", "").Replace(m[2])
		if m[2] != "unix" && (rest == m[2] || !replayForm.MatchString(rest)) {
			ps.Add(Invalid("replay_url", "bad_place", fmt.Sprintf("%s 须写作 {%s:YYYYMMDDThhmmssZ} 之类的形式，或 {%[2]s:unix}", m[0], m[1]), fmt.Sprintf("write %s like {%s:YYYYMMDDThhmmssZ}, or as {%[2]s:unix}", m[0], m[1])))
			return
		}
		said[m[1]] = true
	}
	if !said["from"] {
		ps.Add(Invalid("replay_url", "no_place", "回放地址须含开始时间，如 starttime={from:YYYYMMDDThhmmssZ}", "the address must say where to begin, such as starttime={from:YYYYMMDDThhmmssZ}"))
		return
	}
	address := c.ReplayAddress(time.Unix(0, 0), time.Unix(60, 0))
	if p := checkURL("replay_url", address, "rtsp", "rtsps"); p != nil {
		ps.Add(p)
	} else if _, err := url.Parse(address); err == nil && !sameHost(address, c.URL) { // the password is meant for one host
		ps.Add(Invalid("replay_url", "other_host", "回放地址须与码流地址在同一主机上，请更正", "the address for replay must be at the host of the stream's; correct one of them"))
	}
}
