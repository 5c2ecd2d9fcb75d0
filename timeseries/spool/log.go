package spool

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"offsite/devices"
	"offsite/timeseries"
)

// restartWindow is how much of the log's end is searched for repeats after a
// restart, and therefore never trimmed.
const restartWindow = 5 * time.Second

// groupBytes closes a group: a larger one would only cost memory.
const groupBytes = 1 << 20

// Config says who follows the log and how far it may grow. Its zero value is a
// log that is never trimmed.
type Config struct {
	// Followers are those whose cursors hold the log: what the least of them
	// has not passed is kept. Without followers nothing is ever deleted.
	Followers []string
	// Remote is the one follower that may be cut off when the log holds more
	// than Backlog bytes; empty or zero: none.
	Remote  string
	Backlog int64
	// Lost is told what the remote follower will never see, before it is
	// deleted. With an error nothing is deleted now. After a crash the same
	// loss may be told again.
	Lost func(Loss) error
	// Above makes the next sequence start above it too: what followers that
	// keep their own account elsewhere (SQLite) remember.
	Above uint64
	// Pending bounds the bytes that wait to be written; beyond it Append
	// refuses. Default 64 MiB.
	Pending int64
	// Room says whether the disk has room for more, and why not; see DiskRoom.
	// It is asked after every group and once a second; while it gives an error
	// Append refuses with it. Default: there is always room, and a full disk is
	// found out when Pebble stands still.
	Room func() error
	// Repeats is how long a message sent again is known while the log runs.
	// Default one minute.
	Repeats time.Duration
	Log     *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Pending <= 0 {
		c.Pending = 64 << 20
	}
	if c.Repeats <= 0 {
		c.Repeats = time.Minute
	}
	if c.Lost == nil {
		c.Lost = func(Loss) error { return nil }
	}
	if c.Room == nil {
		c.Room = func() error { return nil }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Loss is what fell out of the log before the remote follower had read it.
type Loss struct {
	Follower     string
	From, To     uint64    // sequences, both included
	Since, Until time.Time // receipt, to the group
	Deliveries   uint64
	Readings     uint64
}

// Log is the log. Two locks never meet: gate guards the order of writes to
// Pebble, mu everything else; whoever holds gate may take mu, never the reverse.
type Log struct {
	db     *pebble.DB
	prefix []byte
	cfg    Config
	wake   chan struct{} // something waits to be written
	gate   sync.Mutex    // one write at a time between Pebble's memtable and its sync; see Commit

	mu       sync.Mutex
	err      error         // set: nothing is taken any more
	broken   error         // the storage error, from the moment it is known
	full     error         // what Room said last
	stuck    error         // set while a write stands still
	writing  *group        // handed to Pebble, not yet on disk
	since    time.Time     // it was handed over
	patience time.Duration // before a write counts as standing still
	queue    []*group      // waiting to be written; the last one is open
	waiting  int64         // bytes not yet durable
	next     uint64        // sequence of the next record
	end      head          // count unused; sums behind the last record appended
	durable  uint64        // readers see up to here
	endBytes uint64        // sums behind the last durable record
	grown    chan struct{} // closed and cleared when durable grows; nil while nobody waits
	tail     tail          // newest durable records, decoded
	recent   []mark        // groups of the last restartWindow, at least the last group
	first    uint64        // first sequence still in the log
	cut      uint64        // bytes deleted so far, by the sums
	trimmed  time.Time     // last range delete
	cursors  map[string]*cursor
	repeats  repeats
	stats    Stats
	spare    [][]byte // buffers of written groups
}

// Stats counts since Open.
type Stats struct {
	Deliveries, Readings uint64 // appended
	Repeats              uint64 // acknowledged without appending, because the log holds them
	Refused              uint64 // for want of room, or beyond Config.Pending
	Groups               uint64 // synced
}

type cursor struct {
	seq    uint64
	stored uint64 // as it stands on disk
}

// mark remembers where a recent group begins.
type mark struct {
	first    uint64
	received int64
}

// group is what one commit writes.
type group struct {
	buf      []byte
	head     head
	first    uint64
	readings uint64
	recs     []timeseries.Record
	waiters  []waiter
}

type waiter struct {
	done func(error)
	err  error // refused at Append, told in its turn
}

// Open finds the log in db under prefix and reads what it must remember. It
// starts nothing; records are written while Run runs.
func Open(db *pebble.DB, prefix []byte, cfg Config) (*Log, error) {
	cfg.setDefaults()
	l := &Log{
		db: db, prefix: append([]byte(nil), prefix...), cfg: cfg,
		wake:    make(chan struct{}, 1),
		cursors: map[string]*cursor{},
		repeats: repeats{window: cfg.Repeats.Milliseconds(), devices: map[string]*lately{}},
		next:    1, patience: patience,
	}
	for _, name := range cfg.Followers {
		l.cursors[name] = &cursor{}
	}
	if err := l.load(); err != nil {
		return nil, fmt.Errorf("open log of readings: %w", err)
	}
	return l, nil
}

func (l *Log) load() (err error) {
	if err := l.loadCursors(); err != nil {
		return err
	}
	it, err := l.groups(0, math.MaxUint64)
	if err != nil {
		return err
	}
	defer closing(it, &err)
	if it.Last() {
		if err := l.loadEnd(it); err != nil {
			return err
		}
	}
	above := l.cfg.Above
	for _, c := range l.cursors {
		above = max(above, c.seq)
	}
	l.next = max(l.next, above+1)
	l.durable, l.endBytes = l.next-1, l.end.bytesBefore
	l.first, l.cut = l.next, l.endBytes
	if it.First() {
		h, err := parseHead(it.Value())
		if err != nil {
			return err
		}
		l.first, l.cut = l.seqOf(it.Key()), h.bytesBefore
	}
	return it.Error()
}

// loadEnd reads backwards over the last seconds of the log: where it ends, and
// which messages a device may send again.
func (l *Log) loadEnd(it *pebble.Iterator) error {
	var groups [][]timeseries.Record
	newest := int64(math.MinInt64)
	for ok := true; ok; ok = it.Prev() {
		first, value := l.seqOf(it.Key()), it.Value()
		h, err := parseHead(value)
		if err != nil {
			return err
		}
		recs, _, err := readGroup(nil, first, value, 0, math.MaxInt)
		if err != nil {
			return err
		}
		if len(groups) == 0 {
			newest = h.received
			l.next = first + uint64(h.count)
			l.end = head{bytesBefore: h.bytesBefore + uint64(len(value)), readingsBefore: h.readingsBefore}
			for i := range recs {
				l.end.readingsBefore += uint64(len(recs[i].Readings))
			}
		} else if newest-h.received > restartWindow.Milliseconds() {
			break
		}
		groups = append(groups, recs)
		l.recent = append(l.recent, mark{first: first, received: h.received})
	}
	now := time.Now().UnixMilli()
	for i := len(groups) - 1; i >= 0; i-- {
		for j := range groups[i] {
			l.repeats.note(&groups[i][j].Origin, now)
		}
	}
	slices.Reverse(l.recent)
	return it.Error()
}

// Append takes a delivery for the log and returns at once; the caller gives it
// up with all its slices. done is called exactly once, in order of Append,
// after the delivery is on disk or could not be put there; it must only
// enqueue. A message that the device sends again while its first coming may
// not have been acknowledged is not written twice: done follows when the first
// is on disk. While Run does not run, deliveries wait.
func (l *Log) Append(d devices.Delivery, done func(error)) {
	normalise(&d)
	received := d.Received.UnixMilli()
	l.mu.Lock()
	if err := cmp.Or(l.err, l.stuck); err != nil {
		l.mu.Unlock()
		done(err)
		return
	}
	w, wake := waiter{done: done}, len(l.queue) == 0
	switch {
	case l.full != nil:
		l.stats.Refused++
		w.err = l.full
		l.open(false)
	case l.waiting >= l.cfg.Pending:
		l.stats.Refused++
		w.err = errTooSlow
		l.open(false)
	case d.Origin.Resent && l.repeats.holds(&d.Origin, received):
		l.stats.Repeats++
		l.open(false)
	case len(d.Readings) == 0 && d.Letter == nil:
		l.open(false)
	default:
		l.open(true).add(l, &d, received)
	}
	g := l.queue[len(l.queue)-1]
	g.waiters = append(g.waiters, w)
	l.mu.Unlock()
	if wake {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// open gives the group that is being filled; room asks for one that can take a
// record. l.mu is held.
func (l *Log) open(room bool) *group {
	if n := len(l.queue); n > 0 && (!room || len(l.queue[n-1].buf) < groupBytes) {
		return l.queue[n-1]
	}
	g := &group{first: l.next}
	if n := len(l.spare); n > 0 {
		g.buf, l.spare = l.spare[n-1], l.spare[:n-1]
	}
	g.buf = append(g.buf[:0], make([]byte, headSize)...)
	l.queue = append(l.queue, g)
	return g
}

// add numbers and encodes a record. l.mu is held.
func (g *group) add(l *Log, d *devices.Delivery, received int64) {
	before := len(g.buf)
	g.buf = appendRecord(g.buf, d)
	size := int64(len(g.buf) - before)
	if g.head.count == 0 {
		g.head = l.end
		g.head.received = received
		l.end.bytesBefore += headSize
	}
	g.head.received = max(g.head.received, received)
	g.head.count++
	g.readings += uint64(len(d.Readings))
	g.recs = append(g.recs, timeseries.Record{Seq: l.next, Delivery: *d})
	l.next++
	l.end.bytesBefore += uint64(size)
	l.end.readingsBefore += uint64(len(d.Readings))
	l.waiting += size
	l.stats.Deliveries++
	l.stats.Readings += uint64(len(d.Readings))
	l.repeats.note(&d.Origin, received)
}

func (l *Log) groupKey(seq uint64) []byte {
	k := make([]byte, 0, len(l.prefix)+9)
	return binary.BigEndian.AppendUint64(append(append(k, l.prefix...), 'r'), seq)
}

func (l *Log) seqOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[len(l.prefix)+1:]) }

func (l *Log) cursorKey(name string) []byte {
	k := make([]byte, 0, len(l.prefix)+1+len(name))
	return append(append(append(k, l.prefix...), 'c'), name...)
}

// groups iterates over the groups whose first sequence lies in [from, to).
func (l *Log) groups(from, to uint64) (*pebble.Iterator, error) {
	return l.db.NewIter(&pebble.IterOptions{LowerBound: l.groupKey(from), UpperBound: l.groupKey(to)})
}

func closing(c io.Closer, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
