package field

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"offsite/devices"
)

// Status tells how a device fares.
type Status struct {
	Device  string                      // device id
	Online  bool                        //
	Since   time.Time                   // of Online's last change; zero while nothing is known
	Problem *devices.Problem            // why it is not well; nil if it is
	Points  map[string]*devices.Problem // points that cannot be read although the device answers
	Heard   time.Time                   // receipt of its last reading; zero if none since the start
}

// notes is the ledger of losses as this room needs it; nothing of it waits for
// a disk. See edge/ledger.
type notes interface {
	Miss(subject string, at time.Time, why *devices.Problem)
	End(subject string, at time.Time)
	Unbound(subject, detail string, at time.Time, count int64, why *devices.Problem)
}

// Board keeps how every registered device fares and tells what was missed.
//
// Notes and watchers are told while mu is held, so that they hear of changes in
// their order; neither calls back.
type Board struct {
	notes notes
	show  func(Status)
	log   *slog.Logger

	mu      sync.Mutex
	devices map[string]*device // those that are registered
}

// device is what the Board knows of one device.
type device struct {
	Status
	bound    bool      // a binding is in force
	expected time.Time // since when it ought to have been heard of; zero once it was
}

// NewBoard gives a Board that shows every change to those who watch.
func NewBoard(n notes, show func(Status), log *slog.Logger) *Board {
	return &Board{notes: n, show: show, log: log, devices: map[string]*device{}}
}

const (
	lookEvery   = time.Second // between two looks for devices that never came
	silentAfter = time.Minute // a device that has not been heard of for this long never came
)

// Run tells of devices that never came, until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			b.missSilent(now)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// expect says which devices are registered and whether anything is bound to
// them. Others are forgotten, and what is told of them later is not heard.
func (b *Board) expect(bound map[string]bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, d := range b.devices {
		if _, ok := bound[id]; !ok {
			b.forgetPoints(d, now)
			b.notes.End("device/"+id, now)
			delete(b.devices, id)
		}
	}
	for id, is := range bound {
		d := b.devices[id]
		if d == nil {
			d = &device{Status: Status{Device: id, Points: map[string]*devices.Problem{}}}
			b.devices[id] = d
		}
		switch {
		case is && !d.bound && d.Since.IsZero():
			d.expected = now
		case !is && d.bound && !d.Online: // nothing is missed where nothing is bound
			b.notes.End("device/"+id, now)
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
		b.tell(d)
	}
}

// forgetPoints ends the gaps of single points; b.mu is held.
func (b *Board) forgetPoints(d *device, now time.Time) {
	for p := range d.Points {
		b.notes.End("point/"+p, now)
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
			b.notes.End("point/"+p, r.At)
		} else {
			d.Points[p] = r.Problem
			b.notes.Miss("point/"+p, r.At, r.Problem)
		}
	}
	b.tell(d)
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
		b.notes.Miss("device/"+d.Device, r.At, r.Problem)
	case known && was != nil:
		b.notes.End("device/"+d.Device, r.At)
	}
	if !known || (was == nil) != online || (was != nil && r.Problem != nil && was.Code != r.Problem.Code) {
		b.tell(d)
	}
}

func (b *Board) logChange(r devices.Report) {
	if r.Problem == nil {
		b.log.Info("device works", "device", r.Device)
		return
	}
	b.log.Warn("device fails", "device", r.Device, "err", r.Problem)
}

// tell tells watchers how d fares; b.mu is held.
func (b *Board) tell(d *device) {
	b.show(d.copied())
}

// ShowAgain tells watchers of a device about which something else has changed.
func (b *Board) ShowAgain(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.devices[id]; d != nil {
		b.tell(d)
	}
}

// Heard notes that device sent something at at.
func (b *Board) Heard(device string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if d := b.devices[device]; d != nil {
		d.expected = time.Time{}
		if at.After(d.Heard) {
			d.Heard = at
		}
	}
}

func (d *device) copied() Status {
	c := d.Status
	c.Points = maps.Clone(d.Points)
	return c
}

// Devices gives every registered device's status, by id.
func (b *Board) Devices() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Status, 0, len(b.devices))
	for _, id := range slices.Sorted(maps.Keys(b.devices)) {
		list = append(list, b.devices[id].copied())
	}
	return list
}
