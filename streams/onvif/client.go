package onvif

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// Config is what all cameras share.
type Config struct {
	Timeout time.Duration // for connecting and a whole answer; 6 s
	Pull    time.Duration // that a camera holds back an answer without events; 20 s

	// Dial opens the connection to the camera; whoever bounds the reachable
	// networks gives it. It defaults to net.Dialer.
	Dial  func(ctx context.Context, network, address string) (net.Conn, error)
	Roots *x509.CertPool // authorities for https; nil: the system's
}

func (c *Config) setDefaults() {
	if c.Timeout <= 0 {
		c.Timeout = 6 * time.Second
	}
	if c.Pull <= 0 {
		c.Pull = 20 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
}

// Access is how a camera's services are reached.
type Access struct {
	URL         string // of its device service, http(s)://host:port/onvif/device_service
	Username    string
	Password    devices.Secret
	Fingerprint string // https: SHA-256 of its certificate, hexadecimal; empty: a known authority has signed it
}

// Client speaks with one camera. Its methods may be called by several
// goroutines; their errors are Problems. [Client.Close] ends its idle
// connections.
type Client struct {
	cfg      Config
	at       *url.URL
	username string
	password devices.Secret
	http     *http.Client

	mu      sync.Mutex
	clock   *Clock            // nil before it was asked
	places  map[string]string // of services, by namespace; nil before they were asked
	digest  *challenge        // the camera's last; nil: a token in the SOAP header
	refused bool              // it does not know the password
	moved   map[string]bool   // hosts that it named instead of its own
}

// Open checks the address and gives its client. Nothing is dialled.
func Open(a Access, cfg Config) (*Client, error) {
	cfg.setDefaults()
	at, err := url.Parse(a.URL)
	if err != nil || at.Hostname() == "" || at.User != nil || (at.Scheme != "http" && at.Scheme != "https") {
		return nil, devices.Invalid("onvif", CodeAddress, "ONVIF 地址须写作 http://主机:端口/onvif/device_service，不含用户名和密码", "write the ONVIF address as http://host:port/onvif/device_service, without user and password")
	}
	if at.Path == "" || at.Path == "/" {
		at.Path = "/onvif/device_service"
	}
	c := &Client{cfg: cfg, at: at, username: a.Username, password: a.Password, moved: map[string]bool{}}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: cfg.Dial, TLSClientConfig: streams.Trust(c.at.Hostname(), a.Fingerprint, c.cfg.Roots), TLSHandshakeTimeout: cfg.Timeout,
			MaxResponseHeaderBytes: 64 << 10, MaxConnsPerHost: 3, IdleConnTimeout: 30 * time.Second,
			DisableCompression: true, // a small answer must not grow without bound
		},
		// A redirect could carry the request anywhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close ends the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// pin gives an address that the camera named with the host that is dialled, and
// without user and password. It is "" where the address is none of schemes.
func (c *Client) pin(address string, schemes ...string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Hostname() == "" || !knows(schemes, u.Scheme) {
		return ""
	}
	u.User = nil
	if host := u.Hostname(); !strings.EqualFold(host, c.at.Hostname()) {
		c.mu.Lock()
		if len(c.moved) < 8 {
			c.moved[clip(host, 64)] = true
		}
		c.mu.Unlock()
		u.Host = c.at.Hostname()
		if port := portOf(address); port != "" {
			u.Host = net.JoinHostPort(c.at.Hostname(), port)
		} else if strings.Contains(u.Host, ":") {
			u.Host = "[" + u.Host + "]"
		}
	}
	return u.String()
}

func portOf(address string) string {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return ""
	}
	return u.Port()
}

func knows(schemes []string, scheme string) bool {
	for _, s := range schemes {
		if strings.EqualFold(s, scheme) {
			return true
		}
	}
	return false
}
