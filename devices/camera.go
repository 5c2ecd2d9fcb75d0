package devices

import (
	"fmt"
	"strings"
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
	Outlets     []string `json:"outlets,omitempty"`     // ids of the outlets it watches
	Meta
}

// When a camera's main stream is pulled. The sub-stream is pulled on demand.
const (
	PullAlways   = "always"
	PullOnDemand = "demand"
)

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
	if _, ok := ReadFingerprint(c.Fingerprint); c.Fingerprint != "" && !ok {
		ps.Add(badFingerprint("fingerprint"))
	}
	for i, o := range c.Outlets {
		ps.Add(CheckID(fmt.Sprintf("outlets[%d]", i), o))
	}
	return ps.Err()
}

// checkStream tells what is wrong with the address of a stream.
func (c *Camera) checkStream(ps *Problems, field, address string) {
	ps.Add(checkURL(field, address, "rtsp", "rtsps"))
	if strings.HasPrefix(address, "rtsps:") && c.Transport == "udp" {
		ps.Add(Invalid("transport", "encrypted_udp", "加密的 rtsps 地址只能用 TCP 传输，请改选 TCP", "an encrypted rtsps address is carried by TCP only; choose TCP"))
	}
}
