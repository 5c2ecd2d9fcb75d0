package local

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"offsite/devices"
	"offsite/timeseries"
)

var _ timeseries.Store = (*Store)(nil)

// Config bounds the head. The zero value serves.
type Config struct {
	// Commit puts a batch on disk, with its sync, and closes it. Whoever
	// shares the Pebble with a log gives the log's Commit: no write may follow
	// a failed one. Default: apply and wait.
	Commit func(*pebble.Batch) error
	// Samples is how many samples the head holds before Write flushes; one
	// takes about 13 bytes. Default two million.
	Samples int
	// Every is the age at which Write flushes the head. Default one minute.
	Every time.Duration
	Log   *slog.Logger
}

func (c *Config) setDefaults(db *pebble.DB) {
	if c.Samples <= 0 {
		c.Samples = 2_000_000
	}
	if c.Every <= 0 {
		c.Every = time.Minute
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Commit == nil {
		c.Commit = func(b *pebble.Batch) error { return commit(db, b) }
	}
}

// Store is the embedded history. Of its locks, writing is taken before mu.
type Store struct {
	db     *pebble.DB
	prefix []byte
	cfg    Config

	writing sync.Mutex // Write, Flush, Retain and Close, one at a time
	encoder encoder
	block   []byte
	merged  columns
	decoded columns

	mu       sync.RWMutex // what queries see beside Pebble
	series   map[timeseries.Series]*series
	nextID   uint32
	weight   int    // samples in the head, and what its buckets cost
	written  uint64 // sequence of the newest record in head or chunks
	durable  uint64
	headFrom time.Time // when the first sample came into an empty head
}

// Open finds the history in db under prefix.
func Open(db *pebble.DB, prefix []byte, cfg Config) (*Store, error) {
	cfg.setDefaults(db)
	s := &Store{db: db, prefix: append([]byte(nil), prefix...), cfg: cfg, series: map[timeseries.Series]*series{}}
	if err := s.load(); err != nil {
		return nil, fmt.Errorf("open embedded history: %w", err)
	}
	return s, nil
}

func (s *Store) load() (err error) {
	meta, closer, err := s.db.Get(s.key(kindMeta))
	if err == nil {
		defer closing(closer, &err)
		if len(meta) != 9 || meta[0] != 1 {
			return fmt.Errorf("history of version %x; this program reads version 1", meta)
		}
		s.durable = binary.LittleEndian.Uint64(meta[1:])
		s.written = s.durable
	} else if !errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	it, err := s.db.NewIter(&pebble.IterOptions{LowerBound: s.key(kindSeries), UpperBound: s.key(kindSeries + 1)})
	if err != nil {
		return err
	}
	defer closing(it, &err)
	for ok := it.First(); ok; ok = it.Next() {
		id := it.Key()[len(s.prefix)+1:]
		site, point, found := bytes.Cut(it.Value(), []byte{0})
		if len(id) != 4 || !found {
			return fmt.Errorf("series %x has no name", id)
		}
		p := &series{key: timeseries.Series{Site: string(site), Point: string(point)}, id: binary.BigEndian.Uint32(id), named: true}
		s.series[p.key] = p
		s.nextID = max(s.nextID, p.id+1)
	}
	return it.Error()
}

// Write keeps the readings in the head and flushes it when it is full or old.
func (s *Store) Write(ctx context.Context, recs []timeseries.Record) (timeseries.Written, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return timeseries.Written{Durable: s.Durable()}, context.Cause(ctx)
	}
	refused, full := s.put(recs)
	if full {
		if err := s.flush(); err != nil {
			return timeseries.Written{Durable: s.Durable(), Refused: refused}, err
		}
	}
	return timeseries.Written{Durable: s.Durable(), Refused: refused}, nil
}

func (s *Store) put(recs []timeseries.Record) (refused []timeseries.Refusal, full bool) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.weight == 0 && s.written == s.durable {
		s.headFrom = now
	}
	for i := range recs {
		for j := range recs[i].Readings {
			r := &recs[i].Readings[j]
			p := s.series[timeseries.Series{Site: r.Site, Point: r.Point}]
			if reason := refuse(p, r); reason != nil {
				refused = append(refused, timeseries.NewRefusal(recs[i].Seq, r, reason))
				continue
			}
			if p == nil {
				p = s.create(timeseries.Series{Site: r.Site, Point: r.Point})
			}
			s.weight += p.put(sample{at: r.At.UnixMilli(), v: r.Value, q: uint8(r.Quality)})
		}
		s.written = max(s.written, recs[i].Seq)
	}
	full = s.weight >= s.cfg.Samples || now.Sub(s.headFrom) >= s.cfg.Every
	return refused, full
}

// refuse spares the readings of known series the long check.
func refuse(p *series, r *devices.Reading) *devices.Problem {
	if at := r.At.Unix(); p != nil && r.Value-r.Value == 0 && at >= 0 && at < 1<<32 {
		return nil
	}
	return timeseries.Refuse(r)
}

func (s *Store) create(key timeseries.Series) *series {
	p := &series{key: key, id: s.nextID, lastKnown: true}
	s.nextID++
	s.series[key] = p
	return p
}

// Flush puts the head on disk.
func (s *Store) Flush(ctx context.Context) (timeseries.Written, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := ctx.Err(); err != nil {
		return timeseries.Written{Durable: s.Durable()}, context.Cause(ctx)
	}
	err := s.flush()
	return timeseries.Written{Durable: s.Durable()}, err
}

// Durable is the sequence that the last flush has stored with its chunks.
func (s *Store) Durable() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.durable
}

// Close flushes. Pebble stays open: it is its opener's.
func (s *Store) Close() error {
	_, err := s.Flush(context.Background())
	return err
}

// commit is how a store that has its Pebble for itself writes: Apply with Sync
// would end the process on a full disk.
func commit(db *pebble.DB, b *pebble.Batch) error {
	err := db.ApplyNoSyncWait(b, pebble.Sync)
	if err == nil {
		err = b.SyncWait()
	}
	if err == nil {
		err = b.Close()
	}
	return err
}

func unavailable(doing string, err error) error {
	if err == nil {
		return nil
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "history_failed",
		ZH: "历史数据库读写失败，请检查磁盘", EN: "the embedded history could not " + doing + "; check the disk", Cause: err,
	}
}

func closing(c io.Closer, err *error) {
	if e := c.Close(); *err == nil {
		*err = e
	}
}
