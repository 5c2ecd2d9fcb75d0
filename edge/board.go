package edge

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"offsite/devices"
)

// DeviceStatus tells how a device fares.
type DeviceStatus struct {
	Device  string                      // device id
	Online  bool                        //
	Since   time.Time                   // of Online's last change; zero while nothing is known
	Problem *devices.Problem            // why it is not well; nil if it is
	Points  map[string]*devices.Problem // points that cannot be read although the device answers
	Heard   time.Time                   // receipt of its last reading; zero if none since the start
}

// Board keeps how every registered device fares and writes what was missed to
// the ledger, once a second. Reports never wait for the disk.
//
// The lock of Live may be taken while mu is held, so that watchers hear of
// changes in their order; never the reverse.
type Board struct {
	ledger *Ledger
	live   *Live
	log    *slog.Logger

	mu      sync.Mutex
	devices map[string]*device // those that are registered
	waiting waiting            // for the ledger
}

// device is what the Board knows of one device.
type device struct {
	DeviceStatus
	bound    bool      // a binding is in force
	expected time.Time // since when it ought to have been heard of; zero once it was
}

func newBoard(ledger *Ledger, live *Live, log *slog.Logger) *Board {
	return &Board{ledger: ledger, live: live, log: log, devices: map[string]*device{}, waiting: newWaiting()}
}

const (
	writeEvery  = time.Second      // between two writings of the ledger
	aliveEvery  = 10 * time.Second // between two notes that the gateway is alive
	trimEvery   = time.Hour        // between two trimmings of the ledger
	silentAfter = time.Minute      // a device that has not been heard of for this long never came
)

// run writes to the ledger until ctx ends, then writes the rest.
func (b *Board) run(ctx context.Context) error {
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	alive, trimmed := time.Now(), time.Now()
	for {
		select {
		case now := <-ticker.C:
			b.missSilent(now)
			b.write(ctx)
			if now.Sub(alive) >= aliveEvery {
				alive = now
				b.complain(ctx, b.ledger.Alive(ctx, now, false))
			}
			if now.Sub(trimmed) >= trimEvery {
				trimmed = now
				b.complain(ctx, b.ledger.Trim(ctx, keepLosses))
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			b.write(last)
			b.complain(last, b.ledger.Alive(last, time.Now(), true))
			return context.Cause(ctx)
		}
	}
}

func (b *Board) complain(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil {
		b.log.ErrorContext(ctx, "ledger of losses not written", "err", err)
	}
}

// write gives the ledger what waits for it. What it does not take waits on.
func (b *Board) write(ctx context.Context) {
	b.mu.Lock()
	w := b.waiting
	b.waiting = newWaiting()
	b.mu.Unlock()
	list := w.notes()
	if len(list) == 0 {
		return
	}
	err := b.ledger.write(ctx, list)
	b.complain(ctx, err)
	if err == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.waiting.notes() {
		w.add(n)
	}
	b.waiting = w
}

// miss opens a gap; b.mu is held.
func (b *Board) miss(subject string, at time.Time, why *devices.Problem) {
	b.waiting.add(note{Loss: Loss{Kind: LossGap, Subject: subject, Why: why, From: at, To: at, Count: 1, Open: true}})
}

// end ends the gaps of subject; b.mu is held.
func (b *Board) end(subject string, at time.Time) {
	b.waiting.add(note{Loss: Loss{Kind: LossGap, Subject: subject, To: at}, ends: true})
}

// expect says which devices are registered and whether anything is bound to
// them. Others are forgotten, and what is told of them later is not heard.
func (b *Board) expect(bound map[string]bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, d := range b.devices {
		if _, ok := bound[id]; !ok {
			b.forgetPoints(d, now)
			b.end("device/"+id, now)
			delete(b.devices, id)
		}
	}
	for id, is := range bound {
		d := b.devices[id]
		if d == nil {
			d = &device{DeviceStatus: DeviceStatus{Device: id, Points: map[string]*devices.Problem{}}}
			b.devices[id] = d
		}
		switch {
		case is && !d.bound && d.Since.IsZero():
			d.expected = now
		case !is && d.bound && !d.Online: // nothing is missed where nothing is bound
			b.end("device/"+id, now)
			d.Since, d.Problem = time.Time{}, nil
		}
		d.bound = is
	}
}

// begin says that a device is opened anew: nothing is known of its single
// points, whatever was told before.
func (b *Board) begin(id string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.devices[id]; d != nil && len(d.Points) > 0 {
		b.forgetPoints(d, now)
		b.show(d)
	}
}

// forgetPoints ends the gaps of single points; b.mu is held.
func (b *Board) forgetPoints(d *device, now time.Time) {
	for p := range d.Points {
		b.end("point/"+p, now)
	}
	clear(d.Points)
}

// missSilent tells of devices that were never heard of.
func (b *Board) missSilent(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, d := range b.devices {
		if !d.bound || d.expected.IsZero() || now.Sub(d.expected) < silentAfter {
			continue
		}
		at := d.expected.UTC()
		d.expected = time.Time{}
		b.report(d, devices.Report{Device: d.Device, At: at, Problem: &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "device_silent",
			ZH: "设备自网关启动或登记以来没有联系过网关；请检查设备的电源、网络和登录设置",
			EN: "the device has not been heard of since the gateway's start or its registration; check its power, network and sign-in",
		}})
	}
}

// Report takes a driver's word on how a device, or some of its points, fare.
func (b *Board) Report(r devices.Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	d := b.devices[r.Device]
	if d == nil {
		return
	}
	if r.Points == nil {
		b.report(d, r)
		return
	}
	for _, p := range r.Points {
		if r.Problem == nil {
			delete(d.Points, p)
			b.end("point/"+p, r.At)
		} else {
			d.Points[p] = r.Problem
			b.miss("point/"+p, r.At, r.Problem)
		}
	}
	b.show(d)
}

// report notes how a device as a whole fares; b.mu is held.
func (b *Board) report(d *device, r devices.Report) {
	was, known, online := d.Problem, !d.Since.IsZero(), r.Problem == nil
	d.expected = time.Time{}
	if !known || d.Online != online {
		d.Online, d.Since = online, r.At
		b.logChange(r)
	}
	d.Problem = r.Problem
	switch {
	case !online:
		b.miss("device/"+d.Device, r.At, r.Problem)
	case known && was != nil:
		b.end("device/"+d.Device, r.At)
	}
	if !known || (was == nil) != online || (was != nil && r.Problem != nil && was.Code != r.Problem.Code) {
		b.show(d)
	}
}

func (b *Board) logChange(r devices.Report) {
	if r.Problem == nil {
		b.log.Info("device works", "device", r.Device)
		return
	}
	b.log.Warn("device fails", "device", r.Device, "err", r.Problem)
}

// show tells watchers how d fares; b.mu is held.
func (b *Board) show(d *device) {
	shown := d.copied()
	b.live.Tell(Update{Device: &shown})
}

// showAgain tells watchers of a device about which something else has changed.
func (b *Board) showAgain(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.devices[id]; d != nil {
		b.show(d)
	}
}

// cameraChanged ends the gap of a camera, or opens one when there is a reason.
func (b *Board) cameraChanged(id string, at time.Time, why *devices.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if why == nil {
		b.end("camera/"+id, at)
	} else {
		b.miss("camera/"+id, at, why)
	}
}

// cameraGone ends the gap of a camera that is no longer registered.
func (b *Board) cameraGone(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end("camera/"+id, time.Now())
}

// warn notes a passing trouble of a device and how many readings it concerns.
// What one second brings is written together.
func (b *Board) warn(device string, at time.Time, count int64, p *devices.Problem) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting.add(note{Loss: Loss{Kind: LossClock, Subject: "device/" + device, Why: p, From: at, To: at, Count: count}})
}

// heard notes that device sent something at at.
func (b *Board) heard(device string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.devices[device]; d != nil {
		d.Heard, d.expected = latest(at, d.Heard), time.Time{}
	}
}

func (d *device) copied() DeviceStatus {
	c := d.DeviceStatus
	c.Points = maps.Clone(d.Points)
	return c
}

// Devices gives every registered device's status, by id.
func (b *Board) Devices() []DeviceStatus {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]DeviceStatus, 0, len(b.devices))
	for _, id := range slices.Sorted(maps.Keys(b.devices)) {
		list = append(list, b.devices[id].copied())
	}
	return list
}
