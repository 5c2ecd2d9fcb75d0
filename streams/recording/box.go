package recording

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	timeScale = 90000 // ticks a second
	trackID   = 1
)

var be = binary.BigEndian

// errTorn says that a box is not there whole, or is none of ours.
var errTorn = errors.New("torn or foreign box")

// box appends a box to b: its header and what fill appends.
func box(b []byte, kind string, fill func(b []byte) []byte) []byte {
	at := len(b)
	b = append(append(b, 0, 0, 0, 0), kind...)
	if fill != nil {
		b = fill(b)
	}
	be.PutUint32(b[at:], uint32(len(b)-at)) //nolint:gosec // boxes of ours are small
	return b
}

// full appends a box with version and flags.
func full(b []byte, kind string, version byte, flags uint32, fill func(b []byte) []byte) []byte {
	return box(b, kind, func(b []byte) []byte {
		b = be.AppendUint32(b, uint32(version)<<24|flags)
		if fill != nil {
			b = fill(b)
		}
		return b
	})
}

// words appends 32-bit words.
func words(b []byte, list ...uint32) []byte {
	for _, w := range list {
		b = be.AppendUint32(b, w)
	}
	return b
}

// header reads a box's header at off and gives its size, header included; it
// fails when the box does not end within end. Boxes of ours have 32-bit sizes.
func header(r io.ReaderAt, off, end int64) (kind string, size int64, err error) {
	var h [8]byte
	if end-off < int64(len(h)) {
		return "", 0, errTorn
	}
	if _, err := r.ReadAt(h[:], off); err != nil {
		return "", 0, fmt.Errorf("read box: %w", err)
	}
	size = int64(be.Uint32(h[:]))
	if size < 8 || size > end-off {
		return "", 0, errTorn
	}
	return string(h[4:]), size, nil
}

// child gives the content of the first box of this kind in b, which holds boxes
// one after the other; whole is the box with its header.
func child(b []byte, kind string) (content, whole []byte, err error) {
	for len(b) >= 8 {
		size := int(be.Uint32(b))
		if size < 8 || size > len(b) {
			return nil, nil, errTorn
		}
		if string(b[4:8]) == kind {
			return b[8:size], b[:size], nil
		}
		b = b[size:]
	}
	return nil, nil, errTorn
}

// descend follows a path of boxes.
func descend(b []byte, path ...string) (content, whole []byte, err error) {
	whole = b
	for _, kind := range path {
		if b, whole, err = child(b, kind); err != nil {
			return nil, nil, err
		}
	}
	return b, whole, nil
}
