package edge

import (
	"context"
	"log/slog"
	"sort"
	"sync"
	"time"

	"offsite/devices"
	"offsite/streams"
)

// DeviceStatus tells how a device fares.
type DeviceStatus struct {
	Device  string                      // device id
	Online  bool                        //
	Since   time.Time                   // of Online's last change; zero while never heard
	Problem *devices.Problem            // why it is not well; nil if it is
	Points  map[string]*devices.Problem // points that cannot be read although the device answers
	Heard   time.Time                   // receipt of its last reading; zero if none since the start
}

// Board keeps how every device fares and writes what was missed to the ledger.
// Reports never wait: the ledger is written by run.
type Board struct {
	ledger *Ledger
	live   *Live
	log    *slog.Logger

	mu      sync.Mutex
	devices map[string]*DeviceStatus
	warned  map[string]*Loss // by device and code: passing trouble that is not yet written
	waiting []func(context.Context) error
	wake    chan struct{}
}

func newBoard(ledger *Ledger, live *Live, log *slog.Logger) *Board {
	return &Board{
		ledger: ledger, live: live, log: log,
		devices: map[string]*DeviceStatus{}, warned: map[string]*Loss{}, wake: make(chan struct{}, 1),
	}
}

// maxWaiting bounds what waits for the ledger; past it the oldest row is lost,
// and said so in the log.
const maxWaiting = 4096

// later queues do for run; b.mu is held.
func (b *Board) later(do func(context.Context) error) {
	if len(b.waiting) >= maxWaiting {
		b.waiting = b.waiting[1:]
		b.log.Error("ledger of losses is behind; a row was dropped")
	}
	b.waiting = append(b.waiting, do)
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// run writes to the ledger until ctx ends, then writes the rest.
func (b *Board) run(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	for {
		select {
		case <-second.C:
			b.writeWarned()
		case <-b.wake:
			b.drain(ctx)
		case <-ctx.Done():
			b.writeWarned()
			b.drain(ctx)
			return context.Cause(ctx)
		}
	}
}

// drain writes what waits, also when ctx has ended: then within five seconds.
func (b *Board) drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	b.mu.Lock()
	list := b.waiting
	b.waiting = nil
	b.mu.Unlock()
	for _, do := range list {
		if err := do(ctx); err != nil {
			b.log.ErrorContext(ctx, "loss not written", "err", err)
		}
	}
}

// Report takes a driver's word on how a device, or some of its points, fare.
func (b *Board) Report(r devices.Report) {
	b.mu.Lock()
	st := b.status(r.Device)
	changed := true
	if r.Points == nil {
		changed = st.Since.IsZero() || st.Online != (r.Problem == nil)
		if changed {
			st.Online, st.Since = r.Problem == nil, r.At
			b.logChange(r)
		}
		st.Problem = r.Problem
	} else {
		for _, p := range r.Points {
			if r.Problem == nil {
				delete(st.Points, p)
			} else {
				st.Points[p] = r.Problem
			}
		}
	}
	b.writeGap(r)
	shown := st.copied()
	b.mu.Unlock()
	if changed {
		b.live.Tell(Update{Device: &shown})
	}
}

func (b *Board) logChange(r devices.Report) {
	if r.Problem == nil {
		b.log.Info("device works", "device", r.Device)
		return
	}
	b.log.Warn("device fails", "device", r.Device, "err", r.Problem)
}

// writeGap opens or closes the rows of a report; b.mu is held.
func (b *Board) writeGap(r devices.Report) {
	subjects := []string{"device/" + r.Device}
	if r.Points != nil {
		subjects = subjects[:0]
		for _, p := range r.Points {
			subjects = append(subjects, "point/"+p)
		}
	}
	for _, subject := range subjects {
		if r.Problem == nil {
			b.later(func(ctx context.Context) error { return b.ledger.CloseGaps(ctx, subject, r.At) })
			continue
		}
		l := Loss{Kind: LossGap, Subject: subject, Why: r.Problem, From: r.At, To: r.At, Count: 1, Open: true}
		b.later(func(ctx context.Context) error { return b.ledger.Add(ctx, l) })
	}
}

// cameraChanged opens or closes the gap of a camera.
func (b *Board) cameraChanged(id string, st streams.State) {
	b.mu.Lock()
	defer b.mu.Unlock()
	subject := "camera/" + id
	if st.Connected {
		b.later(func(ctx context.Context) error { return b.ledger.CloseGaps(ctx, subject, st.Since) })
		return
	}
	l := Loss{Kind: LossGap, Subject: subject, Why: st.Problem, From: st.Since, To: st.Since, Count: 1, Open: true}
	b.later(func(ctx context.Context) error { return b.ledger.Add(ctx, l) })
}

// warn notes a passing trouble of a device and how many readings it concerns.
// What a second brings is written together.
func (b *Board) warn(device string, at time.Time, count int64, p *devices.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := device + "/" + p.Code
	if l := b.warned[key]; l != nil {
		l.To, l.Count = at, l.Count+count
		return
	}
	b.warned[key] = &Loss{Kind: LossClock, Subject: "device/" + device, Why: p, From: at, To: at, Count: count}
}

// writeWarned queues what warn has noted.
func (b *Board) writeWarned() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, l := range b.warned {
		delete(b.warned, key)
		b.later(func(ctx context.Context) error { return b.ledger.Add(ctx, *l) })
	}
}

// heard notes that device sent something at at.
func (b *Board) heard(device string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if st := b.status(device); at.After(st.Heard) {
		st.Heard = at
	}
}

// forget drops a device that is no longer registered.
func (b *Board) forget(device string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.devices, device)
	now := time.Now()
	b.later(func(ctx context.Context) error { return b.ledger.CloseGaps(ctx, "device/"+device, now) })
}

func (b *Board) status(device string) *DeviceStatus {
	st := b.devices[device]
	if st == nil {
		st = &DeviceStatus{Device: device, Points: map[string]*devices.Problem{}}
		b.devices[device] = st
	}
	return st
}

func (st *DeviceStatus) copied() DeviceStatus {
	c := *st
	c.Points = make(map[string]*devices.Problem, len(st.Points))
	for k, v := range st.Points {
		c.Points[k] = v
	}
	return c
}

// Devices gives every device's status, by id.
func (b *Board) Devices() []DeviceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]DeviceStatus, 0, len(b.devices))
	for _, st := range b.devices {
		list = append(list, st.copied())
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Device < list[j].Device })
	return list
}
