package modbustest

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// Table is one of the four of a unit.
type Table int

// The tables. Coils and discrete inputs hold 0 or 1.
const (
	Coil Table = iota
	Discrete
	Holding
	Input
	tables
)

// Unit is one device behind the endpoint. Registers exist once they are set.
type Unit struct {
	id byte

	mu     sync.Mutex
	words  [tables]map[uint16]func(time.Time) uint16
	held   [tables]map[uint16]bool
	faults []Fault
	seen   []Request
	busy   time.Time // RTU: the unit works on an answer until then
}

// Request is one that a unit was asked.
type Request struct {
	At       time.Time
	Unit     byte
	Function byte
	Start    uint16
	Quantity uint16 // 1 for functions 5 and 6

	transaction uint16
	payload     []byte // after start and quantity
}

// remembered is how many requests a unit remembers.
const remembered = 4096

// Seen gives the last requests to this unit, oldest first.
func (u *Unit) Seen() []Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]Request(nil), u.seen...)
}

// Set puts words into neighbouring places of a table.
func (u *Unit) Set(t Table, addr uint16, words ...uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, w := range words {
		u.place(t, addr+uint16(i), func(time.Time) uint16 { return w })
	}
}

// Put sets a number of Go type int16, uint16, int32, uint32, int64, uint64,
// float32 or float64, or a text, in one of the orders ABCD, CDAB, BADC and DCBA;
// any other type panics.
func (u *Unit) Put(t Table, addr uint16, order string, v any) {
	u.Set(t, addr, Words(order, v)...)
}

// Func makes f, called at each request, the number that stands at addr. It must
// always give the type that it gives now.
func (u *Unit) Func(t Table, addr uint16, order string, f func(time.Time) any) {
	n := len(Words(order, f(time.Now())))
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range n {
		u.place(t, addr+uint16(i), func(now time.Time) uint16 { return Words(order, f(now))[i] })
	}
}

// Hold makes a place answer writes and keep what it has, as an instrument does
// that is not in remote mode.
func (u *Unit) Hold(t Table, addr uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held[t] == nil {
		u.held[t] = map[uint16]bool{}
	}
	u.held[t][addr] = true
}

// Clear takes a place out of a table.
func (u *Unit) Clear(t Table, addr uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.words[t], addr)
}

// Get gives what stands at a place, and whether it exists.
func (u *Unit) Get(t Table, addr uint16) (uint16, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.words[t][addr]
	if f == nil {
		return 0, false
	}
	return f(time.Now()), true
}

func (u *Unit) place(t Table, addr uint16, f func(time.Time) uint16) {
	if u.words[t] == nil {
		u.words[t] = map[uint16]func(time.Time) uint16{}
	}
	u.words[t][addr] = f
}

// Words gives the registers of a number in the order in which they stand.
func Words(order string, v any) []uint16 {
	var w []uint16 // most significant first
	switch n := v.(type) {
	case int16:
		w = []uint16{uint16(n)}
	case uint16:
		w = []uint16{n}
	case int32:
		w = []uint16{uint16(n >> 16), uint16(n)}
	case uint32:
		w = []uint16{uint16(n >> 16), uint16(n)}
	case float32:
		return Words(order, math.Float32bits(n))
	case float64:
		return Words(order, math.Float64bits(n))
	case int64:
		return Words(order, uint64(n))
	case uint64:
		w = []uint16{uint16(n >> 48), uint16(n >> 32), uint16(n >> 16), uint16(n)}
	case string:
		for text := n + "\x00"; len(text) > 1; text = text[2:] {
			w = append(w, uint16(text[0])<<8|uint16(text[1]))
		}
	default:
		panic(fmt.Sprintf("modbustest: no registers for a %T", v))
	}
	if order == "CDAB" || order == "DCBA" {
		for i, j := 0, len(w)-1; i < j; i, j = i+1, j-1 {
			w[i], w[j] = w[j], w[i]
		}
	}
	if order == "BADC" || order == "DCBA" {
		for i := range w {
			w[i] = w[i]<<8 | w[i]>>8
		}
	}
	return w
}
