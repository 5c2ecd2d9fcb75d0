package payload

import (
	"encoding/binary"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/pion/rtp"
)

// Pictures gathers JPEG pictures, each an access unit of one unit. One goroutine
// may use it.
type Pictures struct {
	done Done
	buf  []byte // the first packet's payload, then what the others add; empty while there is none
	head int    // bytes of buf before the picture's own
}

// NewPictures gathers pictures for done.
func NewPictures(done Done) *Pictures { return &Pictures{done: done} }

// Lost tells that packets before the next one are missing.
func (j *Pictures) Lost() { j.forget() }

func (j *Pictures) forget() {
	j.buf = j.buf[:0]
	if cap(j.buf) > mostKept {
		j.buf = nil
	}
}

// Take takes the next packet. It returns why a picture is not handed on.
func (j *Pictures) Take(p *Packet) error {
	const header = 8 // RFC 2435, 3.1
	b := p.Payload
	if len(b) < header {
		j.forget()
		return errCut
	}
	offset := int(b[1])<<16 | int(b[2])<<8 | int(b[3])
	switch {
	case offset == 0:
		if j.head = header + tables(b); j.head > len(b) {
			j.forget()
			return errCut
		}
		j.buf = append(j.buf[:0], b...)
	case len(j.buf) == 0:
		return nil // its beginning is missing, which has been told
	case offset != len(j.buf)-j.head:
		j.forget()
		return errUnfinished
	case len(j.buf)+len(b) > mostBytes:
		j.forget()
		return errTooLarge
	default:
		j.buf = append(j.buf, b[header:]...)
	}
	if !p.Marked {
		return nil
	}
	defer j.forget()
	// To the decoder the whole is a picture of one packet.
	var decoder rtpmjpeg.Decoder
	picture, err := decoder.Decode(&rtp.Packet{Header: rtp.Header{Marker: true}, Payload: j.buf})
	if err != nil {
		return err
	}
	j.done([][]byte{picture}, p.Stamp)
	return nil
}

// tables is how many bytes of quantisation tables a first packet holds behind its
// header (RFC 2435, 3.1.8).
func tables(b []byte) int {
	const own, header = 128, 4
	if b[5] < own {
		return 0
	}
	if len(b) < 8+header {
		return len(b)
	}
	return header + int(binary.BigEndian.Uint16(b[10:]))
}
