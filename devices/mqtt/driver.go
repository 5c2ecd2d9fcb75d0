// Package mqtt reads the readings of a device from an external MQTT broker
// (Mosquitto, EMQX and others), by MQTT 3.1.1.
//
// All devices of one account at one broker share a session: one connection, with
// a client id that is the gateway's own and the same at every start, and
// CleanSession off, so that the broker keeps what is published with QoS 1 while
// the gateway is away. Devices come and go without disturbing each other; each
// gets the messages of its own topics, and one that several want is acknowledged
// when all have it. A message whose device has not come yet, after a start or an
// edit, waits for it a few seconds.
//
// A message is acknowledged when the [devices.Sink] says that it is on disk, in
// order, many at a time. At most 1,024 messages wait for that; then nothing more
// is read. When the sink fails nothing is acknowledged and the connection ends:
// the broker sends again. Messages that cannot be decoded are dead letters and are
// acknowledged like others. What the broker had retained counts as a repeat.
//
// How much is in flight is the broker's to say. With Mosquitto set
// max_inflight_messages to 1000 and max_queued_messages to 0: with its defaults
// it silently drops messages for a slow or absent subscriber.
package mqtt

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Config is common to all sessions. The zero Config is good.
type Config struct {
	Gateway   string        // in client ids; tells the gateways at one broker apart
	TLS       *tls.Config   // for mqtts; nil means the system's certificates
	KeepAlive time.Duration // between two signs of life; zero means 30 s
	Connect   time.Duration // to connect and sign in; zero means 10 s
	Waiting   int           // messages of a session that may wait for the disk; zero means 1,024
	Hold      time.Duration // that a message waits for its device to come; zero means 5 s, less than zero that it does not

	// Dial connects to host:port; nil means a net.Dialer. The place to check
	// where a broker may be.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Resolve finds the addresses of a host, for a probe; nil means
	// net.DefaultResolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
	// Allow says to a probe, by a Problem, that no broker may be at an address;
	// nil allows all. Dial asks for itself.
	Allow func(netip.AddrPort) error

	Formats payload.Formats // besides JSON; nil means none
	Log     *slog.Logger    // nil means no log
}

func (c *Config) setDefaults() {
	if c.TLS == nil {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 30 * time.Second
	}
	if c.Connect == 0 {
		c.Connect = 10 * time.Second
	}
	if c.Waiting == 0 {
		c.Waiting = 1024
	}
	if c.Hold == 0 {
		c.Hold = 5 * time.Second
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Resolve == nil {
		c.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if c.Allow == nil {
		c.Allow = func(netip.AddrPort) error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Driver reads one device from an external broker.
type Driver struct {
	dev      devices.Device
	cfg      Config
	pool     *Pool
	account  account
	secure   *tls.Config // of mqtts; nil means without encryption
	address  string      // host:port
	clientID string
	share    string // prefix of shared subscriptions, "$share/group/", or empty
	qos      byte
	inbox    *payload.Inbox
	learnt   *learnt

	mu      sync.Mutex
	told    string          // code of the problem told last; "" while it works
	known   bool            // something has been told
	refused map[string]bool // topics whose subscription the broker refuses
}

var _ devices.Driver = (*Driver)(nil)

// Open gives the driver of a device that shares its session with no other. All
// faults are told at once as Problems.
func Open(dev devices.Device, bounds []devices.Bound, cfg Config) (*Driver, error) {
	if cfg.Gateway == "" {
		cfg.Gateway = dev.ID
	}
	cfg.Hold = -1
	return New(cfg).open(dev, bounds)
}

func (p *Pool) open(dev devices.Device, bounds []devices.Bound) (*Driver, error) {
	d := &Driver{dev: dev, cfg: p.cfg, pool: p, qos: 1, refused: make(map[string]bool), learnt: p.memory(dev.ID)}
	var ps devices.Problems
	d.readEndpoint(&ps)
	if m := dev.MQTT; m != nil {
		d.readSettings(m, &ps)
	}
	d.account.address, d.account.encrypted = d.address, d.secure != nil
	d.account.username, d.account.password = dev.Username, dev.Password
	d.clientID = d.account.id(p.cfg.Gateway)
	inbox, err := payload.OpenInbox(&dev, bounds, d.learnt.formats)
	ps = append(ps, devices.AllProblems(err)...)
	d.inbox = inbox
	if err := ps.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

// Run takes the device's messages until ctx ends. Problems of the connection,
// which is made again without end, are told to the sink.
func (d *Driver) Run(ctx context.Context, sink devices.Sink) error {
	s := d.pool.join(d, sink)
	<-ctx.Done()
	d.pool.leave(d, s)
	return context.Cause(ctx)
}

func (d *Driver) readEndpoint(ps *devices.Problems) {
	u, err := url.Parse(d.dev.Endpoint)
	if err != nil || u.Hostname() == "" || (u.Scheme != "mqtt" && u.Scheme != "mqtts") {
		ps.Add(devices.Invalid("endpoint", "bad_address", "地址须形如 mqtt://host:1883 或 mqtts://host:8883", "write the address like mqtt://host:1883 or mqtts://host:8883"))
		return
	}
	if u.Scheme == "mqtts" {
		config, err := d.dev.MQTT.TLSConfig(d.cfg.TLS)
		*ps = append(*ps, devices.AllProblems(err)...)
		d.secure = config
	}
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "mqtts":
		port = "8883"
	default:
		port = "1883"
	}
	d.address = net.JoinHostPort(u.Hostname(), port)
}

func (d *Driver) readSettings(m *devices.MQTTSettings, ps *devices.Problems) {
	d.account.clientID, d.account.share = m.ClientID, m.Share
	d.account.authority, d.account.certificate, d.account.key = m.CA, m.Certificate, m.Key
	if m.QoS != nil {
		d.qos = *m.QoS
	}
	if d.qos > 1 {
		ps.Add(devices.Invalid("mqtt.qos", "out_of_range", "订阅 QoS 须为 0 或 1", "subscribe with QoS 0 or 1"))
	}
	for _, r := range m.Share {
		if r == '/' || r == '+' || r == '#' {
			ps.Add(devices.Invalid("mqtt.share", "bad_share", "共享组名不得含 /、+ 或 #", "the name of a shared group holds no /, + or #"))
			break
		}
	}
	if m.Share != "" {
		d.share = "$share/" + m.Share + "/"
	}
}

// tell reports a change between working and failing, or from one problem to
// another; p is nil when it works.
func (d *Driver) tell(sink devices.Sink, p *devices.Problem) {
	code := ""
	if p != nil {
		code = p.Code
	}
	d.mu.Lock()
	same := d.known && d.told == code
	d.known, d.told = true, code
	d.mu.Unlock()
	if !same {
		sink.Report(devices.Report{Device: d.dev.ID, At: time.Now().UTC(), Problem: p})
	}
}

// tellSubscription reports when the broker starts or stops to refuse a topic.
func (d *Driver) tellSubscription(sink devices.Sink, topic string, refused bool) {
	d.mu.Lock()
	same := d.refused[topic] == refused
	if refused {
		d.refused[topic] = true
	} else {
		delete(d.refused, topic)
	}
	d.mu.Unlock()
	if same {
		return
	}
	r := devices.Report{Device: d.dev.ID, Points: d.inbox.Points(topic), At: time.Now().UTC()}
	if refused {
		r.Problem = subscriptionRefused(topic)
	}
	sink.Report(r)
}

// codeSubscription is that of a subscription that the broker refuses.
const codeSubscription = "subscription_refused"

func subscriptionRefused(topic string) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: codeSubscription, Field: "topic.topic",
		ZH: "消息服务器拒绝订阅主题 " + topic + "；请在服务器上为该用户授权",
		EN: "the broker refuses the subscription to topic " + topic + "; grant it to this user there",
	}
}
