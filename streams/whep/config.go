package whep

import (
	"net"
	"net/netip"
	"strings"

	"offsite/devices"
)

// Config is what the owner of the machine decides about WebRTC.
type Config struct {
	UDP       string `yaml:"udp"`        // listening address; empty: no UDP
	TCP       string `yaml:"tcp"`        // listening address; empty: no TCP
	Public    string `yaml:"public"`     // addresses, with commas between, by which viewers beyond a NAT reach both ports
	Sessions  int    `yaml:"sessions"`   // most at once; default 256
	PerCamera int    `yaml:"per_camera"` // most at once of one stream; default 200
}

// Defaults is the Config of a gateway without a file: viewers on this machine,
// on ports that the kernel chooses.
func Defaults() Config {
	return Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Sessions: 256, PerCamera: 200}
}

func (c *Config) setDefaults() {
	d := Defaults()
	if c.Sessions <= 0 {
		c.Sessions = d.Sessions
	}
	if c.PerCamera <= 0 {
		c.PerCamera = d.PerCamera
	}
}

// public lists the addresses beyond the NAT.
func (c *Config) public() []string {
	return strings.FieldsFunc(c.Public, func(r rune) bool { return r == ',' || r == ' ' })
}

// Validate tells every fault at once; path is that of the section.
func (c *Config) Validate(path string) error {
	var ps devices.Problems
	for _, l := range []struct{ key, address string }{{"udp", c.UDP}, {"tcp", c.TCP}} {
		host, _, err := net.SplitHostPort(l.address)
		if _, ip := netip.ParseAddr(host); l.address != "" && (err != nil || ip != nil) {
			ps.Add(devices.Invalid(path+"."+l.key, "bad_address", "监听地址须形如 0.0.0.0:8189", `write an address like "0.0.0.0:8189"`))
		}
	}
	for _, address := range c.public() {
		if _, err := netip.ParseAddr(address); err != nil {
			ps.Add(devices.Invalid(path+".public", "bad_address", "公网地址须为 IP 地址，例如 203.0.113.7", "give IP addresses such as 203.0.113.7"))
		}
	}
	if c.Sessions < 0 || c.PerCamera < 0 {
		ps.Add(devices.Invalid(path+".sessions", "out_of_range", "会话数上限不得为负", "bound the sessions by numbers above zero"))
	}
	return ps.Err()
}
