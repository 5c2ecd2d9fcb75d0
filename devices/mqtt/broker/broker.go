// Package broker is the embedded MQTT broker: devices sign in to it with their
// id and password and publish to their own topics. It is built on mochi-mqtt,
// which nothing outside this package knows of.
//
// # What a device may do
//
// The user name is the device's id; the client id is free and belongs to the
// device, so that two devices may use the same one. Instead of a password a
// device may show a certificate whose fingerprint is registered; who signed it
// and until when it holds does not matter then, and the user name may be empty.
// While passwords are exchanged the old and the next one are both good: set the
// next one, give it to the device, then make it the password. Nobody is
// disconnected by that. A device publishes and
// subscribes to offsite/{device}, offsite/{device}/# and the topics of its
// bindings; its will obeys the same rule. What it publishes elsewhere goes
// nowhere and is told by [Broker.Unbound]: MQTT 5 is answered "not authorized",
// 3.1.1 is acknowledged, for all it knows besides is a broken connection.
//
// MQTT 3.1.1 and 5, QoS 0, 1 and 2, retained messages, wills and shared
// subscriptions work as in any broker. Topic aliases are not offered. Sessions
// and retained messages live in memory and do not outlast [Broker.Run].
//
// # When it acknowledges
//
// A message on a topic that a point is bound to goes to the [devices.Sink]
// first. Its PUBACK or PUBREC is written when the sink says that it is on disk,
// never before, in the order in which the messages of the connection came.
// Messages that cannot be decoded are dead letters and are acknowledged in the
// same order. At most [Config.Waiting] messages of a connection wait; then
// nothing more is read from it. When the sink fails, nothing is acknowledged and
// the device is disconnected: it keeps its data and sends again. For a short
// while after that CONNECT is answered with "server unavailable".
// Other subscribers, too, get a message of QoS 1 or 2 when it is on disk.
//
// A device that sends more often than [devices.MQTTSettings] allows is read more
// slowly; nothing is dropped. A payload that is too large is a dead letter.
//
// All other permitted topics are ordinary MQTT; [Broker.Unbound] tells which
// were heard of.
package broker

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// Config says where and how the broker listens. The zero Config listens on
// 127.0.0.1:1883.
type Config struct {
	Address  string        // host:port; port 0 is chosen by the kernel
	TLS      *tls.Config   // nil means plain MQTT
	Insecure bool          // allows plain MQTT off loopback
	Clients  int           // connections at once; zero means 4,096
	Waiting  int           // messages of one connection that may wait for their acknowledgement; zero means 1,024
	Patience time.Duration // for a device that reads nothing of what is sent to it; zero means 10 s

	Formats payload.Formats // of payloads, besides JSON; nil means none
	Log     *slog.Logger    // nil means no log
}

func (c *Config) setDefaults() {
	if c.Address == "" {
		c.Address = "127.0.0.1:1883"
	}
	if c.Clients == 0 {
		c.Clients = 4096
	}
	if c.Waiting == 0 {
		c.Waiting = 1024
	}
	if c.Patience == 0 {
		c.Patience = 10 * time.Second
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Client is a device that may sign in, with its bindings in force.
type Client struct {
	Device devices.Device
	Bounds []devices.Bound
}

// Broker is the embedded broker. Its methods may be called by several
// goroutines, before, while and after it runs.
type Broker struct {
	cfg       Config
	salt      [16]byte
	clients   atomic.Pointer[map[string]*client] // by device id; replaced whole
	unbound   unboundTopics
	listeners listeners
	refused   refusedSignIns
	counts    counters

	port  *devices.Port
	begun sync.Once
	ready chan struct{} // closed when it runs for the first time
	mu    sync.Mutex
	host  *host // while it runs
}

// New checks cfg and gives the broker. It does not listen yet.
func New(cfg Config) (*Broker, error) {
	cfg.setDefaults()
	host, _, err := net.SplitHostPort(cfg.Address)
	if err != nil {
		p := devices.Invalid("broker.listen", "bad_address", "监听地址须形如 127.0.0.1:1883", "write the address like 127.0.0.1:1883")
		p.Cause = err
		return nil, p
	}
	if ip := net.ParseIP(host); cfg.TLS == nil && !cfg.Insecure && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, devices.Invalid("broker.insecure", "insecure",
			"不加密的 MQTT 只能监听本机地址；请配置 TLS，或确认风险后设 broker.insecure: true",
			"plain MQTT listens on loopback only; configure TLS, or accept the risk with broker.insecure: true")
	}
	if cfg.TLS != nil && cfg.TLS.ClientAuth == tls.NoClientCert {
		cfg.TLS = cfg.TLS.Clone()
		cfg.TLS.ClientAuth = tls.RequestClientCert // whose it is the device's fingerprints say
	}
	b := &Broker{cfg: cfg, port: devices.NewPort("broker.listen", cfg.Address, cfg.TLS, cfg.Log), ready: make(chan struct{})}
	_, _ = rand.Read(b.salt[:]) // it never fails
	b.clients.Store(&map[string]*client{})
	return b, nil
}

// Update replaces the devices that may sign in. It takes effect at once: a
// device that is gone or has another password is disconnected, all others go on
// undisturbed. Faulty bindings are told as Problems and left out; everything
// else takes effect nevertheless.
func (b *Broker) Update(clients []Client) error {
	old := *b.clients.Load()
	next := make(map[string]*client, len(clients))
	var ps devices.Problems
	for i := range clients {
		c, err := b.newClient(&clients[i], old[clients[i].Device.ID])
		ps = append(ps, devices.AllProblems(err)...)
		next[c.id] = c
	}
	b.clients.Store(&next)
	b.mu.Lock()
	h := b.host
	b.mu.Unlock()
	if h != nil {
		h.dropStrangers(next)
	}
	return ps.Err()
}

// Addr is where the broker listens, or nil before it has listened.
func (b *Broker) Addr() net.Addr { return b.port.Addr() }

// Ready is closed when the broker listens for the first time.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Run listens and serves until ctx ends; then it disconnects every client and
// returns when all its goroutines have ended. It may be run again; a port that
// the kernel chose is kept. It returns an error when it cannot listen.
func (b *Broker) Run(ctx context.Context, sink devices.Sink) error {
	listener, err := b.port.Listen(ctx)
	if err != nil {
		return err
	}
	h, err := newHost(b, sink)
	if err != nil {
		_ = listener.Close()
		return err
	}
	b.mu.Lock()
	b.host = h
	b.mu.Unlock()
	b.begun.Do(func() { close(b.ready) })
	b.cfg.Log.Info("broker listens", "addr", listener.Addr().String())
	err = h.serve(ctx, listener)
	b.mu.Lock()
	b.host = nil
	b.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// Counts are totals since the broker was made, for the metrics.
type Counts struct {
	Accepted     int64 // messages on bound topics that are on disk
	Failed       int64 // messages on bound topics that could not be stored and were not acknowledged
	QoS0Lost     int64 // of QoS 0 that could not be stored: nobody will send them again
	Refused      int64 // sign-ins refused
	Forbidden    int64 // publications and subscriptions refused
	Deaf         int64 // connections closed because nothing was read from them
	Disconnected int64 // connections closed because the storage failed
	Slowed       int64 // messages that had to wait for the rate that their device is allowed
	Connected    int64 // signed-in connections now
}

type counters struct {
	accepted, failed, qos0Lost, refused, forbidden, deaf, disconnected, slowed, connected atomic.Int64
}

// Counts gives the totals.
func (b *Broker) Counts() Counts {
	c := &b.counts
	return Counts{
		Accepted: c.accepted.Load(), Failed: c.failed.Load(), QoS0Lost: c.qos0Lost.Load(), Refused: c.refused.Load(),
		Forbidden: c.forbidden.Load(), Deaf: c.deaf.Load(), Disconnected: c.disconnected.Load(), Slowed: c.slowed.Load(), Connected: c.connected.Load(),
	}
}

// Unbound lists the topics on which devices published although no point is
// bound to them, newest first; at most the last 256.
func (b *Broker) Unbound() []Unbound {
	clients := *b.clients.Load()
	return b.unbound.list(func(device, topic string) bool {
		c := clients[device]
		return c != nil && !c.inbox.Bound(topic)
	})
}

// Refused lists the sign-ins that were refused, newest first; at most 256.
func (b *Broker) Refused() []Refused { return b.refused.list() }

var errClosed = errors.New("connection closed")
