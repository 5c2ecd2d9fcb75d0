package gateway

import (
	"context"
	"database/sql"
	"time"

	"offsite/devices"
	"offsite/edge"
	"offsite/edge/health"
	"offsite/edge/ledger"
	"offsite/edge/upkeep"
	"offsite/gateway/api/contract"
)

type siteHealth struct{ *edge.Box }

func (s siteHealth) Health(ctx context.Context, want func(*devices.Device) bool) (contract.FieldHealth, error) {
	report, err := s.HealthOf(ctx, want)
	if err != nil {
		return contract.FieldHealth{}, err
	}
	now := time.Now()
	field := contract.FieldHealth{Items: make([]contract.DeviceHealth, len(report.Devices)), Outlets: make([]contract.OutletOnline, len(report.Outlets))}
	for i := range report.Devices {
		field.Items[i] = s.device(&report.Devices[i], now)
	}
	for i, o := range report.Outlets {
		field.Outlets[i] = contract.OutletOnline{Outlet: o.Outlet, Site: o.Site, Days: onlineDays(o.Days)}
	}
	return field, nil
}

func (s siteHealth) device(d *edge.DeviceHealth, now time.Time) contract.DeviceHealth {
	v := contract.DeviceHealth{
		Device: d.Device, Site: d.Site, Online: d.Online, Since: d.Since, LastReading: d.Heard, Problem: contract.ProblemOf(d.Problem),
		LastError: lastError(d.Error), Quarantined: d.Quarantined, Maintenance: maintenance(d.Maintenance),
		Hour: successRate(d.Hour), Day: successRate(d.Day), Days: onlineDays(d.Days), Points: make([]contract.PointHealth, len(d.Points)),
	}
	if d.Answers > 0 {
		v.Answers = &contract.AnswerTimes{Count: d.Answers, Mean: devices.Duration(d.Mean), P99: devices.Duration(d.P99)}
	}
	for i := range d.Points {
		v.Points[i] = s.point(&d.Points[i], now)
	}
	return v
}

func (s siteHealth) point(p *edge.PointHealth, now time.Time) contract.PointHealth {
	v := contract.PointHealth{
		Point: p.Point, ReceivedAt: p.Heard, ExpectedPeriod: devices.Duration(p.Expected.Round(time.Millisecond)), Stale: p.Stale,
		Hour: successRate(p.Hour), Day: successRate(p.Day), Problem: contract.ProblemOf(p.Problem), LastError: lastError(p.Error),
		Maintenance: maintenance(p.Maintenance),
	}
	if !p.Heard.IsZero() {
		v.Age = devices.Duration(max(now.Sub(p.Heard), 0).Round(time.Millisecond))
	}
	if r := p.Last; r != nil {
		v.Last = &contract.LastValue{Point: r.Point, Site: r.Site, Value: r.Value, At: r.At, Quality: r.Quality, Mark: r.Mark}
		v.Last.Stale, v.Last.Maintenance = s.PointState(r.Point, r.At)
		if point := s.Registry.Snapshot().Points[p.Point]; point != nil {
			v.Last.Unit = point.Unit
		}
	}
	return v
}

func successRate(c health.Count) contract.SuccessRate {
	v := contract.SuccessRate{Succeeded: int64(c.OK), Failed: int64(c.Bad)}
	if rate, ok := c.Rate(); ok {
		v.Rate = &rate
	}
	return v
}

func onlineDays(days []health.OnlineDay) []contract.OnlineDay {
	list := make([]contract.OnlineDay, len(days))
	for i, d := range days {
		list[i] = contract.OnlineDay{Day: d.Day, Expected: devices.Duration(d.Expected.Round(time.Second)), Online: devices.Duration(d.Online.Round(time.Second))}
		if rate, ok := d.Rate(); ok {
			list[i].Rate = &rate
		}
	}
	return list
}

func lastError(e *ledger.LastError) *contract.LastError {
	if e == nil {
		return nil
	}
	return &contract.LastError{Problem: *contract.ProblemOf(e.Why), From: e.From, To: e.To, Open: e.Open}
}

func maintenance(m *upkeep.Maintenance) *contract.Maintenance {
	if m == nil {
		return nil
	}
	return &contract.Maintenance{Reason: m.Reason, Who: m.Who, From: m.From, Until: m.To}
}

func (s siteHealth) PointState(point string, at time.Time) (stale bool, m *contract.Maintenance) {
	stale, held := s.Box.PointState(point, at)
	return stale, maintenance(held)
}

func (s siteHealth) Maintain(ctx context.Context, subject, who string, r contract.MaintenanceRequest, also func(context.Context, *sql.Tx) error) (contract.Maintenance, error) {
	m, err := s.Box.Maintain(ctx, upkeep.Maintenance{Subject: subject, Who: who, Reason: r.Reason, To: r.Until}, also)
	return *maintenance(&m), err
}
