package mqtt

import (
	"context"
	"errors"
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
)

const (
	filtersAtOnce = 64              // topics in one SUBSCRIBE or UNSUBSCRIBE
	mostLeft      = 256             // topics unsubscribed in one session: who publishes on new ones for ever must not keep us busy
	farewell      = 2 * time.Second // for the acknowledgements that are due when the driver is stopped
)

var errStopped = errors.New("session stopped")

// session is one connection of a driver, from dial to its end.
//
// Messages come from paho's goroutine, done from the sink's; both only touch
// the queue. Acknowledgements are written by runAcks, a batch in one write,
// straight to the connection: paho would hand each through three channels and
// keeps no state for it, since its store is off. A session never outlives its
// connection, so no acknowledgement can reach another one, where its packet id
// would mean another message.
type session struct {
	driver *Driver
	sink   devices.Sink
	client paho.Client
	settle func(error)           // done of every message; a field so that it is made once
	lost   chan error            // the connection has ended
	failed chan error            // the storage has failed
	stray  chan string           // topics that came and no longer are bound
	asks   chan devices.Outgoing // what formats want to hear
	left   map[string]bool       // those of them that were unsubscribed; serve's alone

	connMu sync.Mutex
	conn   net.Conn

	mu      sync.Mutex
	wake    sync.Cond // for runAcks: something to write, or the end
	room    sync.Cond // the queue has become shorter, or the end
	queue   []owed
	ready   int  // the first ready elements of queue may be acknowledged
	closing bool // takes no more messages
	ended   bool // acknowledges no more
}

// owed is a message in order of receipt.
type owed struct {
	packet uint16
	qos    byte
	waits  bool         // for the disk
	other  paho.Message // of QoS 2, which a session of ours never asked for
}

// Run connects, subscribes and takes messages until ctx ends, the connection is
// lost or the sink fails. The error is a Problem.
func (d *Driver) Run(ctx context.Context, sink devices.Sink) error {
	s := &session{
		driver: d, sink: sink, lost: make(chan error, 1), failed: make(chan error, 1),
		stray: make(chan string, 16), asks: make(chan devices.Outgoing, 16), left: make(map[string]bool),
	}
	s.wake.L, s.room.L = &s.mu, &s.mu
	s.settle = s.stored
	d.inbox.Begin()
	problem := s.run(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	d.tell(sink, problem)
	return problem
}

// run gives the Problem that ended the session.
func (s *session) run(ctx context.Context) *devices.Problem {
	if err := s.connect(ctx); err != nil {
		return s.driver.connectProblem(err)
	}
	var acks sync.WaitGroup
	acks.Go(s.runAcks)
	problem := s.serve(ctx)
	if problem == nil { // we were asked to stop: what is on disk is acknowledged first
		s.drain(farewell)
	}
	s.end()
	acks.Wait()
	if problem != nil {
		s.closeConn()
	}
	s.client.Disconnect(uint(farewell.Milliseconds())) // says goodbye where it can, and waits for paho's goroutines
	s.closeConn()
	return problem
}

// connect dials and signs in.
func (s *session) connect(ctx context.Context) error {
	d := s.driver
	o := paho.NewClientOptions()
	o.AddBroker("mqtt://" + d.address) // never dialled: open is
	o.SetClientID(d.clientID).SetUsername(d.dev.Username).SetPassword(d.dev.Password.Reveal())
	o.SetProtocolVersion(4).SetCleanSession(false).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(d.cfg.KeepAlive).SetConnectTimeout(d.cfg.Connect)
	o.SetOrderMatters(true).SetAutoAckDisabled(true).SetStore(noStore{})
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { s.take(m) })
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { s.lost <- err })
	var dialled error
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		c, err := d.dial(ctx)
		if err != nil {
			dialled = err
			return nil, err
		}
		s.connMu.Lock()
		s.conn = c
		s.connMu.Unlock()
		return c, nil
	})
	s.client = paho.NewClient(o)
	stop := context.AfterFunc(ctx, s.closeConn)
	token := s.client.Connect()
	<-token.Done() // soon after the connection is closed at the latest
	if !stop() {
		s.closeConn()
		s.client.Disconnect(uint(farewell.Milliseconds()))
		return context.Cause(ctx)
	}
	if dialled != nil {
		return scrubbed(dialled, d.dev.Password)
	}
	return scrubbed(token.Error(), d.dev.Password)
}

func (s *session) closeConn() {
	s.connMu.Lock()
	defer s.connMu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// serve subscribes and waits for the end. It gives nil when ctx has ended.
func (s *session) serve(ctx context.Context) *devices.Problem {
	if err := s.subscribe(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return s.driver.lostProblem(err)
	}
	s.driver.tell(s.sink, nil)
	s.driver.cfg.Log.Info("subscribed", "device", s.driver.dev.ID, "addr", s.driver.address)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return storageProblem(err)
		case err := <-s.lost:
			return s.driver.lostProblem(err)
		case topic := <-s.stray:
			s.unsubscribe(topic)
		case ask := <-s.asks:
			s.client.Publish(ask.Topic, 0, false, ask.Payload)
		}
	}
}

// subscribe asks for every topic and tells which the broker refuses.
func (s *session) subscribe(ctx context.Context) error {
	d := s.driver
	filters := d.inbox.Filters()
	for len(filters) > 0 {
		n := min(len(filters), filtersAtOnce)
		ask := make(map[string]byte, n)
		for _, topic := range filters[:n] {
			ask[d.share+topic] = d.qos
		}
		filters = filters[n:]
		token := s.client.SubscribeMultiple(ask, nil)
		select {
		case <-token.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-s.lost:
			return err
		case <-time.After(d.cfg.Connect):
			return fmt.Errorf("no answer to SUBSCRIBE within %s", d.cfg.Connect)
		}
		granted, ok := token.(*paho.SubscribeToken)
		if err := token.Error(); err != nil && (!ok || len(granted.Result()) == 0) {
			return err
		}
		for filter, code := range granted.Result() {
			d.tellSubscription(s.sink, strings.TrimPrefix(filter, d.share), code >= 0x80)
		}
	}
	return nil
}

// unsubscribe ends the subscriptions that may have brought topic, which the
// broker's session still holds from earlier bindings or settings. They are not
// known any more, so all filters that take topic in are named.
func (s *session) unsubscribe(topic string) {
	if s.left[topic] || len(s.left) >= mostLeft {
		return
	}
	s.left[topic] = true
	s.driver.cfg.Log.Info("topic is no longer bound", "device", s.driver.dev.ID, "topic", topic)
	var filters []string
	for _, f := range filtersOf(topic) {
		if !s.driver.inbox.Subscribed(f) {
			filters = append(filters, f)
			if s.driver.share != "" {
				filters = append(filters, s.driver.share+f)
			}
		}
	}
	for part := range slices.Chunk(filters, filtersAtOnce) {
		s.client.Unsubscribe(part...)
	}
}

// filtersOf gives the topic and every filter with wildcards that takes it in; of
// a deep topic, those with one + or one # only.
func filtersOf(topic string) []string {
	levels := strings.Split(topic, "/")
	filters := []string{topic}
	if len(levels) > 64 {
		return filters
	}
	masks := []int{}
	if len(levels) <= 5 {
		for mask := 1; mask < 1<<len(levels); mask++ {
			masks = append(masks, mask)
		}
	} else {
		for i := range levels {
			masks = append(masks, 1<<i)
		}
	}
	seen := map[string]bool{topic: true}
	add := func(filter string) {
		if !seen[filter] {
			seen[filter] = true
			filters = append(filters, filter)
		}
	}
	for _, mask := range append(masks, 0) {
		some := slices.Clone(levels)
		for i := range some {
			if mask&(1<<i) != 0 {
				some[i] = "+"
			}
		}
		add(strings.Join(some, "/"))
		for n := range len(some) {
			add(strings.Join(append(slices.Clone(some[:n]), "#"), "/"))
		}
		add(strings.Join(some, "/") + "/#")
	}
	return filters
}

// take hands a message to the sink. It is called by paho's one reader and
// blocks only while too many messages wait.
func (s *session) take(m paho.Message) {
	received := time.Now()
	o := owed{packet: m.MessageID(), qos: m.Qos(), waits: s.driver.inbox.Bound(m.Topic())}
	if o.qos > 1 {
		o.other = m
	}
	if s.owe(o) != nil {
		return
	}
	if !o.waits {
		select {
		case s.stray <- m.Topic():
		default:
		}
		return
	}
	in := devices.Message{Topic: m.Topic(), Payload: m.Payload(), Received: received, Resent: m.Duplicate(), Retained: m.Retained()}
	if o.qos > 0 {
		in.ID = strconv.Itoa(int(o.packet))
	}
	d, reports := s.driver.inbox.Open(in)
	s.sink.Accept(d, s.settle)
	for _, ask := range s.driver.inbox.Asks() {
		select {
		case s.asks <- ask:
		default: // the next message asks again
		}
	}
	for _, r := range reports {
		s.sink.Report(r)
	}
}

// owe puts o at the end of the queue, and waits while the queue is full.
func (s *session) owe(o owed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.queue) >= s.driver.cfg.Waiting && !s.closing {
		s.room.Wait()
	}
	if s.closing {
		return errStopped
	}
	s.queue = append(s.queue, o)
	if !o.waits && s.ready == len(s.queue)-1 {
		s.ready++
		s.wake.Signal()
	}
	return nil
}

// stored is told by the sink, in order, what became of the messages that wait.
func (s *session) stored(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue[s.ready].waits = false
	if err != nil {
		s.closing, s.ended = true, true // nothing more is taken or acknowledged
		s.wake.Broadcast()
		s.room.Broadcast()
		select {
		case s.failed <- err:
		default:
		}
	}
	for s.ready < len(s.queue) && !s.queue[s.ready].waits {
		s.ready++
	}
	s.wake.Signal()
}

// runAcks writes acknowledgements until the session ends.
func (s *session) runAcks() {
	var out []byte
	var due []owed
	for {
		s.mu.Lock()
		for s.ready == 0 && !s.ended {
			s.wake.Wait()
		}
		if s.ended {
			s.mu.Unlock()
			return
		}
		due = append(due[:0], s.queue[:s.ready]...)
		rest := copy(s.queue, s.queue[s.ready:])
		clear(s.queue[rest:])
		s.queue, s.ready = s.queue[:rest], 0
		s.mu.Unlock()

		out = out[:0]
		for _, o := range due {
			switch o.qos {
			case 1:
				out = append(out, packets.Puback<<4, 2, byte(o.packet>>8), byte(o.packet))
			case 2:
				o.other.Ack()
			}
		}
		if len(out) > 0 {
			if _, err := s.conn.Write(out); err != nil {
				s.closeConn() // paho's reader finds out and tells
			}
		}
		s.mu.Lock()
		s.room.Broadcast() // only now, so that a broker that reads no acknowledgements stops our reading
		s.mu.Unlock()
	}
}

// drain takes no more messages and waits until the last ones are acknowledged,
// but not for long.
func (s *session) drain(limit time.Duration) {
	timer := time.AfterFunc(limit, s.end)
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.room.Broadcast()
	for len(s.queue) > 0 && !s.ended {
		s.room.Wait()
	}
}

// end stops the acknowledgements.
func (s *session) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing, s.ended = true, true
	s.wake.Broadcast()
	s.room.Broadcast()
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
