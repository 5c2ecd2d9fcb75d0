package bus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"offsite/devices/modbus/wire"
)

// slice is how long one who stands aside keeps a free bus before it looks
// whether a neighbour has come.
const slice = 10 * time.Millisecond

// transport is goburrow's Transporter for one exchange.
type transport func(request []byte) ([]byte, error)

// Send gives the one frame that answers request.
func (t transport) Send(request []byte) ([]byte, error) { return t(request) }

// sendTCP sends a request and waits for the frame with its transaction id.
func (b *bus) sendTCP(ctx context.Context, t *turn, q Query, request []byte) ([]byte, error) {
	deadline := time.Now().Add(q.Timeout)
	patience := deadline
	if q.Patience < q.Timeout {
		patience = time.Now().Add(q.Patience)
	}
	if err := b.write(ctx, request, deadline); err != nil {
		return nil, err
	}
	id := binary.BigEndian.Uint16(request)
	frame, err := b.await(ctx, id, patience)
	if errors.Is(err, os.ErrDeadlineExceeded) && patience.Before(deadline) && ctx.Err() == nil {
		frame, err = b.standAside(ctx, t, id, deadline)
	}
	if err != nil {
		return nil, err
	}
	return frame, fits(request[6:8], frame[6:8])
}

// fits says whether unit and function of an answer are those of the request.
// goburrow takes any other function for an exception.
func fits(request, answer []byte) error {
	if answer[0] != request[0] || answer[1]&^0x80 != request[1] {
		return &Fault{Kind: Wrong, err: fmt.Errorf("answer of unit %d function %#x to a request to unit %d function %#x", answer[0], answer[1], request[0], request[1])}
	}
	return nil
}

// await reads frames until the one with this transaction id is there. Others
// go to those who stand aside; a late answer finds nobody and dies.
func (b *bus) await(ctx context.Context, id uint16, until time.Time) ([]byte, error) {
	if err := b.conn.SetReadDeadline(until); err != nil {
		return nil, err
	}
	defer b.interruptible(ctx)()
	for {
		frame, err := wire.ReadTCP(b.in)
		if err != nil {
			return nil, err
		}
		got := binary.BigEndian.Uint16(frame)
		if got == id {
			return frame, nil
		}
		b.mu.Lock()
		if ch := b.parked[got]; ch != nil {
			ch <- frame // has room for one, and is taken out with it
			delete(b.parked, got)
		}
		b.mu.Unlock()
	}
}

// standAside gives the turn to neighbours while an overdue answer may still
// come, and reads on whenever nobody else wants the bus.
func (b *bus) standAside(ctx context.Context, t *turn, id uint16, deadline time.Time) ([]byte, error) {
	waiting, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	answer := make(chan []byte, 1)
	b.mu.Lock()
	b.parked[id] = answer
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		if b.parked[id] == answer {
			delete(b.parked, id)
		}
		b.mu.Unlock()
	}()
	for {
		t.give()
		place := b.queue.join()
		select {
		case frame, ok := <-answer:
			b.queue.leave(place)
			return handed(frame, ok)
		case <-waiting.Done():
			b.queue.leave(place)
			return nil, os.ErrDeadlineExceeded
		case <-place:
			t.hold(place)
		}
		select {
		case frame, ok := <-answer: // came, or the connection went, while we queued
			return handed(frame, ok)
		default:
		}
		frame, err := b.await(waiting, id, earlier(deadline, time.Now().Add(slice)))
		if !errors.Is(err, os.ErrDeadlineExceeded) || waiting.Err() != nil {
			return frame, err
		}
	}
}

// handed is what another reader left for us; not ok means that it closed the
// connection.
func handed(frame []byte, ok bool) ([]byte, error) {
	if !ok {
		return nil, io.EOF
	}
	return frame, nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// sendUntagged sends a request and waits for a frame that has its unit, function
// and length. Whole frames that do not fit are late answers and are dropped.
func (b *bus) sendUntagged(ctx context.Context, q Query, request []byte) ([]byte, error) {
	now := time.Now()
	deadline, patience := now.Add(q.Timeout), now.Add(q.Patience)
	if err := b.write(ctx, request, deadline); err != nil {
		return nil, err
	}
	var misfit error
	asked := b.at.Framing.head(request)
	for {
		frame, body, err := b.nextUntagged(ctx, patience, deadline)
		switch {
		case err != nil && misfit != nil && errors.Is(err, os.ErrDeadlineExceeded):
			return nil, &Fault{Kind: Wrong, err: misfit}
		case err != nil:
			return nil, err
		}
		if misfit = fits(asked, body[:2]); misfit != nil {
			continue
		}
		if exception, size := body[1]&0x80 != 0, q.size(); exception || size == 0 || int(body[2]) == size {
			return frame, nil
		}
		misfit = fmt.Errorf("%d bytes of values, want %d", body[2], q.size())
	}
}

// nextUntagged gives the next whole frame. It waits until deadline, but after the
// neighbours' patience only while none of them comes.
func (b *bus) nextUntagged(ctx context.Context, patience, deadline time.Time) (frame, body []byte, err error) {
	for {
		until := time.Now().Add(slice)
		if until.Before(patience) {
			until = patience
		}
		until = earlier(until, deadline)
		frame, body, err = b.untilUntagged(ctx, until)
		again := errors.Is(err, os.ErrDeadlineExceeded) && until.Before(deadline) && ctx.Err() == nil
		if !again || b.queue.contested() {
			return frame, body, err
		}
	}
}

func (b *bus) untilUntagged(ctx context.Context, until time.Time) (frame, body []byte, err error) {
	if err := b.conn.SetReadDeadline(until); err != nil {
		return nil, nil, err
	}
	defer b.interruptible(ctx)()
	return b.at.Framing.next(b.in)
}

// hush waits until the line is silent, throwing away what still comes. A peer
// that closed the connection meanwhile is connected to once more: nothing was
// asked on it.
func (b *bus) hush(ctx context.Context, limit time.Time) error {
	until, again := b.hushTill, false
	var scrap [wire.Room]byte
	for now := time.Now(); now.Before(limit); now = time.Now() {
		if quiet := now.Add(b.at.silence()); until.Before(quiet) {
			until = quiet
		}
		b.in.Reset(b.conn)
		n, err := b.readUntil(ctx, scrap[:], until)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n > 0:
			until = time.Time{}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case again:
			return err
		default:
			again = true
			b.drop()
			if err := b.connect(ctx); err != nil {
				return err
			}
		}
	}
	return &Fault{Kind: Wrong, err: errors.New("the line is never silent")}
}

func (b *bus) readUntil(ctx context.Context, into []byte, until time.Time) (int, error) {
	if err := b.conn.SetReadDeadline(until); err != nil {
		return 0, err
	}
	defer b.interruptible(ctx)()
	return b.conn.Read(into)
}

func (b *bus) write(ctx context.Context, request []byte, deadline time.Time) error {
	if err := b.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	defer b.interruptible(ctx)()
	n, err := b.conn.Write(request)
	if err != nil && n > 0 { // half a request makes garbage of the next
		b.mu.Lock()
		b.spoilt = b.number
		b.mu.Unlock()
	}
	return err
}

// interruptible ends reads and writes on the connection when ctx ends. The
// function it gives must be called before anybody else uses the connection.
func (b *bus) interruptible(ctx context.Context) func() {
	conn, done := b.conn, make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(time.Unix(1, 0)) // a connection that is closed already does not matter
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}
