// Package payload makes access units of what the packets of RTP (RFC 3550) carry:
// H.264 (RFC 6184, packetization modes 0 and 1), H.265 (RFC 7798) and JPEG (RFC
// 2435). A packet is cut where it was received, and what it carries is gathered
// in a buffer that is used again and again: a packet costs no memory of its own.
//
// An access unit ends with the packet that is marked, or where a camera sets no
// marks, before the first packet of another time stamp. One of which a part is
// missing or cannot be read is not handed on, nor one beyond the bounds.
package payload

import (
	"encoding/binary"
	"errors"
)

// Packet is one packet of RTP (RFC 3550, 5.1). Its payload lies in the bytes it was
// read from.
type Packet struct {
	Type     uint8 // of the payload
	Marked   bool  // ends an access unit
	Sequence uint16
	Stamp    uint32 // by the stream's clock
	Source   uint32 // SSRC
	Payload  []byte
}

// Done takes an access unit that is whole, with the stamp of its packets. What it
// is given is used again when it returns.
type Done func(units [][]byte, stamp uint32)

var errPacket = errors.New("no packet of RTP")

// Read reads a packet.
func Read(b []byte) (Packet, error) {
	const fixed, version = 12, 2
	if len(b) < fixed || b[0]>>6 != version {
		return Packet{}, errPacket
	}
	p := Packet{
		Type: b[1] & 0x7f, Marked: b[1]&0x80 != 0, Sequence: binary.BigEndian.Uint16(b[2:]),
		Stamp: binary.BigEndian.Uint32(b[4:]), Source: binary.BigEndian.Uint32(b[8:]),
	}
	from, to := fixed+4*int(b[0]&0x0f), len(b) // behind the contributing sources
	if b[0]&0x10 != 0 {                        // a header extension
		if len(b) < from+4 {
			return Packet{}, errPacket
		}
		from += 4 + 4*int(binary.BigEndian.Uint16(b[from+2:]))
	}
	if b[0]&0x20 != 0 { // padding, whose length is its last byte
		to -= int(b[len(b)-1])
	}
	if from > to {
		return Packet{}, errPacket
	}
	p.Payload = b[from:to]
	return p, nil
}
