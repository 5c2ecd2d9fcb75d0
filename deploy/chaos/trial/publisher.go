package trial

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// sent is one reading that the publisher made.
type sent struct {
	at    int64 // Unix milliseconds, unique within its point
	value float64
	acked bool
}

// publisher is a device with several points that sends readings with times of
// their own, at full speed, and records which the broker has acknowledged.
// After each loss of the connection it sends again, in order, whatever lacks
// its acknowledgement, and then goes on.
type publisher struct {
	broker   string // host:port
	device   string
	password string
	points   []string // local names
	window   int      // messages in flight

	mu      sync.Mutex
	series  map[string][]sent
	waiting []message // sent, not acknowledged, in order
	began   time.Time
	stopped bool
	deaf    bool // acknowledgements of this connection no longer count
}

// message is one reading on its way.
type message struct {
	point string
	index int // in the point's series
}

func newPublisher(broker, device, password string, points []string) *publisher {
	return &publisher{
		broker: broker, device: device, password: password, points: points, window: 500,
		series: map[string][]sent{}, began: time.Now().Add(-2 * time.Hour).Truncate(time.Millisecond),
	}
}

// run publishes until finish is called and everything is acknowledged, or ctx
// ends.
func (p *publisher) run(ctx context.Context) error {
	for ctx.Err() == nil {
		p.connection(ctx)
		p.mu.Lock()
		done := p.stopped && len(p.waiting) == 0
		p.mu.Unlock()
		if done {
			return nil
		}
	}
	return context.Cause(ctx)
}

// finish lets run end once everything is acknowledged.
func (p *publisher) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopped = true
}

// connection lives through one connection.
func (p *publisher) connection(ctx context.Context) {
	lost := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(lost) }) }
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + p.broker).SetClientID(p.device).
		SetUsername(p.device).SetPassword(p.password).SetCleanSession(true).SetAutoReconnect(false).
		SetConnectTimeout(2 * time.Second).SetWriteTimeout(2 * time.Second).
		SetConnectionLostHandler(func(mqtt.Client, error) { end() }))
	t := client.Connect()
	t.WaitTimeout(3 * time.Second)
	if t.Error() != nil || !client.IsConnected() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return
	}
	defer client.Disconnect(0)
	flight := make(chan flying, p.window)
	var acks sync.WaitGroup
	acks.Go(func() { p.collect(flight, lost, end) })
	for _, m := range p.unacknowledged() {
		if !p.publish(client, m, flight, lost) {
			break
		}
	}
	for ctx.Err() == nil {
		m, ok := p.next()
		if !ok || !p.publish(client, m, flight, lost) {
			break
		}
	}
	close(flight)
	acks.Wait()
}

// flying is a message whose acknowledgement is waited for.
type flying struct {
	message
	token mqtt.Token
}

func (p *publisher) publish(client mqtt.Client, m message, flight chan<- flying, lost <-chan struct{}) bool {
	p.mu.Lock()
	s := p.series[m.point][m.index]
	p.mu.Unlock()
	token := client.Publish("offsite/"+p.device+"/"+m.point, 1, false, fmt.Sprintf(`{"ts":%d,"v":%g}`, s.at, s.value))
	select {
	case flight <- flying{m, token}:
		return true
	case <-lost:
		return false
	}
}

// collect takes the acknowledgements in order.
func (p *publisher) collect(flight <-chan flying, lost <-chan struct{}, end func()) {
	for f := range flight {
		select {
		case <-f.token.Done():
		case <-lost:
			continue
		case <-time.After(15 * time.Second):
			end()
			continue
		}
		if f.token.Error() != nil {
			end()
			continue
		}
		select {
		case <-lost: // a token is also done when its connection dies
			continue
		default:
		}
		p.acknowledge(f.message)
	}
}

// ignore lets no acknowledgement count until the next connection. Those that
// arrive while the power is being cut prove nothing: the file system answers an
// fsync that is under way at that very moment as if it had been done.
func (p *publisher) ignore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
}

func (p *publisher) acknowledge(m message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.deaf {
		return
	}
	p.series[m.point][m.index].acked = true
	for len(p.waiting) > 0 && p.series[p.waiting[0].point][p.waiting[0].index].acked {
		p.waiting = p.waiting[1:]
	}
}

// unacknowledged begins a connection: what is to be sent again.
func (p *publisher) unacknowledged() []message {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = false
	return append([]message(nil), p.waiting...)
}

// next makes a new reading: values swing around the limit so that each point
// crosses it every few hundred readings.
func (p *publisher) next() (message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped {
		return message{}, false
	}
	point := p.points[rand.IntN(len(p.points))]
	list := p.series[point]
	value := limitValue - 50
	if len(list) > 0 {
		value = list[len(list)-1].value
		if rand.IntN(400) == 0 { // to the other side
			value = 2*limitValue - value
		}
		value += float64(rand.IntN(3)-1) / 8
	}
	m := message{point, len(list)}
	p.series[point] = append(list, sent{at: p.began.UnixMilli() + int64(len(list)), value: value})
	p.waiting = append(p.waiting, m)
	return m, true
}

// counts tells how many readings were made and how many acknowledged.
func (p *publisher) counts() (made, acked int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, list := range p.series {
		made += len(list)
		for _, s := range list {
			if s.acked {
				acked++
			}
		}
	}
	return made, acked
}
