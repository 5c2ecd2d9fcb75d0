package edge

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
)

// LastError is the newest trouble of a device or a point that the ledger knows.
type LastError struct {
	From, To time.Time // To is that of now while it goes on
	Open     bool
	Why      *devices.Problem
}

// PointHealth tells how a point fares.
type PointHealth struct {
	Point       string
	Device      string           // bound now; empty if none is
	Last        *devices.Reading // newest since the start; nil if there was none
	Heard       time.Time        // receipt of the newest that was new itself; zero if none since the start
	Expected    time.Duration    // period, as stated or learned; zero if not known yet
	Stale       bool
	Hour, Day   Count            // readings that came and could be used, and those that failed or could not be used
	Problem     *devices.Problem // why it cannot be read now
	Error       *LastError
	Maintenance *Maintenance // its own
}

// DeviceHealth tells how a device and its points fare.
type DeviceHealth struct {
	DeviceStatus
	Site        string
	Quarantined bool  // it was silent and is asked rarely, so that the neighbours on its bus are not held up
	Hour, Day   Count // polls, or where it sends by itself messages: answered or understood, and not
	Answers     int   // how many of the last answers the next two are of; 0 where the driver does not poll
	Mean, P99   time.Duration
	Error       *LastError
	Maintenance *Maintenance
	Days        []OnlineDay // oldest first
	Points      []PointHealth
}

// OutletOnline is the online time of all devices that are bound to an outlet,
// added up.
type OutletOnline struct {
	Outlet, Site string
	Days         []OnlineDay // oldest first
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
			b.tellTurned(b.Health.follow(b.Registry.Snapshot(), now))
		}
		ended, err := b.Upkeep.lapse(ctx, now)
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
		if id := b.Health.deviceOf(p); !shown[id] {
			shown[id] = true
			b.Board.showAgain(id)
		}
	}
}

// StalePoints gives the stale points of each device, by id, as they were last told.
func (b *Box) StalePoints() map[string][]string {
	b.Health.mu.Lock()
	defer b.Health.mu.Unlock()
	list := map[string][]string{}
	for id, p := range b.Health.points {
		if p.stale && p.device != "" {
			list[p.device] = append(list[p.device], id)
		}
	}
	for _, points := range list {
		slices.Sort(points)
	}
	return list
}

// Maintain puts a device or a point under maintenance from now until m.To. also
// is called inside the transaction. The alarms that stand are ended, for
// nothing judges whether they recover: their signal is then unknown.
func (b *Box) Maintain(ctx context.Context, m Maintenance, also func(context.Context, *sql.Tx) error) (Maintenance, error) {
	m, err := b.Upkeep.Begin(ctx, m, also)
	if err == nil {
		b.tellMaintenance(m.Subject)
	}
	return m, err
}

// EndMaintenance ends the maintenance of "device/…" or "point/…" before its time.
func (b *Box) EndMaintenance(ctx context.Context, subject string, also func(context.Context, *sql.Tx) error) error {
	err := b.Upkeep.End(ctx, subject, also)
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
	b.Board.showAgain(id)
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
func (b *Box) PointState(point string, at time.Time) (stale bool, m *Maintenance) {
	now := time.Now()
	return b.Health.Stale(point, at, now), b.Upkeep.of(b.Health.deviceOf(point), point, now)
}

// MaintenanceOf gives the maintenance that a device is under now, or nil.
func (b *Box) MaintenanceOf(device string) *Maintenance {
	return b.Upkeep.at("device/"+device, time.Now())
}

// deviceOf gives the device bound to a point now, or "".
func (h *Health) deviceOf(point string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.points[point]; p != nil {
		return p.device
	}
	return ""
}

// HealthOf tells how those devices fare that want chooses.
func (b *Box) HealthOf(ctx context.Context, want func(*devices.Device) bool) (HealthReport, error) {
	now, s := time.Now().UTC(), b.Registry.Snapshot()
	missed, shut, err := b.Ledger.gaps(ctx, beginnings(now)[0], now)
	if err != nil {
		return HealthReport{}, err
	}
	board := map[string]DeviceStatus{}
	for _, d := range b.Board.Devices() {
		board[d.Device] = d
	}
	bound, points := boundOf(s, now), b.Health.byDevice()
	var subjects []string
	for id, dev := range s.Devices {
		if !want(dev) {
			continue
		}
		subjects = append(subjects, "device/"+id)
		for _, p := range points[id] {
			subjects = append(subjects, "point/"+p)
		}
	}
	errors, err := b.Ledger.lastErrors(ctx, subjects, now)
	if err != nil {
		return HealthReport{}, err
	}
	var report HealthReport
	for _, id := range slices.Sorted(maps.Keys(s.Devices)) {
		dev := s.Devices[id]
		if !want(dev) {
			continue
		}
		subject := "device/" + id
		d := DeviceHealth{
			DeviceStatus: board[id], Site: dev.Site, Error: errors[subject], Maintenance: b.Upkeep.at(subject, now),
			Days: online(now, bound[id], append(b.Upkeep.spans(subject), shut...), append(slices.Clone(missed[subject]), missed[subjectGateway]...)),
		}
		d.Device = id
		b.Health.fill(&d, points[id], now)
		for i := range d.Points {
			b.fillPoint(&d.Points[i], d.DeviceStatus, errors, now)
		}
		report.Devices = append(report.Devices, d)
	}
	report.Outlets = outletsOnline(s, report.Devices)
	return report, nil
}

// boundOf gives when each device had a binding in force, up to now.
func boundOf(s *registry.Snapshot, now time.Time) map[string]spans {
	bound := map[string]spans{}
	for _, b := range s.Bindings {
		x := span{b.From, now}
		if b.To != nil && b.To.Before(now) {
			x.To = *b.To
		}
		bound[b.Device] = append(bound[b.Device], x)
	}
	return bound
}

// byDevice gives the points of each device, by id.
func (h *Health) byDevice() map[string][]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := map[string][]string{}
	for id, p := range h.points {
		list[p.device] = append(list[p.device], id)
	}
	for _, points := range list {
		slices.Sort(points)
	}
	return list
}

// fill gives d what was counted, and its points.
func (h *Health) fill(d *DeviceHealth, points []string, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dev := h.devices[d.Device]
	if dev == nil {
		return
	}
	d.Hour, d.Day = dev.tally.sums(now.Unix())
	d.Answers, d.Mean, d.P99 = dev.answers()
	d.Quarantined = dev.leftOut
	for _, id := range points {
		p := h.points[id]
		if p == nil { // retired meanwhile
			continue
		}
		point := PointHealth{Point: id, Device: p.device, Heard: p.heard, Expected: p.period(), Stale: p.silent(now)}
		point.Hour, point.Day = p.tally.sums(now.Unix())
		if dev.polled { // what failed as a whole failed for each point
			point.Hour.Bad += d.Hour.Bad
			point.Day.Bad += d.Day.Bad
		}
		d.Points = append(d.Points, point)
	}
}

// fillPoint adds what others than the tracker know.
func (b *Box) fillPoint(p *PointHealth, d DeviceStatus, errors map[string]*LastError, now time.Time) {
	if r, ok := b.Live.Latest(p.Point); ok {
		p.Last = &r
	}
	p.Problem, p.Error = d.Points[p.Point], errors["point/"+p.Point]
	p.Maintenance = b.Upkeep.at("point/"+p.Point, now)
}

// outletsOnline adds the devices' online time up by outlet.
func outletsOnline(s *registry.Snapshot, list []DeviceHealth) []OutletOnline {
	sums := map[string][]OnlineDay{}
	for i := range list {
		at := map[string]bool{}
		for _, p := range list[i].Points {
			outlet, _ := devices.SplitPoint(p.Point)
			at[outlet] = true
		}
		for outlet := range at {
			days := sums[outlet]
			if days == nil {
				days = make([]OnlineDay, len(list[i].Days))
			}
			for j, day := range list[i].Days {
				days[j] = OnlineDay{Day: day.Day, Expected: days[j].Expected + day.Expected, Online: days[j].Online + day.Online}
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

// lastErrors gives the newest trouble of each of the subjects that has had any.
func (g *Ledger) lastErrors(ctx context.Context, subjects []string, now time.Time) (map[string]*LastError, error) {
	list, err := json.Marshal(subjects)
	if err != nil {
		return nil, fmt.Errorf("list last errors: %w", err)
	}
	rows, err := g.db.Read().QueryContext(ctx, `SELECT subject, code, field, zh, en, from_ms, to_ms, open, max(to_ms + open * 4000000000000)
		FROM losses WHERE subject IN (SELECT value FROM json_each(?)) GROUP BY subject`, string(list))
	if err != nil {
		return nil, fmt.Errorf("list last errors: %w", err)
	}
	defer rows.Close()
	found := map[string]*LastError{}
	for rows.Next() {
		e := &LastError{Why: &devices.Problem{}}
		var subject string
		var from, to, newest int64
		if err := rows.Scan(&subject, &e.Why.Code, &e.Why.Field, &e.Why.ZH, &e.Why.EN, &from, &to, &e.Open, &newest); err != nil {
			return nil, fmt.Errorf("read last error: %w", err)
		}
		e.From, e.To = time.UnixMilli(from).UTC(), time.UnixMilli(to).UTC()
		if e.Open {
			e.To = now
		}
		found[subject] = e
	}
	return found, rows.Err()
}
