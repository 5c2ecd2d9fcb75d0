package relay

import (
	"strconv"
	"strings"
	"time"

	"offsite/devices"
)

// PushConfig says whereto the platform may have pictures sent, and how many.
type PushConfig struct {
	Hosts    []string         `yaml:"hosts"`    // media servers, see Hosts; empty: pictures go nowhere
	Insecure bool             `yaml:"insecure"` // allow plain rtsp and http off loopback
	Sessions int              `yaml:"sessions"` // most at once; default 4
	Longest  devices.Duration `yaml:"longest"`  // most that one lasts until it is renewed; default 1h
	Upload   BitRate          `yaml:"upload"`   // that all may send together; default 8Mbit/s
}

// PushDefaults are what holds where nothing is configured.
func PushDefaults() PushConfig {
	return PushConfig{Hosts: []string{}, Sessions: 4, Longest: devices.Duration(time.Hour), Upload: 8_000_000}
}

// Validate adds every fault to ps.
func (c *PushConfig) Validate(ps *devices.Problems) {
	if _, err := ReadHosts(c.Hosts); err != nil {
		*ps = append(*ps, devices.AllProblems(err)...)
	}
	if c.Sessions < 0 || c.Sessions > 64 {
		ps.Add(devices.Invalid("platform.push.sessions", "out_of_range", "推流路数上限须在 1 与 64 之间", "allow 1 to 64 streams at once"))
	}
	if d := c.Longest.D(); d != 0 && d < 10*time.Second || d > 24*time.Hour {
		ps.Add(devices.Invalid("platform.push.longest", "out_of_range", "推流时长上限须在 10s 与 24h 之间", "let a stream last 10s to 24h"))
	}
	if c.Upload != 0 && c.Upload < 64_000 {
		ps.Add(devices.Invalid("platform.push.upload", "out_of_range", "上行限额至少 64kbit/s", "allow at least 64kbit/s"))
	}
}

// BitRate is bits a second, written as 8Mbit/s, 512kbit/s or a plain number.
type BitRate int64

// UnmarshalText reads a rate.
func (r *BitRate) UnmarshalText(text []byte) error {
	s, unit := strings.TrimSuffix(string(text), "bit/s"), int64(1)
	for suffix, size := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, size
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > 1e12/unit {
		return devices.Invalid("", "bad_rate", "码率须写作 8Mbit/s、512kbit/s 或每秒比特数", `write a rate as "8Mbit/s", "512kbit/s" or a number of bits a second`)
	}
	*r = BitRate(n * unit)
	return nil
}

// MarshalText writes the number of bits.
func (r BitRate) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(r), 10), nil }
