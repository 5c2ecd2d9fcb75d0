package devices

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

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
