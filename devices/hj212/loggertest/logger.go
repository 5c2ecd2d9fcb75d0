// Package loggertest is a simulated data logger (数采仪) that speaks HJ 212, for
// tests, measurements and the demo. It sends real-time data at a steady pace
// and minute data after each minute, keeps what was not answered and sends it
// again, and carries out the commands of a host.
package loggertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/hj212/wire"
)

// Factor is one quantity that the logger measures.
type Factor struct {
	Code   string
	Digits int                                       // decimals
	At     func(now time.Time) (v float64, m string) // value and data mark
}

// Config says who the logger is. The zero values mean those of a logger of
// 2017 for waste water, one packet each 30 s.
type Config struct {
	MN, PW   string
	ST       string         // zero means 32
	Version  string         // wire.Version2005, 2017 or 2025; zero means 2017
	Period   time.Duration  // between two real-time packets
	Overtime time.Duration  // for an answer; zero means 5 s
	Keep     int            // packets without answer that are kept; zero means 10,000, then the oldest go
	SM4Key   devices.Secret // 2025 only
	Factors  []Factor
}

// Logger is one simulated logger.
type Logger struct {
	cfg    Config
	cipher *wire.Cipher

	sent, answered, repeated atomic.Int64

	mu       sync.Mutex
	pw       string   // the present one
	owed     []packet // without answer, oldest first
	lastQN   string
	interval time.Duration
	sums     map[string]*sum // of the minute that runs
	minute   time.Time
}

// packet is one that waits for its answer.
type packet struct {
	wire.Packet
	sent time.Time // zero while it has not been
}

// sum is what a minute has brought of one factor.
type sum struct {
	low, high, total float64
	count            int
}

const stampForm = "20060102150405"

// New checks cfg and gives the logger.
func New(cfg Config) (*Logger, error) {
	if cfg.ST == "" {
		cfg.ST = "32"
	}
	if cfg.Version == "" {
		cfg.Version = wire.Version2017
	}
	if cfg.Period == 0 {
		cfg.Period = 30 * time.Second
	}
	if cfg.Overtime == 0 {
		cfg.Overtime = 5 * time.Second
	}
	if cfg.Keep == 0 {
		cfg.Keep = 10_000
	}
	l := &Logger{cfg: cfg, pw: cfg.PW, interval: cfg.Period, sums: map[string]*sum{}}
	if cfg.SM4Key != "" {
		var err error
		if l.cipher, err = wire.NewCipher(cfg.SM4Key); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Counts tells how many packets were sent, those sent again not among them, how
// many of them were answered, and how many were sent again.
func (l *Logger) Counts() (sent, answered, repeated int64) {
	return l.sent.Load(), l.answered.Load(), l.repeated.Load()
}

// Run measures, and connects to the host at addr until ctx ends.
func (l *Logger) Run(ctx context.Context, addr string) error {
	g, ctx := errgroup.WithContext(ctx)
	wake := make(chan struct{}, 1)
	g.Go(func() error { return l.measure(ctx, wake) })
	g.Go(func() error {
		for {
			_ = l.connect(ctx, addr, wake) // a logger tries again whatever the reason
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return g.Wait()
}

// measure makes packets.
func (l *Logger) measure(ctx context.Context, wake chan<- struct{}) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case now := <-timer.C:
			timer.Reset(l.sample(now))
			select {
			case wake <- struct{}{}:
			default:
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sample makes the real-time packet of now, and the minute packet of the minute
// before when that is over. It gives the time to the next.
func (l *Logger) sample(now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(l.minute) {
		if len(l.sums) > 0 {
			l.keep(l.data("2051", l.minute, l.means()))
		}
		l.minute = minute
		clear(l.sums)
	}
	items := make([]wire.Item, 0, len(l.cfg.Factors))
	for _, f := range l.cfg.Factors {
		v, m := f.At(now)
		items = append(items, wire.Item{{Name: f.Code + "-Rtd", Value: number(v, f.Digits)}, {Name: f.Code + "-Flag", Value: m}})
		l.add(f.Code, v)
	}
	l.keep(l.data("2011", now, items))
	return l.interval
}

func number(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }

func (l *Logger) add(code string, v float64) {
	s := l.sums[code]
	if s == nil {
		s = &sum{low: v, high: v}
		l.sums[code] = s
	}
	s.low, s.high, s.total, s.count = min(s.low, v), max(s.high, v), s.total+v, s.count+1
}

func (l *Logger) means() []wire.Item {
	items := make([]wire.Item, 0, len(l.cfg.Factors))
	for _, f := range l.cfg.Factors {
		if s := l.sums[f.Code]; s != nil {
			items = append(items, wire.Item{
				{Name: f.Code + "-Min", Value: number(s.low, f.Digits)},
				{Name: f.Code + "-Avg", Value: number(s.total/float64(s.count), f.Digits)},
				{Name: f.Code + "-Max", Value: number(s.high, f.Digits)},
				{Name: f.Code + "-Flag", Value: "N"},
			})
		}
	}
	return items
}

// data makes a packet that wants an answer. l.mu is held.
func (l *Logger) data(cn string, at time.Time, items []wire.Item) wire.Packet {
	cp := append([]wire.Item{{{Name: "DataTime", Value: at.In(devices.Beijing).Format(stampForm)}}}, items...)
	return wire.Packet{QN: l.newQN(), ST: l.cfg.ST, CN: cn, MN: l.cfg.MN, Flag: l.flag() | 1, CP: cp}
}

// password is what it sends and wants to hear now.
func (l *Logger) password() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pw
}

func (l *Logger) flag() int {
	switch l.cfg.Version {
	case wire.Version2005:
		return 0
	case wire.Version2025:
		return 2 << 2
	default:
		return 1 << 2
	}
}

func (l *Logger) newQN() string {
	now := time.Now().In(devices.Beijing)
	for {
		qn := now.Format(stampForm) + fmt.Sprintf("%03d", now.Nanosecond()/1e6)
		if qn > l.lastQN {
			l.lastQN = qn
			return qn
		}
		now = now.Add(time.Millisecond)
	}
}

// keep holds a packet until it is answered. l.mu is held.
func (l *Logger) keep(p wire.Packet) {
	if len(l.owed) >= l.cfg.Keep {
		l.owed = l.owed[1:]
	}
	l.owed = append(l.owed, packet{Packet: p})
}

// due gives the frames that are to be sent now: those never sent, and those
// whose answer is overdue, in their order.
func (l *Logger) due(now time.Time) (frames []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.owed {
		p := &l.owed[i]
		switch {
		case p.sent.IsZero():
			l.sent.Add(1)
		case now.Sub(p.sent) < l.cfg.Overtime:
			continue
		default:
			l.repeated.Add(1)
			p.Resent = l.cfg.Version == wire.Version2025
		}
		p.sent, p.PW = now, l.pw
		frames = p.Append(frames, l.cipher)
	}
	return frames
}

// overdue lets a new connection send everything again that was not answered.
func (l *Logger) overdue() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.owed {
		if !l.owed[i].sent.IsZero() {
			l.owed[i].sent = time.Unix(0, 0)
		}
	}
}

// received takes the packet with that QN off.
func (l *Logger) received(qn string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.owed {
		if l.owed[i].QN == qn {
			l.answered.Add(1)
			l.owed = append(l.owed[:i], l.owed[i+1:]...)
			return
		}
	}
}

// connect serves one connection to its end.
func (l *Logger) connect(ctx context.Context, addr string, wake <-chan struct{}) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	l.overdue()
	var writing sync.Mutex
	write := func(b []byte) error {
		writing.Lock()
		defer writing.Unlock()
		_, err := conn.Write(b)
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer func() { _ = conn.Close() }()
		return l.listen(conn, write)
	})
	g.Go(func() error {
		defer func() { _ = conn.Close() }()
		again := time.NewTicker(l.cfg.Overtime)
		defer again.Stop()
		for {
			if frames := l.due(time.Now()); len(frames) > 0 {
				if err := write(frames); err != nil {
					return err
				}
			}
			select {
			case <-wake:
			case <-again.C:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	})
	return g.Wait()
}

var errEnded = errors.New("the host closed the connection")

// listen reads answers and commands.
func (l *Logger) listen(conn net.Conn, write func([]byte) error) error {
	decoder := wire.Decoder{Key: func(string) *wire.Cipher { return l.cipher }}
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		_, _ = decoder.Write(buf[:n])
		for {
			f, ok := decoder.Next()
			if !ok {
				break
			}
			if f.Refused == nil {
				if frames := l.obey(f.Packet); len(frames) > 0 {
					if err := write(frames); err != nil {
						return err
					}
				}
			}
		}
		if err != nil {
			return errors.Join(errEnded, err)
		}
	}
}
