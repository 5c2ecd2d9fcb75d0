package mqtt

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

const (
	filtersAtOnce = 64              // topics in one SUBSCRIBE or UNSUBSCRIBE
	mostLeft      = 256             // topics unsubscribed in one connection: who publishes on new ones for ever must not keep us busy
	mostRoutes    = 1 << 16         // topics whose devices are remembered
	farewell      = 2 * time.Second // for the acknowledgements that are due when the session is stopped
)

// link is one connection of a session, from dial to its end.
//
// Messages come from paho's goroutine, done from the sinks'; both only touch
// the queue. Acknowledgements are written by runAcks, a batch in one write,
// straight to the connection: paho would hand each through three channels and
// keeps no state for it, since its store is off. A link never outlives its
// connection, so no acknowledgement can reach another one, where its packet id
// would mean another message.
type link struct {
	session    *session
	client     paho.Client
	lost       chan error            // the connection has ended
	failed     chan error            // the storage has failed
	stray      chan string           // topics that came and no longer are bound
	asks       chan payload.Outgoing // what formats want to hear
	subscribed map[string]byte       // filters, with their QoS; serve's alone
	left       map[string]bool       // topics that were unsubscribed; serve's alone

	routes  map[string][]*guest // by topic, of the guests of version; paho's goroutine's alone
	version int

	connMu sync.Mutex
	conn   net.Conn

	mu        sync.Mutex
	wake      sync.Cond // for runAcks: something to write, or the end
	room      sync.Cond // the queue has become shorter, or the end
	queue     []*owed
	ready     int  // the first ready elements of queue may be acknowledged
	closing   bool // takes no more messages
	ended     bool // acknowledges no more
	held      []held
	heldBytes int
}

func newLink(s *session) *link {
	l := &link{
		session: s, lost: make(chan error, 1), failed: make(chan error, 1),
		stray: make(chan string, 16), asks: make(chan payload.Outgoing, 16),
		subscribed: make(map[string]byte), left: make(map[string]bool), routes: make(map[string][]*guest),
	}
	l.wake.L, l.room.L = &l.mu, &l.mu
	return l
}

// run gives the Problem that ended the connection, nil when ctx did.
func (l *link) run(ctx context.Context) *devices.Problem {
	l.session.begin(l)
	defer l.session.finish()
	if err := l.connect(ctx); err != nil {
		return l.session.driver.connectProblem(err)
	}
	l.session.counts.sessions.Add(1)
	defer l.session.counts.sessions.Add(-1)
	var acks sync.WaitGroup
	acks.Go(l.runAcks)
	problem := l.serve(ctx)
	if problem == nil { // we were asked to stop: what is on disk is acknowledged first
		l.drain(farewell)
	}
	l.end()
	acks.Wait()
	if problem != nil {
		l.closeConn()
	}
	l.client.Disconnect(uint(farewell.Milliseconds())) // says goodbye where it can, and waits for paho's goroutines
	l.closeConn()
	return problem
}

// connect dials and signs in.
func (l *link) connect(ctx context.Context) error {
	d := l.session.driver
	o := paho.NewClientOptions()
	o.AddBroker("mqtt://" + d.address) // never dialled: open is
	o.SetClientID(d.clientID).SetUsername(d.dev.Username).SetPassword(d.dev.Password.Reveal())
	o.SetProtocolVersion(4).SetCleanSession(false).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(d.cfg.KeepAlive).SetConnectTimeout(d.cfg.Connect)
	o.SetOrderMatters(true).SetAutoAckDisabled(true).SetStore(noStore{})
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { l.take(m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { l.lost <- err })
	var dialled error
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		c, err := d.dial(ctx, l.session.answered)
		if err != nil {
			dialled = err
			return nil, err
		}
		l.connMu.Lock()
		l.conn = c
		l.connMu.Unlock()
		return c, nil
	})
	l.client = paho.NewClient(o)
	stop := context.AfterFunc(ctx, l.closeConn)
	token := l.client.Connect()
	<-token.Done() // soon after the connection is closed at the latest
	if !stop() {
		l.closeConn()
		l.client.Disconnect(uint(farewell.Milliseconds()))
		return context.Cause(ctx)
	}
	if dialled != nil {
		return scrubbed(dialled, d.dev.Password)
	}
	return scrubbed(token.Error(), d.dev.Password)
}

func (l *link) closeConn() {
	l.connMu.Lock()
	defer l.connMu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// serve keeps the subscriptions up with the devices and waits for the end. It
// gives nil when ctx has ended.
func (l *link) serve(ctx context.Context) *devices.Problem {
	hold := time.NewTimer(l.session.holds())
	defer hold.Stop()
	for {
		if err := l.follow(ctx, hold); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return l.session.driver.lostProblem(err)
		}
		if problem, on := l.attend(ctx, hold); !on {
			return problem
		}
	}
}

// attend does what comes up until devices come or go, and says whether to go on.
func (l *link) attend(ctx context.Context, hold *time.Timer) (problem *devices.Problem, on bool) {
	for {
		select {
		case <-ctx.Done():
			return nil, false
		case err := <-l.failed:
			return storageProblem(err), false
		case err := <-l.lost:
			return l.session.driver.lostProblem(err), false
		case <-l.session.wake:
			return nil, true
		case <-hold.C:
			l.release()
			return nil, true
		case topic := <-l.stray:
			l.unsubscribe(topic)
		case ask := <-l.asks:
			l.client.Publish(ask.Topic, 0, false, ask.Payload)
		}
	}
}

// follow subscribes to what is wanted now and was not before, tells the devices,
// and leaves what nobody wants any more.
func (l *link) follow(ctx context.Context, hold *time.Timer) error {
	wanted, anew := l.session.wanted()
	if wanted == nil {
		<-ctx.Done() // the last one to leave ends it
		return context.Cause(ctx)
	}
	if left := l.session.holds(); left > 0 {
		hold.Reset(left + time.Millisecond)
	} else {
		hold.Stop()
		l.release()
	}
	ask := make(map[string]byte)
	for f, qos := range wanted {
		if is, ok := l.subscribed[f]; !ok || is != qos || anew[f] {
			ask[f] = qos
		}
	}
	codes, err := l.subscribe(ctx, ask)
	if err != nil {
		return err
	}
	l.session.granted(codes)
	var gone []string
	for f := range l.subscribed {
		if _, ok := wanted[f]; !ok {
			delete(l.subscribed, f)
			gone = append(gone, l.session.driver.share+f)
		}
	}
	for part := range slices.Chunk(gone, filtersAtOnce) {
		l.client.Unsubscribe(part...)
	}
	return nil
}

// subscribe asks for filters and gives the broker's answers.
func (l *link) subscribe(ctx context.Context, filters map[string]byte) (codes map[string]byte, err error) {
	d := l.session.driver
	all := make([]string, 0, len(filters))
	for f := range filters {
		all = append(all, f)
	}
	slices.Sort(all)
	codes = make(map[string]byte, len(all))
	for part := range slices.Chunk(all, filtersAtOnce) {
		ask := make(map[string]byte, len(part))
		for _, f := range part {
			ask[d.share+f] = filters[f]
		}
		token := l.client.SubscribeMultiple(ask, nil)
		select {
		case <-token.Done():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case err := <-l.lost:
			return nil, err
		case <-time.After(d.cfg.Connect):
			return nil, fmt.Errorf("no answer to SUBSCRIBE within %s", d.cfg.Connect)
		}
		granted, ok := token.(*paho.SubscribeToken)
		if err := token.Error(); err != nil && (!ok || len(granted.Result()) == 0) {
			return nil, err
		}
		for f, code := range granted.Result() {
			f = strings.TrimPrefix(f, d.share)
			codes[f], l.subscribed[f] = code, filters[f]
		}
	}
	return codes, nil
}

// take hands a message to its devices. It is called by paho's one reader and
// blocks only while too many messages wait.
func (l *link) take(m paho.Message) {
	received := time.Now()
	if !l.waitForRoom() {
		return
	}
	o := &owed{packet: m.MessageID(), qos: m.Qos()}
	if o.qos > 1 {
		o.other = m
	}
	in := payload.Message{Topic: m.Topic(), Payload: m.Payload(), Received: received, Resent: m.Duplicate(), Retained: m.Retained()}
	if o.qos > 0 {
		in.ID = strconv.Itoa(int(o.packet))
	}
	s := l.session
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.over {
		return // the broker keeps it
	}
	guests := l.guestsOf(in.Topic)
	waits := len(guests) == 0 && received.Before(s.hold)
	o.waits = len(guests)
	if waits {
		o.waits = 1
	}
	switch {
	case !l.owe(o):
	case waits:
		l.wait(o, in)
	case len(guests) == 0:
		l.unclaimed(in.Topic)
	default:
		for _, g := range guests {
			l.deliver(g, o, in)
		}
	}
}

// guestsOf gives the devices that a topic concerns. The session's lock is held.
func (l *link) guestsOf(topic string) []*guest {
	if l.version != l.session.version || len(l.routes) >= mostRoutes {
		clear(l.routes)
		l.version = l.session.version
	}
	guests, known := l.routes[topic]
	if !known {
		for _, g := range l.session.guests {
			if g.driver.inbox.Bound(topic) {
				guests = append(guests, g)
			}
		}
		l.routes[topic] = guests
	}
	return guests
}

// deliver hands a message to one device. The session's lock is held.
func (l *link) deliver(g *guest, o *owed, m payload.Message) {
	d, reports := g.driver.inbox.Open(m)
	g.sink.Accept(d, func(err error) { l.stored(o, err) })
	for _, ask := range g.driver.inbox.Asks() {
		select {
		case l.asks <- ask:
		default: // the next message asks again
		}
	}
	for _, r := range reports {
		g.sink.Report(r)
	}
}

// claim gives a device the messages that have waited for it. The session's lock
// is held.
func (l *link) claim(g *guest) {
	for _, h := range l.takeHeld(g.driver.inbox.Bound) {
		l.deliver(g, h.owed, h.message)
	}
}

// release waits no longer for the devices of messages that nobody has claimed.
func (l *link) release() {
	s := l.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Now().Before(s.hold) {
		return
	}
	for _, h := range l.takeHeld(func(string) bool { return true }) {
		l.unclaimed(h.message.Topic)
		l.mu.Lock()
		h.owed.waits--
		l.advance()
		l.mu.Unlock()
	}
}

// unclaimed takes note of a message that no device wants.
func (l *link) unclaimed(topic string) {
	l.session.counts.unclaimed.Add(1)
	select {
	case l.stray <- topic:
	default:
	}
}

// unsubscribe ends the subscriptions that may have brought topic, which the
// broker's session still holds from earlier bindings or settings. They are not
// known any more, so all filters that take topic in are named.
func (l *link) unsubscribe(topic string) {
	if l.left[topic] || len(l.left) >= mostLeft {
		return
	}
	l.left[topic] = true
	d := l.session.driver
	d.cfg.Log.Info("topic is no longer bound", "addr", d.address, "topic", topic)
	var filters []string
	for _, f := range filtersOf(topic) {
		if _, ours := l.subscribed[f]; !ours {
			filters = append(filters, f)
			if d.share != "" {
				filters = append(filters, d.share+f)
			}
		}
	}
	for part := range slices.Chunk(filters, filtersAtOnce) {
		l.client.Unsubscribe(part...)
	}
}

// noStore keeps nothing: what is not acknowledged the broker sends again.
type noStore struct{}

func (noStore) Open()                             {}
func (noStore) Put(string, packets.ControlPacket) {}
func (noStore) Get(string) packets.ControlPacket  { return nil }
func (noStore) All() []string                     { return nil }
func (noStore) Del(string)                        {}
func (noStore) Close()                            {}
func (noStore) Reset()                            {}
