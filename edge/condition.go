package edge

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"offsite/devices"
)

// Names of the notices that may hold.
const (
	noticeStorage      = "storage"        // the log of readings cannot be written
	noticeHistory      = "history"        // the store of history is away or refuses
	noticeJudging      = "judging"        // judgements cannot be committed
	noticeBroker       = "broker"         // the embedded broker does not listen
	noticeInsecure     = "insecure"       // plain MQTT off loopback
	noticeLoggers      = "hj212"          // the host for data loggers does not listen
	noticePlainLoggers = "hj212_insecure" // plain HJ 212 off loopback
	noticePlatform     = "platform"       // the platform is away or refuses
	noticeDelivery     = "delivery"       // messages to the platform do not arrive although it is there
	noticeOutbox       = "outbox"         // messages to the platform are held or were given up
)

var notices = [...]string{
	noticeStorage, noticeHistory, noticeJudging, noticeBroker, noticeInsecure, noticeLoggers, noticePlainLoggers, noticePlatform, noticeDelivery, noticeOutbox,
}

// Notice is something about the gateway itself that people must see while it holds.
type Notice struct {
	Name    string // storage, history, judging, broker, insecure, platform, delivery, outbox
	Since   time.Time
	Problem *devices.Problem
}

// condition keeps the notices that hold.
type condition struct {
	live *Live

	mu    sync.Mutex
	holds map[string]Notice
}

func newCondition(live *Live) *condition {
	return &condition{live: live, holds: map[string]Notice{}}
}

// set makes a notice hold from now on, or ends it when p is nil.
func (c *condition) set(name string, p *devices.Problem) {
	c.mu.Lock()
	old, held := c.holds[name]
	switch {
	case p == nil:
		delete(c.holds, name)
	case held:
		old.Problem = p
		c.holds[name] = old
	default:
		c.holds[name] = Notice{Name: name, Since: time.Now().UTC(), Problem: p}
	}
	c.mu.Unlock()
	if held != (p != nil) || (held && old.Problem.Code != p.Code) {
		c.live.Tell(Update{Notices: true})
	}
}

// list gives the notices that hold, by name. What is known of the platform
// itself explains undelivered messages too, and is told once.
func (c *condition) list() []Notice {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]Notice, 0, len(c.holds))
	_, away := c.holds[noticePlatform]
	for _, name := range slices.Sorted(maps.Keys(c.holds)) {
		if name == noticeDelivery && away {
			continue
		}
		list = append(list, c.holds[name])
	}
	return list
}

// why gives the problem of a notice that holds, else nil.
func (c *condition) why(name string) *devices.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds[name].Problem
}

// Notices gives what holds about the gateway itself, by name.
func (b *Box) Notices() []Notice { return b.condition.list() }

// Condition tells how the gateway itself fares.
type Condition struct {
	Version       string
	Started       time.Time
	History       string // local or influx
	LogBytes      int64  // of the log of readings on disk
	HistoryBehind int64  // deliveries not yet in history
	JudgingBehind int64  // deliveries not yet judged
}

// Condition tells how the gateway itself fares.
func (b *Box) Condition() Condition {
	c := Condition{Version: b.version, Started: b.started.UTC(), History: b.cfg.History.Store}
	if r := b.readings.Load(); r != nil {
		end := r.log.Durable()
		c.LogBytes = r.log.Bytes()
		c.HistoryBehind = int64(end - min(end, r.log.Cursor(followHistory)))
		c.JudgingBehind = int64(end - min(end, r.log.Cursor(followJudging)))
	}
	return c
}

// refusing tells why no reading is taken now; nil while they are.
func (b *Box) refusing() *devices.Problem {
	r := b.readings.Load()
	if r == nil {
		if why := b.condition.why(noticeStorage); why != nil {
			return why
		}
		return errNoLog
	}
	if err := r.log.Refusing(); err != nil {
		return devices.AllProblems(err)[0]
	}
	return nil
}

// Ready tells what keeps the gateway from recording, all at once; nil if nothing.
func (b *Box) Ready() error {
	var ps devices.Problems
	ps.Add(b.refusing())
	if b.Broker.Addr() == nil {
		ps.Add(&devices.Problem{Kind: devices.ErrUnavailable, Code: "broker_closed", ZH: "内置 MQTT 代理尚未监听", EN: "the embedded broker does not listen yet"})
	}
	return ps.Err()
}

// SiteOf gives the site of a loss's subject, "" if it has none.
func (b *Box) SiteOf(subject string) string {
	kind, id, _ := strings.Cut(subject, "/")
	s := b.Registry.Snapshot()
	switch devices.Kind(kind) {
	case devices.KindPoint:
		return s.SiteOf(id)
	case devices.KindDevice:
		if d := s.Devices[id]; d != nil {
			return d.Site
		}
	case devices.KindCamera:
		if c := s.Cameras[id]; c != nil {
			return c.Site
		}
	}
	return ""
}
