package decoder

import (
	"encoding/binary"
	"io"
	"iter"
	"time"
)

// units is the module's standard input. One unit at a time is in memory.
type units struct {
	next  func() (time.Duration, []byte, bool)
	stop  func() // gives back what next holds
	until time.Time
	begun int    // units
	head  []byte // what is left of the unit under way
	data  []byte
}

// feed begins a group of which no unit but the first is begun after until.
func feed(group iter.Seq2[time.Duration, []byte], until time.Time) *units {
	u := &units{until: until}
	u.next, u.stop = iter.Pull2(group)
	return u
}

// Read gives of one unit at most, so that the next is asked for when it is wanted.
func (u *units) Read(p []byte) (int, error) {
	if len(u.head) == 0 && len(u.data) == 0 && !u.open() {
		return 0, io.EOF
	}
	if len(u.head) > 0 {
		n := copy(p, u.head)
		u.head = u.head[n:]
		return n, nil
	}
	n := copy(p, u.data)
	u.data = u.data[n:]
	return n, nil
}

func (u *units) open() bool {
	if u.begun > 0 && !time.Now().Before(u.until) {
		return false
	}
	at, data, ok := u.next()
	if !ok {
		return false
	}
	u.begun++
	u.data = data
	u.head = binary.LittleEndian.AppendUint32(u.head[:0], uint32(len(data))) //nolint:gosec // an access unit has at most 8 MiB
	u.head = binary.LittleEndian.AppendUint64(u.head, uint64(at))            //nolint:gosec // signed on the other side as well
	return true
}
