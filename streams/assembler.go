package streams

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

var errIncomplete = errors.New("first slice missing")

// Assembler makes frames of the NAL units of access units. It keeps the
// parameter sets, told beforehand or found in band, and lets nothing through
// that cannot be decoded: units before the first parameter sets, before the first
// key frame or without their first slice. It is not safe for use by several
// goroutines.
type Assembler struct {
	codec         Codec
	vps, sps, pps []byte
	params        *Parameters
	begun         bool // a key frame has come
	missing       bool // a unit since the newest key frame has not come, or was left out
	order         order
	kept          [][]byte // of the unit at hand
}

// NewAssembler takes the parameter sets that are known beforehand, nil if none.
func NewAssembler(codec Codec, vps, sps, pps []byte) *Assembler {
	return &Assembler{codec: codec, vps: vps, sps: sps, pps: pps}
}

// Frame makes the frame of one access unit, which shares the memory of units.
// Without an error and without a frame the unit held no picture, or none that can
// be shown because no parameter sets or no key frame has come yet. An error means
// that a picture was damaged and left out; the next unit may be tried.
func (a *Assembler) Frame(units [][]byte, pts time.Duration, at time.Time) (_ *Frame, err error) {
	defer func() {
		clear(a.kept)
		a.missing = a.missing || err != nil
	}()
	a.kept = a.kept[:0]
	first, key, slices := false, false, 0
	for _, u := range units {
		kind := classify(a.codec, u)
		switch kind {
		case unitVPS, unitSPS, unitPPS:
			if kind == unitPPS && a.pps != nil && pictureSet(a.codec, u) != pictureSet(a.codec, a.pps) {
				break // a further set beside the first: it stays with the pictures
			}
			if len(u) > maxParameterSet {
				return nil, parametersTooLarge(len(u))
			}
			a.keep(kind, u)
			continue
		case unitDrop:
			continue
		case unitSlice, unitKeySlice:
			slices++
			first = first || startsPicture(a.codec, u)
			key = key || kind == unitKeySlice
		}
		a.kept = append(a.kept, u)
	}
	if slices == 0 {
		return nil, nil
	}
	if !first {
		return nil, errIncomplete
	}
	params, err := a.parameters()
	if err != nil || params == nil {
		return nil, err
	}
	if a.begun = a.begun || key; !a.begun {
		return nil, nil
	}
	a.missing = a.missing && !key
	f := &Frame{Params: params, NALUs: append([][]byte(nil), a.kept...), PTS: pts, At: at, Key: key, Broken: a.missing}
	f.DTS = a.order.decoded(f)
	return f, nil
}

// Gap tells that the distance of the next unit to those before says nothing.
func (a *Assembler) Gap() { a.order.follow = false }

// Lost tells that units before the next one were lost: all that comes is Broken until the
// next key frame, and nothing is concluded from the distance.
func (a *Assembler) Lost() {
	a.Gap()
	a.missing = true
}

func (a *Assembler) keep(kind unitKind, u []byte) {
	set := &a.pps
	switch kind {
	case unitVPS:
		set = &a.vps
	case unitSPS:
		set = &a.sps
	}
	if !bytes.Equal(*set, u) {
		*set = bytes.Clone(u)
	}
}

// parameters gives the sets in force, the same pointer as long as they do not
// change; nil as long as one is missing.
func (a *Assembler) parameters() (*Parameters, error) {
	if a.params.sameSets(a.vps, a.sps, a.pps) {
		return a.params, nil
	}
	if len(a.sps) == 0 || len(a.pps) == 0 || (a.codec == H265 && len(a.vps) == 0) {
		return nil, nil
	}
	p, err := NewParameters(a.codec, a.vps, a.sps, a.pps)
	if err != nil {
		return nil, fmt.Errorf("read parameter sets: %w", err)
	}
	a.params = p
	return p, nil
}

// pictureSet reads a picture parameter set's id, an Exp-Golomb number right
// behind the header (H.264, 7.3.2.2 and 9.1; H.265, 7.3.2.3). Ids reach 255, so
// that three bytes hold it.
func pictureSet(codec Codec, u []byte) uint32 {
	header := 1
	if codec == H265 {
		header = 2
	}
	var bits uint32
	for i := range 3 {
		bits <<= 8
		if header+i < len(u) {
			bits |= uint32(u[header+i])
		}
	}
	bits <<= 8
	zeros := 0
	for zeros < 8 && bits&0x8000_0000 == 0 {
		zeros++
		bits <<= 1
	}
	return bits>>(31-zeros) - 1
}

type unitKind int

const (
	unitDrop unitKind = iota // delimiters, filler, end marks, reserved
	unitVPS
	unitSPS
	unitPPS
	unitSEI
	unitSlice
	unitKeySlice
)

// classify tells what a NAL unit is (H.264 table 7-1, H.265 table 7-1).
func classify(codec Codec, u []byte) unitKind {
	if len(u) < 2 {
		return unitDrop
	}
	if codec == H265 {
		return classify265(u[0] >> 1 & 0x3f)
	}
	switch u[0] & 0x1f {
	case 1, 2, 3, 4:
		return unitSlice
	case 5:
		return unitKeySlice
	case 6:
		return unitSEI
	case 7:
		return unitSPS
	case 8:
		return unitPPS
	}
	return unitDrop
}

func classify265(kind byte) unitKind {
	switch {
	case kind <= 9:
		return unitSlice
	case kind >= 16 && kind <= 21: // BLA, IDR and CRA pictures
		return unitKeySlice
	case kind == 32:
		return unitVPS
	case kind == 33:
		return unitSPS
	case kind == 34:
		return unitPPS
	case kind == 39 || kind == 40:
		return unitSEI
	}
	return unitDrop
}

// startsPicture says whether the slice u is its picture's first:
// first_mb_in_slice is zero (H.264, 7.3.3), first_slice_segment_in_pic_flag is
// set (H.265, 7.3.6.1). Both are the first bit behind the header.
func startsPicture(codec Codec, u []byte) bool {
	if codec == H265 {
		return len(u) > 2 && u[2]&0x80 != 0
	}
	return len(u) > 1 && u[1]&0x80 != 0
}

// CutUnits sorts the NAL units of a whole byte stream into access units: a new
// one begins with the first delimiter, parameter set, SEI or first slice behind
// a slice (H.264, 7.4.1.2.3; H.265, 7.4.2.4.4).
func CutUnits(codec Codec, units [][]byte) [][][]byte {
	var all [][][]byte
	var current [][]byte
	slices := false
	for _, u := range units {
		kind := classify(codec, u)
		slice := kind == unitSlice || kind == unitKeySlice
		if slices && (!slice || startsPicture(codec, u)) && !suffix(codec, u) {
			all = append(all, current)
			current, slices = nil, false
		}
		current = append(current, u)
		slices = slices || slice
	}
	if slices {
		all = append(all, current)
	}
	return all
}

// suffix says that u belongs behind the slices of its own picture.
func suffix(codec Codec, u []byte) bool {
	if len(u) == 0 {
		return true
	}
	if codec == H265 {
		kind := u[0] >> 1 & 0x3f
		return kind == 40 || (kind >= 36 && kind <= 38)
	}
	kind := u[0] & 0x1f
	return kind >= 10 && kind <= 12
}
