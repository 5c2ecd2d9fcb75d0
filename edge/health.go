package edge

import (
	"context"
	"database/sql"
	"maps"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/edge/field"
	"offsite/edge/health"
	"offsite/edge/ledger"
	"offsite/edge/upkeep"
)

// PointHealth tells how a point fares.
type PointHealth struct {
	health.PointCounts
	Last        *devices.Reading // newest since the start; nil if there was none
	Problem     *devices.Problem // why it cannot be read now
	Error       *ledger.LastError
	Maintenance *upkeep.Maintenance // its own
}

// DeviceHealth tells how a device and its points fare.
type DeviceHealth struct {
	field.Status
	health.DeviceCounts
	Site        string
	Error       *ledger.LastError
	Maintenance *upkeep.Maintenance
	Days        []health.OnlineDay // oldest first
	Points      []PointHealth
}

// OutletOnline is the online time of all devices that are bound to an outlet,
// added up.
type OutletOnline struct {
	Outlet, Site string
	Days         []health.OnlineDay // oldest first
}

// HealthReport tells how the whole field fares.
type HealthReport struct {
	Devices []DeviceHealth // by id
	Outlets []OutletOnline // by id
}

const (
	lapseEvery  = time.Second     // between two looks for maintenance that has ended
	followEvery = 5 * time.Second // between two looks for stale points
)

// watchHealth tells of points that turn stale and of maintenance that ends by
// the clock, until ctx ends.
func (b *Box) watchHealth(ctx context.Context) error {
	wake, stop := b.Registry.Watch()
	defer stop()
	ticker := time.NewTicker(lapseEvery)
	defer ticker.Stop()
	for changed, followed := true, (time.Time{}); ; {
		now := time.Now()
		if changed || now.Sub(followed) >= followEvery {
			followed = now
			b.tellTurned(b.health.Follow(b.Registry.Snapshot(), now))
		}
		ended, err := b.upkeep.Lapse(ctx, now)
		if err != nil && ctx.Err() == nil {
			b.logger.ErrorContext(ctx, "end of maintenance not written", "err", err)
		}
		for _, subject := range ended {
			b.tellMaintenance(subject)
		}
		select {
		case <-ticker.C:
			changed = false
		case <-wake:
			changed = true
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellTurned shows watchers points that have turned stale or fresh, and their
// devices.
func (b *Box) tellTurned(points []string) {
	if len(points) == 0 {
		return
	}
	b.Live.Tell(Update{Points: points})
	shown := map[string]bool{}
	for _, p := range points {
		if id := b.health.DeviceOf(p); !shown[id] {
			shown[id] = true
			b.Board.ShowAgain(id)
		}
	}
}

// Maintain puts a device or a point under maintenance from now until m.To. also
// is called inside the transaction. The alarms that stand are ended, for
// nothing judges whether they recover: their signal is then unknown.
func (b *Box) Maintain(ctx context.Context, m upkeep.Maintenance, also func(context.Context, *sql.Tx) error) (upkeep.Maintenance, error) {
	m, err := b.upkeep.Begin(ctx, m, also)
	if err == nil {
		b.tellMaintenance(m.Subject)
	}
	return m, err
}

// lapsed writes into the trail that a maintenance has ended by the clock.
func (b *Box) lapsed(ctx context.Context, tx *sql.Tx, subject string, at time.Time) error {
	kind, _, _ := strings.Cut(subject, "/")
	return b.Audit.Append(ctx, tx, audit.Entry{At: at, Who: "gateway", Act: kind + ".maintenance.end", What: subject, Purpose: "agreed end", Result: "ok"})
}

// EndMaintenance ends the maintenance of "device/…" or "point/…" before its time.
func (b *Box) EndMaintenance(ctx context.Context, subject string, also func(context.Context, *sql.Tx) error) error {
	err := b.upkeep.End(ctx, subject, also)
	if err == nil {
		b.tellMaintenance(subject)
	}
	return err
}

// tellMaintenance shows watchers what a maintenance concerns.
func (b *Box) tellMaintenance(subject string) {
	kind, id, _ := strings.Cut(subject, "/")
	if kind == "point" {
		b.Live.Tell(Update{Points: []string{id}})
		return
	}
	b.Board.ShowAgain(id)
	var points []string
	for _, bound := range b.Registry.Snapshot().Bound(id, time.Now()) {
		points = append(points, bound.Point.ID)
	}
	if len(points) > 0 {
		b.Live.Tell(Update{Points: points})
	}
}

// PointState says whether a point whose value is of at is stale now, and which
// maintenance concerns it: its device's, or else its own.
func (b *Box) PointState(point string, at time.Time) (stale bool, m *upkeep.Maintenance) {
	now := time.Now()
	return b.health.Stale(point, at, now), b.upkeep.Of(b.health.DeviceOf(point), point, now)
}

// StaleAfter gives the silence after which a point was stale in [from, to), as
// [health.Tracker.StaleAfter] says.
func (b *Box) StaleAfter(point string, from, to time.Time, gaps []time.Duration) time.Duration {
	return b.health.StaleAfter(b.Registry.Snapshot(), point, from, to, gaps)
}

// MaintenanceOf gives the maintenance that a device is under now, or nil.
func (b *Box) MaintenanceOf(device string) *upkeep.Maintenance {
	return b.upkeep.At("device/"+device, time.Now())
}

// StalePoints gives the stale points of each device, by id, as they were last told.
func (b *Box) StalePoints() map[string][]string { return b.health.StalePoints() }

// HealthOf tells how those devices fare that want chooses.
func (b *Box) HealthOf(ctx context.Context, want func(*devices.Device) bool) (HealthReport, error) {
	now, s, points := time.Now().UTC(), b.Registry.Snapshot(), b.health.Points()
	var subjects []string
	var chosen []*devices.Device
	for _, id := range slices.Sorted(maps.Keys(s.Devices)) {
		if !want(s.Devices[id]) {
			continue
		}
		chosen = append(chosen, s.Devices[id])
		subjects = append(subjects, "device/"+id)
		for _, p := range points[id] {
			subjects = append(subjects, "point/"+p)
		}
	}
	errors, err := b.Ledger.LastErrors(ctx, subjects, now)
	if err != nil {
		return HealthReport{}, err
	}
	days, err := b.onlineDays(ctx, s, now)
	if err != nil {
		return HealthReport{}, err
	}
	board := map[string]field.Status{}
	for _, d := range b.Board.Devices() {
		board[d.Device] = d
	}
	var report HealthReport
	for _, dev := range chosen {
		subject := "device/" + dev.ID
		d := DeviceHealth{
			Status: board[dev.ID], Site: dev.Site, Error: errors[subject], Maintenance: b.upkeep.At(subject, now), Days: days(dev.ID),
		}
		d.Device = dev.ID
		var counted []health.PointCounts
		d.DeviceCounts, counted = b.health.Of(dev.ID, points[dev.ID], now)
		for _, p := range counted {
			d.Points = append(d.Points, b.pointHealth(p, d.Status, errors, now))
		}
		report.Devices = append(report.Devices, d)
	}
	report.Outlets = outletsOnline(s, report.Devices)
	return report, nil
}

// onlineDays gives a function that computes a device's last days.
func (b *Box) onlineDays(ctx context.Context, s *registry.Snapshot, now time.Time) (func(device string) []health.OnlineDay, error) {
	gaps, err := b.Ledger.Gaps(ctx, health.Beginnings(now)[0], now)
	if err != nil {
		return nil, err
	}
	missed, bound := map[string]health.Spans{}, boundOf(s, now)
	var shut health.Spans
	for _, g := range gaps {
		x := health.Span{From: g.From, To: g.To}
		if g.Shutdown {
			shut = append(shut, x)
		} else {
			missed[g.Subject] = append(missed[g.Subject], x)
		}
	}
	return func(device string) []health.OnlineDay {
		subject, excluded := "device/"+device, slices.Clone(shut)
		for _, m := range b.upkeep.Times(subject) {
			excluded = append(excluded, health.Span{From: m.From, To: m.To})
		}
		return health.Online(now, bound[device], excluded, slices.Concat(missed[subject], missed[ledger.Gateway]))
	}, nil
}

// boundOf gives when each device had a binding in force, up to now.
func boundOf(s *registry.Snapshot, now time.Time) map[string]health.Spans {
	bound := map[string]health.Spans{}
	for _, b := range s.Bindings {
		x := health.Span{From: b.From, To: now}
		if b.To != nil && b.To.Before(now) {
			x.To = *b.To
		}
		bound[b.Device] = append(bound[b.Device], x)
	}
	return bound
}

// pointHealth adds to what was counted what others know.
func (b *Box) pointHealth(counted health.PointCounts, d field.Status, errors map[string]*ledger.LastError, now time.Time) PointHealth {
	p := PointHealth{
		PointCounts: counted, Problem: d.Points[counted.Point], Error: errors["point/"+counted.Point],
		Maintenance: b.upkeep.At("point/"+counted.Point, now),
	}
	if r, ok := b.Live.Latest(counted.Point); ok {
		p.Last = &r
	}
	return p
}

// outletsOnline adds the devices' online time up by outlet.
func outletsOnline(s *registry.Snapshot, list []DeviceHealth) []OutletOnline {
	sums := map[string][]health.OnlineDay{}
	for i := range list {
		at := map[string]bool{}
		for _, p := range list[i].Points {
			outlet, _ := devices.SplitPoint(p.Point)
			at[outlet] = true
		}
		for outlet := range at {
			days := sums[outlet]
			if days == nil {
				days = make([]health.OnlineDay, len(list[i].Days))
			}
			for j, day := range list[i].Days {
				days[j] = health.OnlineDay{Day: day.Day, Expected: days[j].Expected + day.Expected, Online: days[j].Online + day.Online}
			}
			sums[outlet] = days
		}
	}
	var out []OutletOnline
	for _, id := range slices.Sorted(maps.Keys(sums)) {
		if o := s.Outlets[id]; o != nil {
			out = append(out, OutletOnline{Outlet: id, Site: o.Site, Days: sums[id]})
		}
	}
	return out
}
