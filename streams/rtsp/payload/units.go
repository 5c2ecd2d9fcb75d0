package payload

import (
	"bytes"
	"errors"

	"offsite/streams"
)

const (
	mostBytes = 8 << 20 // of an access unit
	mostUnits = 512     // NAL units of an access unit
	mostKept  = 1 << 20 // bytes of the buffer that is kept for the next one
	peekWrap  = 512     // bytes of a unit that are looked through for start codes
)

var (
	errTooLarge   = errors.New("access unit too large")
	errNoBegin    = errors.New("fragment without a beginning")
	errUnfinished = errors.New("fragmented unit without an end")
	errUnknown    = errors.New("kind of packet that is not read")
	errCut        = errors.New("packet cut short")
)

// Units gathers the NAL units of H.264 or H.265. Some cameras put several units
// with their start codes into one: they are taken apart. One goroutine may use it.
type Units struct {
	done Done
	h265 bool

	begun bool // a packet of this access unit has come
	stamp uint32
	buf   []byte   // its units, one after the other
	spans [][2]int // where in buf each begins and ends
	open  int      // where in buf the fragmented unit begins that is being gathered; -1 for none
	bad   bool     // a part is missing or cannot be read: it is not handed on
	lost  bool     // packets before this one were lost: a fragment may have no beginning
	wraps bool     // the camera puts start codes into units
	units [][]byte // handed on
}

// NewUnits gathers units of H.264 or H.265 for done.
func NewUnits(codec streams.Codec, done Done) *Units {
	return &Units{h265: codec == streams.H265, done: done, open: -1, lost: true}
}

// Lost tells that packets before the next one are missing. What was gathered is
// forgotten; of what comes the beginning may be missing, which shows in the first
// slice.
func (u *Units) Lost() {
	u.reset()
	u.lost = true
}

// Take takes the next packet. It returns why an access unit is not handed on, once.
func (u *Units) Take(p *Packet) error {
	var err error
	if u.begun && p.Stamp != u.stamp {
		err = u.end()
	}
	u.begun, u.stamp = true, p.Stamp
	if !u.bad && len(p.Payload) > 0 { // one of no bytes may carry the mark
		if cut := u.cut(p.Payload); cut != nil {
			u.bad, err = true, cut
		}
	}
	if p.Marked {
		if ended := u.end(); ended != nil {
			err = ended
		}
	}
	return err
}

// end hands the access unit on and begins the next.
func (u *Units) end() error {
	defer u.reset()
	switch {
	case u.bad:
		return nil // has been told
	case u.open >= 0:
		return errUnfinished
	}
	u.list()
	if len(u.units) > 0 {
		u.done(u.units, u.stamp)
	}
	return nil
}

func (u *Units) reset() {
	u.begun, u.bad, u.lost, u.open = false, false, false, -1
	u.spans, u.buf = u.spans[:0], u.buf[:0]
	if cap(u.buf) > mostKept {
		u.buf = nil
		clear(u.units)
	}
}

// list finds the units in the buffer, which no longer moves.
func (u *Units) list() {
	u.units = u.units[:0]
	for _, s := range u.spans {
		unit := u.buf[s[0]:s[1]:s[1]]
		if !u.wraps {
			u.wraps = bytes.Contains(unit[:min(len(unit), peekWrap)], []byte{0, 0, 0, 1})
		}
		if !u.wraps {
			u.units = append(u.units, unit)
			continue
		}
		code := bytes.Index(unit, []byte{0, 0, 1})
		if code < 0 {
			code = len(unit)
		}
		if first := bytes.TrimRight(unit[:code], "\x00"); len(first) > 0 {
			u.units = append(u.units, first)
		}
		u.units = append(u.units, streams.SplitAnnexB(unit[code:])...)
	}
}

func (u *Units) cut(b []byte) error {
	if u.h265 {
		return u.cut265(b)
	}
	// RFC 6184, 5.2.
	const stapA, stapB, mtap16, mtap24, fuA, fuB = 24, 25, 26, 27, 28, 29
	switch b[0] & 0x1f {
	case stapA:
		return u.aggregate(b[1:])
	case fuA:
		if len(b) < 2 {
			return errCut
		}
		return u.fragment(b[1], b[2:], b[0]&0x60|b[1]&0x1f)
	case stapB, mtap16, mtap24, fuB:
		return errUnknown
	}
	return u.whole(b)
}

func (u *Units) cut265(b []byte) error {
	// RFC 7798, 4.4.
	const aggregation, fragmentation, paci = 48, 49, 50
	if len(b) < 2 {
		return errCut
	}
	switch b[0] >> 1 & 0x3f {
	case aggregation:
		return u.aggregate(b[2:])
	case fragmentation:
		if len(b) < 3 {
			return errCut
		}
		return u.fragment(b[2], b[3:], b[0]&0x81|b[2]&0x3f<<1, b[1])
	case paci:
		return errUnknown
	}
	return u.whole(b)
}

// whole takes a unit that is a packet, or one of several in it.
func (u *Units) whole(unit []byte) error {
	if u.open >= 0 {
		return errUnfinished
	}
	from := len(u.buf)
	if err := u.add(unit); err != nil {
		return err
	}
	return u.close(from)
}

// aggregate takes units each behind its length. Some cameras pad with zeros.
func (u *Units) aggregate(b []byte) error {
	for len(bytes.TrimLeft(b, "\x00")) > 0 {
		if len(b) < 2 {
			return errCut
		}
		n := int(b[0])<<8 | int(b[1])
		if b = b[2:]; n == 0 || n > len(b) {
			return errCut
		}
		if err := u.whole(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// fragment takes a part of a unit, whose header is given. Some cameras mark the
// only part of a small unit as both its beginning and its end, against RFC 6184,
// 5.8.
func (u *Units) fragment(mark byte, body []byte, header ...byte) error {
	const begins, ends = 0x80, 0x40
	switch {
	case mark&begins != 0 && u.open >= 0:
		return errUnfinished
	case mark&begins != 0:
		u.open = len(u.buf)
		u.buf = append(u.buf, header...)
	case u.open < 0 && u.lost:
		return nil
	case u.open < 0:
		return errNoBegin
	}
	if err := u.add(body); err != nil {
		return err
	}
	if mark&ends == 0 {
		return nil
	}
	from := u.open
	u.open = -1
	return u.close(from)
}

func (u *Units) add(b []byte) error {
	if len(u.buf)+len(b) > mostBytes {
		u.buf = nil
		return errTooLarge
	}
	u.buf = append(u.buf, b...)
	return nil
}

// close notes the unit that ends here.
func (u *Units) close(from int) error {
	if len(u.spans) >= mostUnits {
		return errTooLarge
	}
	u.spans = append(u.spans, [2]int{from, len(u.buf)})
	return nil
}
