package recorders

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/streams/onvif"
	"offsite/streams/recording"
	"offsite/streams/rtsp"
)

// Config of the Recorders.
type Config struct {
	Dir     string
	Longest time.Duration // that is fetched at once; 10 min
	Bytes   int64         // most of one fetch; 512 MiB
	Total   int64         // most of all fetches; 4 GiB
	Keep    time.Duration // that a fetch is kept; 24 h
	AtOnce  int           // fetches; 3
	Stop    float64       // part of the disk in use from which on nothing is fetched; 0.90
	Used    func() (float64, error)

	Camera func(id string) *devices.Camera // nil where there is none
	ONVIF  onvif.Config
	RTSP   rtsp.Config
	Log    *slog.Logger
}

func (c *Config) setDefaults() {
	for d, fallback := range map[*time.Duration]time.Duration{&c.Longest: 10 * time.Minute, &c.Keep: 24 * time.Hour} {
		if *d <= 0 {
			*d = fallback
		}
	}
	for n, fallback := range map[*int64]int64{&c.Bytes: 512 << 20, &c.Total: 4 << 30} {
		if *n <= 0 {
			*n = fallback
		}
	}
	if c.AtOnce <= 0 {
		c.AtOnce = 3
	}
	if c.Stop <= 0 {
		c.Stop = 0.90
	}
	if c.Used == nil {
		c.Used = func() (float64, error) { return recording.DiskUsed(c.Dir) }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Recorders shows what recorders keep. Its methods may be called from many
// goroutines; Run from one.
type Recorders struct {
	cfg     Config
	db      *state.DB
	archive *recording.Archive
	lines   lines

	mu      sync.Mutex
	fetches []*fetch                 // oldest first
	under   map[string]chan struct{} // by interval: closed when its fetch has ended
	asked   map[string]*place        // by camera
}

// Open opens the directory and the table. Nothing is asked before somebody wants it.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Recorders, error) {
	cfg.setDefaults()
	archive, err := recording.Open(cfg.Dir, recording.Config{Log: cfg.Log})
	if err != nil {
		return nil, err
	}
	r := &Recorders{
		cfg: cfg, db: db, archive: archive, lines: lines{all: make(chan struct{}, cfg.AtOnce), of: map[string]chan struct{}{}},
		under: map[string]chan struct{}{}, asked: map[string]*place{},
	}
	err = r.openFetches(ctx)
	if err == nil {
		err = archive.Load()
	}
	if err != nil {
		_ = archive.Close() // the first error is the one to tell
		return nil, err
	}
	return r, nil
}

// Close gives the directory up. Run has returned.
func (r *Recorders) Close() error { return r.archive.Close() }

// lines bound the fetches that are under way.
type lines struct {
	all chan struct{}

	mu sync.Mutex
	of map[string]chan struct{} // by the recorder's host
}

const (
	ofOneHost = 2                // fetches from one recorder at once: small ones play no more
	patience  = 10 * time.Second // that one waits for its turn
)

// enter waits for a turn with a recorder; leave gives it back.
func (l *lines) enter(ctx context.Context, host string) (leave func(), err error) {
	l.mu.Lock()
	one := l.of[host]
	if one == nil {
		one = make(chan struct{}, ofOneHost)
		l.of[host] = one
	}
	l.mu.Unlock()
	wait := time.NewTimer(patience)
	defer wait.Stop()
	var taken []chan struct{}
	leave = func() {
		for _, line := range taken {
			<-line
		}
	}
	for _, line := range []chan struct{}{one, l.all} {
		select {
		case line <- struct{}{}:
			taken = append(taken, line)
		case <-wait.C:
			leave()
			return nil, &devices.Problem{
				Kind: devices.ErrUnavailable, Code: "too_many_replays", ZH: "正在从录像机取的录像过多，请稍后再试", EN: "too many recordings are being fetched from recorders; try again in a while",
			}
		case <-ctx.Done():
			leave()
			return nil, context.Cause(ctx)
		}
	}
	return leave, nil
}
