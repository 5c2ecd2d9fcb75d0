package streams

import (
	"context"
	"time"
)

// TickRate is that of RTP's video clock, in Hz.
const TickRate = 90000

// Ticks gives d by RTP's video clock, which wraps around.
func Ticks(d time.Duration) uint32 {
	whole := d / time.Second
	return uint32(int64(whole)*TickRate + int64(d-whole*time.Second)*TickRate/int64(time.Second)) //nolint:gosec // wraps
}

// Packets cuts an H.264 (RFC 6184, packetization mode 1) or H.265 (RFC 7798)
// frame into the payloads of RTP packets of at most the given size, a key frame
// with its parameter sets before it. NAL units that fit into a packet are one,
// and share the frame's memory.
func (f *Frame) Packets(most int) [][]byte {
	units := f.NALUs
	if f.Key {
		units = append(f.Params.Sets(), units...)
	}
	var out [][]byte
	for _, u := range units {
		switch {
		case len(u) <= 2:
		case len(u) <= most:
			out = append(out, u)
		case f.Params.Codec == H265:
			// FU of RFC 7798, 4.4.3: the unit's header with type 49, then its type.
			out = fragment(out, []byte{u[0]&0x81 | 49<<1, u[1], u[0] >> 1 & 0x3f}, u[2:], most)
		default:
			// FU-A of RFC 6184, 5.8: the unit's header with type 28, then its type.
			out = fragment(out, []byte{u[0]&0xe0 | 28, u[0] & 0x1f}, u[1:], most)
		}
	}
	return out
}

// fragment cuts the body of a unit into parts that begin with head, whose last
// byte also marks the first and the last of them.
func fragment(out [][]byte, head, body []byte, most int) [][]byte {
	const begins, ends = 0x80, 0x40
	for mark := byte(begins); len(body) > 0; mark = 0 {
		n := min(len(body), most-len(head))
		if n == len(body) {
			mark |= ends
		}
		p := append(make([]byte, 0, len(head)+n), head...)
		p[len(head)-1] |= mark
		out = append(out, append(p, body[:n]...))
		body = body[n:]
	}
	return out
}

// paceBurst is how many bytes go out at once.
const paceBurst = 32 << 10

// Pace spreads what is sent at once, so that no buffer on the way overflows. One
// goroutine may use it.
type Pace struct {
	rate float64 // bytes a second
	at   time.Time
	debt float64 // bytes beyond the pace
}

// NewPace gives a pace of so many bytes a second.
func NewPace(rate float64) *Pace { return &Pace{rate: rate} }

// Sent notes n bytes and waits if they came too fast; it returns ctx's cause.
func (p *Pace) Sent(ctx context.Context, n int) error {
	now := time.Now()
	p.debt = max(0, p.debt-now.Sub(p.at).Seconds()*p.rate) + float64(n)
	p.at = now
	if p.debt < paceBurst {
		return nil
	}
	wait := time.NewTimer(time.Duration(p.debt / 2 / p.rate * float64(time.Second)))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
