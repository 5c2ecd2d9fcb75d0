package edge

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/history"
	"offsite/edge/relay"
	"offsite/streams/snapshot"
	"offsite/streams/whep"
)

// Config is what the owner of the machine decides about the site. The zero
// Config of every section means its defaults.
type Config struct {
	State     string          `yaml:"state"` // directory of everything that is kept
	Broker    BrokerConfig    `yaml:"broker"`
	HJ212     HJ212Config     `yaml:"hj212"`
	History   history.Config  `yaml:"history"`
	Log       LogConfig       `yaml:"readings_log"`
	Clock     ClockConfig     `yaml:"clock"`
	Video     VideoConfig     `yaml:"video"`
	Recording RecordingConfig `yaml:"recording"`
	Platform  PlatformConfig  `yaml:"platform"`
}

// BrokerConfig sets up the embedded MQTT broker.
type BrokerConfig struct {
	Listen      string `yaml:"listen"`   // default 127.0.0.1:1883
	Insecure    bool   `yaml:"insecure"` // allow plain MQTT off loopback
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// HJ212Config sets up the host for HJ 212 data loggers.
type HJ212Config struct {
	Listen      string `yaml:"listen"`   // empty (the default): no logger can connect
	Insecure    bool   `yaml:"insecure"` // allow plain TCP off loopback, as nearly all loggers need it
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// LogConfig bounds the log of readings.
type LogConfig struct {
	Backlog Bytes `yaml:"backlog"` // what may wait for a remote store; default half of the disk's free space
}

// ClockConfig says how far a device's clock may run ahead.
type ClockConfig struct {
	Tolerance devices.Duration `yaml:"tolerance"` // default 5m
}

// VideoConfig sets up cameras.
type VideoConfig struct {
	Ring   devices.Duration `yaml:"ring"`   // seconds of video kept in memory for each camera; default 15s
	FFmpeg string           `yaml:"ffmpeg"` // program; empty finds it on the path, "none" does without

	Evidence EvidenceConfig `yaml:"evidence"`
	Watch    WatchConfig    `yaml:"watch"`

	Decoder       string `yaml:"decoder"`        // of stills: auto, which is ffmpeg where it is found, or sandbox, the embedded one always; default auto
	DecoderModule string `yaml:"decoder_module"` // WebAssembly file in place of the embedded decoder; default none

	WebRTC whep.Config `yaml:"webrtc"`
}

// PlatformConfig sets up the connection to the supervision platform.
type PlatformConfig struct {
	CA         string           `yaml:"ca"`          // PEM file of the platform's own authority, if it has one
	Push       relay.PushConfig `yaml:"push"`        // of pictures, to media servers
	Export     Bytes            `yaml:"export"`      // most of a recording.export; default 2GiB
	Pull       string           `yaml:"pull"`        // the gateway's address as the platform reaches it, such as https://gw.example.cn:8443; empty: it does not
	StartDelay devices.Duration `yaml:"start_delay"` // a fleet's gateways wait up to this long before they send after a start; default 0s
}

// Bytes is a size, written as 512MiB, 10GiB or a plain number.
type Bytes int64

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, unit := string(text), int64(1)
	for _, u := range []struct {
		suffix string
		size   int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}} {
		if rest, ok := strings.CutSuffix(s, u.suffix); ok {
			s, unit = strings.TrimSpace(rest), u.size
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/unit {
		return devices.Invalid("", "bad_size", "容量须写作 512MiB、10GiB 或字节数", `write a size as "512MiB", "10GiB" or a number of bytes`)
	}
	*b = Bytes(n * unit)
	return nil
}

// MarshalText writes the number of bytes.
func (b Bytes) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(b), 10), nil }

// Defaults is the Config that a gateway without a configuration file has.
func Defaults() Config {
	return Config{
		State:     "offsite-state",
		Broker:    BrokerConfig{Listen: "127.0.0.1:1883"},
		History:   history.Defaults(),
		Clock:     ClockConfig{Tolerance: devices.Duration(5 * time.Minute)},
		Recording: recordingDefaults(),
		Video:     VideoConfig{Ring: devices.Duration(15 * time.Second), Evidence: evidenceDefaults(), Watch: watchDefaults(), Decoder: snapshot.Auto, WebRTC: whep.Defaults()},
		Platform:  PlatformConfig{Push: relay.PushDefaults(), Export: 2 << 30},
	}
}

// Validate tells every fault at once, each with its key path.
func (c *Config) Validate() error {
	var ps devices.Problems
	if c.State == "" {
		ps.Add(devices.Invalid("state", "missing", "请填写状态目录", "name the state directory"))
	}
	c.Broker.validate(&ps)
	c.HJ212.validate(&ps)
	ps = append(ps, devices.AllProblems(c.History.Validate())...)
	c.Platform.validate(&ps)
	if t := c.Clock.Tolerance.D(); t < time.Second || t > 24*time.Hour {
		ps.Add(devices.Invalid("clock.tolerance", "out_of_range", "时钟容差须在 1s 与 24h 之间", "tolerate 1s to 24h"))
	}
	if r := c.Video.Ring.D(); r < time.Second || r > 5*time.Minute {
		ps.Add(devices.Invalid("video.ring", "out_of_range", "视频缓存须在 1s 与 5m 之间", "keep 1s to 5m of video"))
	}
	c.Video.Evidence.validate(&ps, c.Video.Ring.D())
	c.Video.Watch.validate(&ps)
	c.Recording.validate(&ps)
	if d := c.Video.Decoder; d != snapshot.Auto && d != snapshot.Sandbox {
		ps.Add(devices.Invalid("video.decoder", "not_one_of", "解码方式须为 auto 或 sandbox", "choose auto or sandbox"))
	}
	ps = append(ps, devices.AllProblems(c.Video.WebRTC.Validate("video.webrtc"))...)
	if c.Log.Backlog != 0 && c.Log.Backlog < 16<<20 {
		ps.Add(devices.Invalid("readings_log.backlog", "out_of_range", "积压上限至少 16MiB", "allow at least 16MiB"))
	}
	return ps.Err()
}

func (c *BrokerConfig) validate(ps *devices.Problems) {
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		ps.Add(devices.Invalid("broker.listen", "bad_address", "监听地址须形如 127.0.0.1:1883", `write an address like "127.0.0.1:1883"`))
	case !loopback(host) && !c.Insecure && c.Certificate == "":
		ps.Add(devices.Invalid("broker.listen", "plain_off_loopback",
			"本机以外的 MQTT 须加密：请填写 broker.certificate 和 broker.key，或明确设置 broker.insecure: true",
			"MQTT off loopback needs TLS: give broker.certificate and broker.key, or accept plain MQTT by broker.insecure: true"))
	}
	if (c.Certificate == "") != (c.Key == "") {
		ps.Add(devices.Invalid("broker.certificate", "incomplete", "证书与私钥须同时填写", "give certificate and key together"))
		return
	}
	_, problem := c.tls()
	ps.Add(problem)
}

// tls is nil where no certificate is given.
func (c *BrokerConfig) tls() (*tls.Config, *devices.Problem) {
	if c.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		p := devices.Invalid("broker.certificate", "bad_certificate",
			"证书或私钥无法使用，请检查文件是否存在、可读且互相匹配", "certificate or key cannot be used; see that the files are there, can be read and belong together")
		p.Cause = err
		return nil, p
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (c *HJ212Config) validate(ps *devices.Problems) {
	if c.Listen == "" {
		return
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		ps.Add(devices.Invalid("hj212.listen", "bad_address", "监听地址须形如 0.0.0.0:9212", `write an address like "0.0.0.0:9212"`))
	case !loopback(host) && !c.Insecure && c.Certificate == "":
		ps.Add(devices.Invalid("hj212.listen", "plain_off_loopback",
			"本机以外的 HJ 212 明文传输可被窃听和篡改：请在专网或 VPN 内使用并设置 hj212.insecure: true，或填写 hj212.certificate 和 hj212.key",
			"plain HJ 212 off loopback can be read and changed on the way: keep it in a private network and set hj212.insecure: true, or give hj212.certificate and hj212.key"))
	}
	if (c.Certificate == "") != (c.Key == "") {
		ps.Add(devices.Invalid("hj212.certificate", "incomplete", "证书与私钥须同时填写", "give certificate and key together"))
		return
	}
	_, problem := c.tls()
	ps.Add(problem)
}

// tls is nil where no certificate is given.
func (c *HJ212Config) tls() (*tls.Config, *devices.Problem) {
	if c.Certificate == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		p := devices.Invalid("hj212.certificate", "bad_certificate",
			"证书或私钥无法使用，请检查文件是否存在、可读且互相匹配", "certificate or key cannot be used; see that the files are there, can be read and belong together")
		p.Cause = err
		return nil, p
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

func (c *PlatformConfig) validate(ps *devices.Problems) {
	if d := c.StartDelay.D(); d < 0 || d > time.Hour {
		ps.Add(devices.Invalid("platform.start_delay", "out_of_range", "启动延迟须在 0s 与 1h 之间", "delay the start by 0s to 1h"))
	}
	if u, err := url.Parse(c.Pull); err != nil || c.Pull != "" && (u.Scheme != "https" || u.Host == "") {
		ps.Add(devices.Invalid("platform.pull", "bad_address", "地址须形如 https://gw.example.cn:8443", `write an address like "https://gw.example.cn:8443"`))
	}
	if c.Export < 1<<20 {
		ps.Add(devices.Invalid("platform.export", "out_of_range", "录像导出上限至少 1MiB", "allow an export of at least 1MiB"))
	}
	c.Push.Validate(ps)
	_, problem := c.tls()
	ps.Add(problem)
}

// tls is nil where the system's authorities serve.
func (c *PlatformConfig) tls() (*tls.Config, *devices.Problem) {
	if c.CA == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CA)
	if err != nil {
		p := devices.Invalid("platform.ca", "unreadable", "无法读取平台 CA 证书 "+c.CA+"，请检查路径和权限", "the platform's CA file "+c.CA+" cannot be read; check path and permissions")
		p.Cause = err
		return nil, p
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, devices.Invalid("platform.ca", "no_certificate", "文件 "+c.CA+" 中没有 PEM 证书，请换成平台提供的 CA 证书", "there is no PEM certificate in "+c.CA+"; give the CA certificate that the platform hands out")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
