// Package bus asks on a Modbus bus: one connection or serial port, which drivers
// and guests share.
//
// A host and port is one bus, and so is a serial port: one connection, and a queue in order of arrival
// that whoever asks joins anew for each request, so that none is served twice while
// another waits. What the queue's holder may assume of the peer is little:
//
//   - TCP: an answer counts when its transaction id, unit id and function fit; a
//     late one finds nobody who waits for it. A slow answer does not keep the
//     queue: its request stands aside after a while and still has its whole
//     timeout, and whoever holds the queue reads for it.
//   - RTU and ASCII have no transaction id. Before each request the line is drained until it
//     is silent; after an answer that did not come the connection is closed, the
//     unit is left alone for one timeout, and the first request after that asks
//     for a number of registers that no unanswered request asked for, so that a
//     late answer is known by its length. After four of them in vain the unit is
//     left alone for ten seconds and no answer is expected any more.
//   - Any error that is not a Modbus exception closes the connection, except that
//     one silent unit on TCP does not take it from its neighbours.
//
// A bus rests between requests, and after connecting, as long as the one who asks
// for most.
package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/goburrow/modbus"

	"offsite/devices/modbus/wire"
)

// Numbers of the connection.
const (
	dialTimeout   = 5 * time.Second
	firstBackoff  = 100 * time.Millisecond
	longestWait   = 10 * time.Second
	rtuAfterFault = 20 * time.Millisecond // of silence for everybody
	badInARow     = 3                     // faults of anybody without one good answer, before all wait: neighbours do not for the first
	deafAfter     = 3                     // unanswered requests in a row, of any unit: the connection itself may be dead
	owedMost      = 4                     // unanswered requests of a unit that lengths keep apart
	owedFor       = 10 * time.Second      // after which no answer comes any more
)

// bus is one physical endpoint. Whoever has the turn in queue owns the fields
// below it; mu guards those below mu, and is never held while waiting.
type bus struct {
	at       Endpoint
	untagged bool // frames do not tell which request they answer
	cfg      *Config
	users    int           // of the bus; guarded by the pool's lock
	writing  chan struct{} // holds whoever sets a value

	queue    queue
	conn     Link
	in       *bufio.Reader
	packager modbus.Packager
	setUnit  func(uint8)
	number   int       // of the connection, from 1
	retryAt  time.Time // no connecting before
	hushTill time.Time
	opened   time.Time // when the connection was

	mu         sync.Mutex
	members    map[*Seat]bool // true: left out
	units      map[uint8]*unit
	parked     map[uint16]chan []byte // by transaction id; closed when the connection is
	spoilt     int                    // number of the last connection that must not be used again
	failures   int                    // of connecting, or of answers, since the last good answer
	last       *Fault                 // what failed last, told to those who come before retryAt
	unanswered int
	ended      time.Time // the last exchange
	revived    time.Time // when the first unit answered again after all were left out
}

// unit is what the bus knows of one unit id.
type unit struct {
	slowest time.Duration // of its recent answers
	quiet   time.Time     // RTU: not to be asked before
	owed    []owed        // RTU: what it never answered
}

type owed struct {
	size int // of the values
	at   time.Time
}

func newBus(at Endpoint, cfg *Config) *bus {
	b := &bus{at: at, untagged: at.Framing.Untagged(), cfg: cfg, writing: make(chan struct{}, 1), members: map[*Seat]bool{}, units: map[uint8]*unit{}, parked: map[uint16]chan []byte{}}
	b.packager, b.setUnit = at.Framing.packager()
	return b
}

// read asks for registers and gives their 2 × quantity bytes. held is how long
// the bus served nobody else. The error is an Exception, a *Fault, or the
// context's.
func (b *bus) read(ctx context.Context, q Query) (data []byte, held time.Duration, err error) {
	t := &turn{queue: &b.queue}
	if err := t.take(ctx); err != nil {
		return nil, 0, err
	}
	defer func() {
		t.give()
		held = t.spent
	}()
	if b.at.Serial { // we know how long the line needs
		q.Timeout += b.at.under(q)
		q.Patience += b.at.under(q)
	}
	if b.untagged && q.size() > 0 {
		if err := b.catchUp(ctx, t, q); err != nil {
			return nil, 0, err
		}
	}
	used := b.conn != nil
	data, err = b.attempt(ctx, t, q)
	var f *Fault
	if used && !b.untagged && q.size() > 0 && t.place != nil && errors.As(err, &f) && f.Kind == Closed {
		data, err = b.attempt(ctx, t, q) // a connection that idled away says so only when used
	}
	return data, 0, err
}

// catchUp makes sure that nothing a unit still owes can be taken for the
// answer to q: it asks for so many registers or bits that no unanswered request
// has an answer of that length. The answer itself is thrown away.
func (b *bus) catchUp(ctx context.Context, t *turn, q Query) error {
	b.mu.Lock()
	debts := slices.Clone(b.unit(q.Unit).owed)
	b.mu.Unlock()
	if len(debts) == 0 {
		return nil
	}
	probe := q
	probe.Quantity = otherQuantity(q, debts)
	_, err := b.attempt(ctx, t, probe)
	var exception Exception
	if errors.As(err, &exception) {
		return nil
	}
	return err
}

// attempt does one exchange by goburrow's client on our transport.
func (b *bus) attempt(ctx context.Context, t *turn, q Query) ([]byte, error) {
	if err := b.connect(ctx); err != nil {
		return nil, err
	}
	if err := b.rest(ctx, q); err != nil {
		return nil, err
	}
	if b.untagged {
		if err := b.hush(ctx, time.Now().Add(q.Timeout)); err != nil {
			return nil, b.settle(ctx, q, b.number, time.Now(), err)
		}
	}
	number, sent := b.number, time.Now()
	b.setUnit(q.Unit)
	client := modbus.NewClient2(b.packager, transport(func(request []byte) ([]byte, error) {
		if b.untagged {
			return b.sendUntagged(ctx, q, request)
		}
		return b.sendTCP(ctx, t, q, request)
	}))
	data, err := q.ask(client)
	var refused *modbus.ModbusError
	if errors.As(err, &refused) {
		err = Exception(refused.ExceptionCode)
	}
	if size := q.size(); err == nil && size > 0 && len(data) != size {
		err = &Fault{Kind: Wrong, err: fmt.Errorf("%d bytes of values, want %d", len(data), size)}
	}
	return data, b.settle(ctx, q, number, sent, err)
}

// rest waits as long as the bus is to be left alone after connecting and
// between an answer and the next request: as long as any of its devices asks.
func (b *bus) rest(ctx context.Context, q Query) error {
	pause, settle := q.pause, q.settle
	b.mu.Lock()
	for m := range b.members {
		pause = max(pause, m.wishes.Pause)
		settle = max(settle, m.wishes.Settle)
	}
	until := b.ended.Add(pause)
	b.mu.Unlock()
	if settled := b.opened.Add(settle); settled.After(until) {
		until = settled
	}
	if !Sleep(ctx, time.Until(until)) {
		return context.Cause(ctx)
	}
	return nil
}

// settle draws the conclusions of an exchange for those that follow.
func (b *bus) settle(ctx context.Context, q Query, number int, sent time.Time, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	u, now := b.unit(q.Unit), time.Now()
	b.ended = now
	var exception Exception
	if err == nil || errors.As(err, &exception) {
		u.slowest = max(now.Sub(sent), u.slowest-u.slowest/16)
		u.owed, b.failures, b.unanswered = nil, 0, 0
		return err
	}
	if b.untagged {
		b.spoilt = max(b.spoilt, number)
		u.quiet = now.Add(q.Timeout)
		if q.size() > 0 {
			u.owed = append(u.owed, owed{q.size(), now})
		}
		if len(u.owed) == owedMost {
			u.quiet = now.Add(owedFor) // it may be deaf to lengths that its registers do not allow
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	f := faultOf(err)
	f.after = now.Sub(sent)
	if f.Kind == Silent {
		if b.unanswered++; b.unanswered >= deafAfter {
			b.spoilt, b.unanswered = max(b.spoilt, number), 0
		}
		return f
	}
	b.spoilt = max(b.spoilt, number)
	b.failures++
	b.last = f
	return f
}

// unit gives what is known of a unit; the caller holds mu.
func (b *bus) unit(id uint8) *unit {
	u := b.units[id]
	if u == nil {
		u = &unit{}
		b.units[id] = u
	}
	if n := len(u.owed); n > 0 && time.Since(u.owed[n-1].at) >= owedFor {
		u.owed = nil
	}
	return u
}

// connect sees to it that there is a connection that may be used.
func (b *bus) connect(ctx context.Context) error {
	b.mu.Lock()
	spoilt, failures, last := b.spoilt >= b.number, b.failures, b.last
	b.mu.Unlock()
	if b.conn != nil && spoilt {
		b.drop()
		if b.untagged {
			b.hushTill = time.Now().Add(rtuAfterFault)
		}
		if failures >= badInARow {
			b.retryAt = time.Now().Add(backoff(failures - badInARow + 1))
		}
	}
	if b.conn != nil {
		return nil
	}
	if time.Now().Before(b.retryAt) {
		return last
	}
	dialling, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := b.at.open(dialling, b.cfg)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return b.noDial(&Fault{Kind: Unreachable, err: err})
	}
	b.conn, b.in, b.opened = conn, bufio.NewReaderSize(conn, wire.Room), time.Now()
	b.number++
	return nil
}

func (b *bus) noDial(f *Fault) *Fault {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures++
	b.last = f
	b.retryAt = time.Now().Add(backoff(b.failures))
	return f
}

func backoff(failures int) time.Duration {
	return min(longestWait, firstBackoff<<min(failures-1, 10))
}

// drop closes the connection and lets those who wait for an answer on it know.
func (b *bus) drop() {
	if b.conn == nil {
		return
	}
	_ = b.conn.Close() // nothing was promised on it
	b.conn, b.in = nil, nil
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, ch := range b.parked {
		close(ch)
		delete(b.parked, id)
	}
}

// Sleep waits, and says whether ctx still goes on.
func Sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
