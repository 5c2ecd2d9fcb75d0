// Package wire reads and writes what data loggers send by HJ 212: frames, the
// packets in them, their checksum and their encrypted area, and the codes of the
// factors.
//
//	## + 4 decimal digits (bytes of the segment) + segment + 4 hex digits of CRC + CR LF
//	QN=…;ST=…;CN=…;PW=…;MN=…;Flag=…;[PNUM=…;PNO=…;]CP=&&DataTime=…;a34004-Rtd=35.2,a34004-Flag=N;…&&
//
// The segment has at most 1,024 bytes. [CRC] has only 256 values: it finds
// damage, it proves nothing. [Decoder] frames by length, over any cut of the
// stream, and finds the next frame after garbage. Strict mode takes what the
// standards print, besides frames without QN or Flag and QN without
// milliseconds, which the loggers of 2005 send. Tolerant mode takes the
// dialects of the field too: a length of three digits or one that does not fit,
// no CR LF, a semicolon before the closing &&, fields in another order,
// DataTime with milliseconds. Each packet names its dialects.
//
// The data area of 2025 may be encrypted with SM4, see [Cipher]; the CRC is
// that of the plain segment. The cipher agrees with the printed vector of
// GB/T 32907; no logger of the field has been tried with it.
package wire

import (
	"bytes"
	"encoding/hex"
	"strconv"

	"offsite/devices"
)

// Sizes of a frame, in bytes.
const (
	longestSegment = 1024 // HJ 212-2017, section 6.3.1
	headSize       = 6    // "##" and four digits
	crcSize        = 4
	keepRaw        = 2048 // of a refused frame
)

// Frame is what was found in a stream: a packet, or a refusal with the bytes it
// is about. Both are there where the frame is whole but what it says is not.
type Frame struct {
	Packet  *Packet
	Refused *devices.Problem
	Raw     []byte // valid until the next call of Write; at most 2,048 bytes of a refused frame
}

// Decoder finds frames in a stream however it is cut. The zero Decoder is
// strict. It is not safe for use by several goroutines.
type Decoder struct {
	Tolerant bool                    // accept the dialects that loggers in the field speak
	Text     bool                    // the stream is a text: LF, or its end, may stand for CR LF
	Key      func(mn string) *Cipher // of the logger's encrypted area, nil if it has none; may itself be nil

	buf   []byte
	start int  // what lies before it has been given
	last  int  // where the last frame began, for Again
	ended bool // nothing more will come
	lost  bool // the last bytes were refused: what follows up to the next frame belongs to them
}

// Write adds p to the stream. It never fails.
func (d *Decoder) Write(p []byte) (int, error) {
	if d.start > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.start:])]
		d.start, d.last = 0, 0
	}
	d.buf = append(d.buf, p...)
	return len(p), nil
}

// End says that nothing more will come.
func (d *Decoder) End() { d.ended = true }

// Again gives the last frame once more, by rules that have changed meanwhile.
// Nothing was written since.
func (d *Decoder) Again() { d.start = d.last }

// Next gives the next frame, and false when there is none before more is written.
func (d *Decoder) Next() (Frame, bool) {
	for {
		d.skipLineEnds()
		b := d.buf[d.start:]
		at := findStart(b)
		if at == 0 {
			d.last = d.start
			return d.take(b)
		}
		if at < 0 {
			at = len(b) - trailingHash(b)
			if d.ended {
				at = len(b)
			}
		}
		if at == 0 {
			return Frame{}, false
		}
		told := d.lost
		f := d.refuse(b, at, garbage(at))
		if !told {
			return f, true
		}
	}
}

// take reads the frame at the start of b. It gives no Raw where more must come.
func (d *Decoder) take(b []byte) (Frame, bool) {
	f := d.try(b)
	switch {
	case f.problem != nil && f.packet == nil:
		return d.refuse(b, 2+findAfter(b[2:]), f.problem), true
	case f.size > 0:
		d.start += f.size
		d.lost = false
		return Frame{Packet: f.packet, Refused: f.problem, Raw: b[:f.size]}, true
	case d.ended:
		return d.refuse(b, 2+findAfter(b[2:]), d.whyNot(b, Truncated())), true
	}
	// A logger that lost its breath in the middle of a frame begins anew: the
	// whole frame behind must not wait for the rest that never comes.
	for at, n := 2+findAfter(b[2:]), 0; at+2 <= len(b) && n < mostInner; at, n = at+2+findAfter(b[at+2:]), n+1 {
		if inner := d.try(b[at:]); inner.size > 0 && inner.problem == nil {
			return d.refuse(b, at, d.whyNot(b[:at], Truncated())), true
		}
	}
	return Frame{}, false
}

// refuse gives up the first n bytes of b.
func (d *Decoder) refuse(b []byte, n int, problem *devices.Problem) Frame {
	n = min(n, len(b))
	d.start += n
	d.lost = true
	return Frame{Refused: problem, Raw: b[:min(n, keepRaw)]}
}

// skipLineEnds passes over what may stand between two frames.
func (d *Decoder) skipLineEnds() {
	for d.start < len(d.buf) {
		switch c := d.buf[d.start]; {
		case c == '\r' || c == '\n':
		case (d.Text || d.Tolerant) && (c == ' ' || c == '\t' || c == 0):
		default:
			return
		}
		d.start++
	}
}

// findStart gives the place of the first "##" that a digit follows, or could
// follow once more has come; -1 if there is none.
func findStart(b []byte) int {
	for from := 0; ; {
		at := bytes.Index(b[from:], []byte("##"))
		if at < 0 {
			return -1
		}
		at += from
		if at+2 >= len(b) || digit(b[at+2]) || at == 0 && b[at+2] != '#' {
			return at
		}
		from = at + 1
	}
}

// findAfter gives the place of the next start, or the length of what certainly
// is none.
func findAfter(b []byte) int {
	for from := 0; ; {
		at := bytes.Index(b[from:], []byte("##"))
		if at < 0 {
			return len(b) - trailingHash(b)
		}
		at += from
		if at+2 >= len(b) || digit(b[at+2]) {
			return at
		}
		from = at + 1
	}
}

func trailingHash(b []byte) int {
	if len(b) > 0 && b[len(b)-1] == '#' {
		return 1
	}
	return 0
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// tried is what the bytes at a start are: a frame of size bytes, no frame with
// the problem why, or neither yet.
type tried struct {
	size    int
	packet  *Packet
	problem *devices.Problem
}

func (d *Decoder) try(b []byte) tried {
	digits := 0
	for digits < 4 && 2+digits < len(b) && digit(b[2+digits]) {
		digits++
	}
	if digits < 4 && 2+digits == len(b) {
		return tried{}
	}
	if digits == 0 || digits < 4 && !d.Tolerant {
		return tried{problem: devices.Invalid("length", "bad_length", "包头 ## 之后须为 4 位十进制长度", "four decimal digits of length follow ##")}
	}
	declared, _ := strconv.Atoi(string(b[2 : 2+digits])) // at most four digits
	if d.Tolerant {
		return d.tryTolerant(b, 2+digits, declared)
	}
	return d.tryStrict(b, declared)
}

func (d *Decoder) tryStrict(b []byte, declared int) tried {
	end := headSize + declared
	if declared > longestSegment {
		return tried{problem: tooLong(declared)}
	}
	if len(b) < end+crcSize {
		return tried{}
	}
	segment, stated := b[headSize:end], b[end:end+crcSize]
	if !bytes.HasSuffix(segment, []byte("&&")) {
		return tried{problem: d.whyNot(b, wrongLength(declared))}
	}
	s := d.check(segment, stated)
	if s.problem != nil {
		return tried{problem: d.whyNot(b[:end], s.problem)}
	}
	close, whole := d.closing(b[end+crcSize:])
	if !whole {
		return tried{}
	}
	if close < 0 {
		return tried{problem: noLineEnd()}
	}
	return d.finish(s, end+crcSize+close, declared)
}

// closing gives the size of the CR LF at the start of b, -1 if something else
// stands there, and whether that is certain.
func (d *Decoder) closing(b []byte) (size int, certain bool) {
	switch {
	case bytes.HasPrefix(b, []byte("\r\n")):
		return 2, true
	case d.Text && bytes.HasPrefix(b, []byte("\n")):
		return 1, true
	case d.Text && d.ended && len(b) == 0:
		return 0, true
	case len(b) == 0 || len(b) == 1 && b[0] == '\r':
		return 0, false
	default:
		return -1, true
	}
}

// tryTolerant believes the length first, and then whatever place the CRC fits.
func (d *Decoder) tryTolerant(b []byte, from, declared int) tried {
	var failed sealed
	end := from + declared
	if declared <= longestSegment && len(b) >= end+crcSize && bytes.HasSuffix(b[from:end], []byte("&&")) {
		if failed = d.check(b[from:end], b[end:end+crcSize]); failed.problem == nil {
			if from < headSize {
				failed.dialects = append(failed.dialects, "length_digits")
			}
			return d.finishTolerant(failed, b, end+crcSize, declared)
		}
	}
	limit := min(len(b), from+longestSegment+crcSize)
	ends := d.ends(b[from:limit])
	for _, n := range ends {
		s := d.check(b[from:from+n], b[from+n:from+n+crcSize])
		if s.problem == nil {
			s.dialects = append(s.dialects, "length_wrong")
			return d.finishTolerant(s, b, from+n+crcSize, declared)
		}
		if failed.problem == nil {
			failed = s
		}
	}
	return d.giveUp(b, from, declared, failed)
}

// ends gives the lengths that the segment at the start of b may have: the first
// that "&&" and four hexadecimal digits mark, and those whose CRC fits. One pass
// finds them, whatever b is made of.
func (d *Decoder) ends(b []byte) (lengths []int) {
	open := bytes.Index(b, []byte("CP=&&"))
	if open < 0 {
		return nil
	}
	from := open + len("CP=&&")
	secret := d.cipher(b) != nil
	reg := crcOf(0xffff, b[:from])
	for at := from; at+2+crcSize <= len(b); at++ {
		if b[at] == '&' && b[at+1] == '&' {
			var stated [2]byte
			_, err := hex.Decode(stated[:], b[at+2:at+2+crcSize])
			fits := crcOf(reg, b[at:at+2]) == uint16(stated[0])<<8|uint16(stated[1])
			if err == nil && (fits || secret || len(lengths) == 0) && len(lengths) < mostEnds {
				lengths = append(lengths, at+2)
			}
		}
		reg = crcOf(reg, b[at:at+1])
	}
	return lengths
}

// Bounds of what is tried at each reading of a stream that makes no sense.
const (
	mostEnds  = 8
	mostInner = 8
)

// giveUp says why no frame ends in b, or that one still may.
func (d *Decoder) giveUp(b []byte, from, declared int, failed sealed) tried {
	full := len(b) >= from+longestSegment+crcSize
	ended := d.ended || bytes.ContainsAny(b[from:], "\r\n") || bytes.Contains(b[from:], []byte("##"))
	if !full && (!ended || declared <= longestSegment && len(b) < from+declared+crcSize) {
		return tried{}
	}
	why := failed.problem
	switch {
	case why != nil:
	case declared > longestSegment:
		why = tooLong(declared)
	default:
		why = wrongLength(declared)
	}
	return tried{problem: d.whyNot(b, why)}
}

func (d *Decoder) finishTolerant(s sealed, b []byte, size, declared int) tried {
	if close, certain := d.closing(b[size:]); close > 0 {
		size += close
	} else if certain && close < 0 {
		s.dialects = append(s.dialects, "no_crlf")
	}
	return d.finish(s, size, declared)
}

// finish reads what a segment says.
func (d *Decoder) finish(s sealed, size, declared int) tried {
	p, ps := parse(s.plain, d.Tolerant)
	p.CRC, p.Length, p.Encrypted = s.crc, declared, s.encrypted
	p.Dialects = append(s.dialects, p.Dialects...)
	if len(ps) == 0 && !d.Tolerant && len(s.dialects) > 0 {
		ps.Add(devices.Invalid("cp", "not_encrypted", "该数采仪配置了 SM4 密钥，但数据区未加密；请检查数采仪的加密设置", "the logger has an SM4 key but its data area is plain; check its encryption"))
	}
	t := tried{size: size, packet: p}
	if len(ps) > 0 {
		t.problem = ps[0]
	}
	return t
}

// ascii says that b is plain text. Of encrypted areas not one in a million is.
func ascii(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}
