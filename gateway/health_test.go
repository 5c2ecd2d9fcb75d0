package gateway_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/breach"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

func (s *site) Health(context.Context, func(*devices.Device) bool) (contract.FieldHealth, error) {
	return contract.FieldHealth{Items: []contract.DeviceHealth{}, Outlets: []contract.OutletOnline{}}, nil
}

func (s *site) PointState(string, time.Time) (bool, *contract.Maintenance) { return false, nil }

// StaleAfter gives three times the last gap, so that a test can see what was asked.
func (s *site) StaleAfter(_ string, _, _ time.Time, gaps []time.Duration) time.Duration {
	if len(gaps) == 0 {
		return time.Minute
	}
	return 3 * gaps[len(gaps)-1]
}

func (s *site) Maintain(ctx context.Context, _, who string, r contract.MaintenanceRequest, also func(context.Context, *sql.Tx) error) (contract.Maintenance, error) {
	return contract.Maintenance{Reason: r.Reason, Who: who, From: day, Until: r.Until},
		s.db.Update(ctx, func(tx *sql.Tx) error { return also(ctx, tx) })
}

func (s *site) EndMaintenance(ctx context.Context, _ string, also func(context.Context, *sql.Tx) error) error {
	return s.db.Update(ctx, func(tx *sql.Tx) error { return also(ctx, tx) })
}

func TestHealthAndMaintenanceOfARealSite(t *testing.T) {
	t.Parallel()
	b, site := openSite(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	until(t, "ready", func() bool { return b.call("GET", "/readyz", nil, nil).status == 200 })
	engineer, viewer := bearer(b.token(accounts.FieldEngineer, "a")), bearer(b.token(accounts.Viewer, "a"))
	body := map[string]any{"until": time.Now().Add(time.Hour), "reason": "换滤芯"}

	b.call("PUT", "/api/v1/devices/dust-a/maintenance", viewer, body).want(403)
	b.call("PUT", "/api/v1/devices/dust-b/maintenance", engineer, body).problem(404, "not_found")
	b.call("PUT", "/api/v1/devices/dust-a/maintenance", engineer, map[string]any{"until": time.Now().Add(1000 * time.Hour), "reason": "x"}).problem(400, "too_long")
	b.call("DELETE", "/api/v1/devices/dust-a/maintenance", engineer, nil).problem(404, "not_maintained")

	s := b.listen(b.http.URL, "", b.token(accounts.Viewer, "a"))
	defer func() { _ = s.resp.Body.Close() }()
	var m contract.Maintenance
	b.call("PUT", "/api/v1/devices/dust-a/maintenance", engineer, body).want(200).into(&m)
	if m.Reason != "换滤芯" || m.Who == "" || !m.Until.After(m.From) {
		t.Errorf("%+v", m)
	}
	for name, data := "", []byte(nil); name != "device" || !strings.Contains(string(data), "换滤芯"); {
		name, data = s.next(b)
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	done := make(chan error, 1)
	site.Pipeline.Accept(devices.Delivery{
		Origin: devices.Origin{Device: "dust-a", ID: "1"}, Received: at,
		Readings: []devices.Reading{{Site: "a", Point: "gate-a.pm10", Value: 200, At: at, Mark: "M", Quality: devices.BadMaintenance}},
	}, func(err error) { done <- err })
	must(t, <-done)
	var last struct {
		Stale       bool
		Maintenance *contract.Maintenance
	}
	until(t, "the value, and the point with its device", func() bool {
		return strings.Contains(string(b.call("GET", "/api/v1/points/gate-a.pm10/last", viewer, nil).body), "maintenance")
	})
	b.call("GET", "/api/v1/points/gate-a.pm10/last", viewer, nil).want(200).into(&last)
	until(t, "the mark in history", func() bool {
		return strings.Contains(string(b.call("GET", "/api/v1/readings?point=gate-a.pm10", viewer, nil).body), `"mark":"M","quality":"bad/maintenance"`)
	})
	if last.Stale || last.Maintenance == nil || last.Maintenance.Reason != "换滤芯" {
		t.Errorf("%+v", last)
	}
	type health struct {
		Days        []contract.OnlineDay
		Maintenance *contract.Maintenance
		Points      []struct{ Last struct{ Value float64 } }
	}
	var field struct {
		Formulas contract.Formulas
		Items    []health
		Outlets  []contract.OutletOnline
	}
	b.call("GET", "/api/v1/health", viewer, nil).want(200).into(&field)
	if len(field.Items) != 1 || len(field.Outlets) != 1 || field.Formulas.Online.ZH == "" || len(field.Items[0].Days) != 7 || field.Items[0].Maintenance == nil {
		t.Errorf("%+v", field)
	}
	var dev health
	b.call("GET", "/api/v1/devices/dust-a/health", viewer, nil).want(200).into(&dev)
	if len(dev.Points) != 1 || dev.Points[0].Last.Value != 200 {
		t.Errorf("%+v", dev)
	}
	b.call("GET", "/api/v1/devices/dust-b/health", viewer, nil).problem(404, "not_found")
	var status contract.Status
	b.call("GET", "/api/v1/status", root, nil).want(200).into(&status)
	if len(status.Devices) != 2 || status.Devices[0].Maintenance == nil || status.Devices[1].Maintenance != nil {
		t.Errorf("%+v", status.Devices)
	}
	if events, err := site.Events.Events(t.Context(), breach.Filter{}); err != nil || len(events) != 0 {
		t.Errorf("judged under maintenance: %+v, %v", events, err)
	}
	b.call("DELETE", "/api/v1/devices/dust-a/maintenance", engineer, nil).want(204)
	if rows := b.acts("device.maintenance.begin"); len(rows) != 1 || rows[0].Purpose != "换滤芯" || len(b.acts("device.maintenance.end")) != 1 {
		t.Errorf("trail: %+v", rows)
	}
}
