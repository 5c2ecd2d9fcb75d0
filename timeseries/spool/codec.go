package spool

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

const (
	version  = 1
	headSize = 1 + 4 + 8 + 8 + 8
)

// Flags of a record and of a reading in it.
const (
	flagResent = 1
	flagLetter = 2

	flagStamped  = 1
	flagRepeat   = 2
	flagClaimed  = 4
	flagMark     = 8
	flagSameSite = 16
)

const noProblem = 255

// kinds numbers the kinds of a Problem on disk.
var kinds = [...]error{nil, devices.ErrInvalid, devices.ErrNotFound, devices.ErrConflict, devices.ErrUnavailable}

var errCorrupt = errors.New("corrupt group")

// head is what precedes the records of a group.
type head struct {
	count          uint32
	bytesBefore    uint64
	readingsBefore uint64
	received       int64 // Unix ms
}

func (h head) put(b []byte) {
	b[0] = version
	binary.LittleEndian.PutUint32(b[1:], h.count)
	binary.LittleEndian.PutUint64(b[5:], h.bytesBefore)
	binary.LittleEndian.PutUint64(b[13:], h.readingsBefore)
	binary.LittleEndian.PutUint64(b[21:], uint64(h.received))
}

func parseHead(b []byte) (head, error) {
	if len(b) < headSize {
		return head{}, fmt.Errorf("%w: %d bytes", errCorrupt, len(b))
	}
	if b[0] != version {
		return head{}, fmt.Errorf("group of version %d; this program reads version %d", b[0], version)
	}
	return head{
		count:          binary.LittleEndian.Uint32(b[1:]),
		bytesBefore:    binary.LittleEndian.Uint64(b[5:]),
		readingsBefore: binary.LittleEndian.Uint64(b[13:]),
		received:       int64(binary.LittleEndian.Uint64(b[21:])),
	}, nil
}

// normalise gives d the shape it will have when it is read again, so that
// followers see the same whether a record comes from memory or from disk.
func normalise(d *devices.Delivery) {
	if d.Received.IsZero() {
		d.Received = time.Now()
	}
	d.Received = time.Unix(0, d.Received.UnixNano()).UTC()
	for i := range d.Readings {
		r := &d.Readings[i]
		r.At = time.UnixMilli(r.At.UnixMilli()).UTC()
		if !r.Claimed.IsZero() {
			r.Claimed = time.UnixMilli(r.Claimed.UnixMilli()).UTC()
		}
	}
	if d.Letter != nil && d.Letter.Problem != nil {
		p := d.Letter.Problem
		letter := *d.Letter
		letter.Problem = &devices.Problem{Kind: kinds[kindNumber(p.Kind)], Code: p.Code, Field: p.Field, ZH: p.ZH, EN: p.EN}
		d.Letter = &letter
	}
}

func kindNumber(kind error) byte {
	for i, k := range kinds {
		if errors.Is(kind, k) {
			return byte(i)
		}
	}
	return 0
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// appendRecord puts a normalised delivery behind b.
func appendRecord(b []byte, d *devices.Delivery) []byte {
	start := len(b)
	var flags byte
	if d.Origin.Resent {
		flags |= flagResent
	}
	if d.Letter != nil {
		flags |= flagLetter
	}
	b = append(b, 0, 0, 0, 0, flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(d.Received.UnixNano()))
	b = appendString(b, d.Origin.Device)
	b = appendString(b, d.Origin.ID)
	b = binary.LittleEndian.AppendUint64(b, d.Origin.Hash)
	b = binary.AppendUvarint(b, uint64(len(d.Readings)))
	received, site := d.Received.UnixMilli(), ""
	for i := range d.Readings {
		b = appendReading(b, &d.Readings[i], received, site)
		site = d.Readings[i].Site
	}
	if d.Letter != nil {
		b = appendLetter(b, d.Letter)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendReading(b []byte, r *devices.Reading, received int64, site string) []byte {
	var flags byte
	if r.Stamped {
		flags |= flagStamped
	}
	if r.Repeat {
		flags |= flagRepeat
	}
	if !r.Claimed.IsZero() {
		flags |= flagClaimed
	}
	if r.Mark != "" {
		flags |= flagMark
	}
	if r.Site == site {
		flags |= flagSameSite
	}
	b = append(b, flags, byte(r.Quality))
	if flags&flagSameSite == 0 {
		b = appendString(b, r.Site)
	}
	b = appendString(b, r.Point)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(r.Value))
	b = binary.AppendVarint(b, r.At.UnixMilli()-received)
	if flags&flagClaimed != 0 {
		b = binary.AppendVarint(b, r.Claimed.UnixMilli()-received)
	}
	if flags&flagMark != 0 {
		b = appendString(b, r.Mark)
	}
	return b
}

func appendLetter(b []byte, l *devices.DeadLetter) []byte {
	b = appendString(b, l.Topic)
	b = binary.AppendUvarint(b, uint64(len(l.Payload)))
	b = append(b, l.Payload...)
	p := l.Problem
	if p == nil {
		return append(b, noProblem)
	}
	b = append(b, kindNumber(p.Kind))
	for _, s := range [...]string{p.Code, p.Field, p.ZH, p.EN} {
		b = appendString(b, s)
	}
	return b
}

// readGroup gives the records of a group whose sequence lies above after, at
// most max, and how many readings it passed over before them.
func readGroup(recs []timeseries.Record, first uint64, value []byte, after uint64, max int) (_ []timeseries.Record, skipped int, err error) {
	h, err := parseHead(value)
	if err != nil {
		return recs, 0, err
	}
	b := value[headSize:]
	for i := range uint64(h.count) {
		if len(b) < 4 {
			return recs, skipped, fmt.Errorf("%w: record %d is missing", errCorrupt, first+i)
		}
		size := int(binary.LittleEndian.Uint32(b))
		if b = b[4:]; size > len(b) {
			return recs, skipped, fmt.Errorf("%w: record %d is cut", errCorrupt, first+i)
		}
		if len(recs) >= max {
			break
		}
		d, err := parseRecord(b[:size])
		if err != nil {
			return recs, skipped, fmt.Errorf("record %d: %w", first+i, err)
		}
		if first+i > after {
			recs = append(recs, timeseries.Record{Seq: first + i, Delivery: d})
		} else {
			skipped += len(d.Readings)
		}
		b = b[size:]
	}
	return recs, skipped, nil
}

func parseRecord(b []byte) (devices.Delivery, error) {
	r := reader{b: b}
	flags := r.byte()
	received := time.Unix(0, int64(r.uint64())).UTC()
	d := devices.Delivery{Received: received}
	d.Origin = devices.Origin{Device: r.string(), ID: r.string(), Hash: r.uint64(), Resent: flags&flagResent != 0}
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail()
	}
	if !r.failed && n > 0 {
		d.Readings = make([]devices.Reading, 0, n)
		for range n {
			d.Readings = append(d.Readings, r.reading(received.UnixMilli(), d.Readings))
		}
	}
	if flags&flagLetter != 0 {
		d.Letter = r.letter()
	}
	if r.failed || len(r.b) != 0 {
		return devices.Delivery{}, errCorrupt
	}
	return d, nil
}

// reader takes a record apart. After a fault it gives zeros.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) fail() { r.failed, r.b = true, nil }

func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) string() string { return string(r.take(r.uvarint())) }

func (r *reader) reading(received int64, before []devices.Reading) devices.Reading {
	flags := r.byte()
	v := devices.Reading{Quality: devices.Quality(r.byte()), Stamped: flags&flagStamped != 0, Repeat: flags&flagRepeat != 0}
	switch {
	case flags&flagSameSite == 0:
		v.Site = r.string()
	case len(before) > 0:
		v.Site = before[len(before)-1].Site
	}
	v.Point = r.string()
	v.Value = math.Float64frombits(r.uint64())
	v.At = time.UnixMilli(received + r.varint()).UTC()
	if flags&flagClaimed != 0 {
		v.Claimed = time.UnixMilli(received + r.varint()).UTC()
	}
	if flags&flagMark != 0 {
		v.Mark = r.string()
	}
	return v
}

func (r *reader) letter() *devices.DeadLetter {
	l := &devices.DeadLetter{Topic: r.string()}
	if n := r.uvarint(); n > 0 {
		l.Payload = append([]byte(nil), r.take(n)...)
	}
	kind := r.byte()
	if kind == noProblem {
		return l
	}
	if int(kind) >= len(kinds) {
		r.fail()
		return l
	}
	l.Problem = &devices.Problem{Kind: kinds[kind], Code: r.string(), Field: r.string(), ZH: r.string(), EN: r.string()}
	return l
}
