package edge

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/alerts"
	"offsite/edge/audit"
	"offsite/edge/breach"
)

// recognised keeps the events of what cameras recognise: stored, told to the
// platform, with a picture of that camera, audited, all in one transaction.
type recognised struct{ *Box }

// kindOf is the event's kind: a camera that is tampered with is a fault.
func kindOf(alert string) string {
	if alert == "tamper" {
		return breach.KindFault
	}
	return breach.KindAlarm
}

// eventOf begins an event of a camera: where it is and who answers for it.
func eventOf(s *registry.Snapshot, cam *devices.Camera) breach.Event {
	ev := breach.Event{Site: cam.Site, Camera: cam.ID}
	if len(cam.Outlets) == 1 { // else nobody can say which it concerns
		ev.Outlet = cam.Outlets[0]
	}
	if e := answerable(s, cam.Site); e != nil {
		ev.USCC, ev.Region = e.USCC, e.Region
	}
	return ev
}

// Open stores the event of an alert and gives its id.
func (r recognised) Open(ctx context.Context, a alerts.Alert) (event string, open bool, err error) {
	s := r.Registry.Snapshot()
	cam := s.Cameras[a.Camera]
	if cam == nil {
		return "", false, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_camera", ZH: "没有编号为 " + a.Camera + " 的摄像机", EN: "there is no camera " + a.Camera}
	}
	id := a.ID
	if id == "" {
		id = strconv.FormatInt(a.At.UnixMilli(), 10)
	}
	ev := eventOf(s, cam)
	ev.ID, ev.Kind, ev.Factor = breach.RecognisedID(a.Camera, a.Type, id), kindOf(a.Type), a.Type
	ev.StartedAt, ev.ReceivedAt = a.At.UTC().Truncate(time.Millisecond), time.Now().UTC().Truncate(time.Millisecond)
	err = r.stepCamera(ctx, func(tx *sql.Tx) (t breach.Transition, is bool, err error) {
		t, is, err = r.Events.Recognise(ctx, tx, ev)
		open = t.Event.EndedAt == nil
		if err != nil || !is {
			return t, is, err
		}
		return t, is, r.Evidence.Expect(ctx, tx, ev.ID, ev.StartedAt, []string{cam.ID})
	})
	return ev.ID, open, err
}

// endOf are the ends of what cameras have told.
var endOf = map[alerts.Reason]string{
	alerts.Recovered: breach.EndRecovered, alerts.Retired: breach.EndCameraRetired, alerts.NotListened: breach.EndNotListened,
}

// Close ends an event.
func (r recognised) Close(ctx context.Context, event string, why alerts.Reason, at time.Time) error {
	return r.stepCamera(ctx, func(tx *sql.Tx) (breach.Transition, bool, error) {
		return r.Events.EndRecognised(ctx, tx, event, endOf[why], at.UTC().Truncate(time.Millisecond))
	})
}

// stepCamera makes one transition of a camera's event, where there is one: stored with
// its message and its audit row, and shown.
func (b *Box) stepCamera(ctx context.Context, make func(tx *sql.Tx) (t breach.Transition, is bool, err error)) error {
	var t breach.Transition
	var is bool
	err := b.DB.Update(ctx, func(tx *sql.Tx) (err error) {
		if t, is, err = make(tx); err != nil || !is {
			return err
		}
		m, err := b.message(t)
		if err != nil {
			return err
		}
		return errors.Join(b.Outbox.Put(ctx, tx, m), b.Audit.Append(ctx, tx, audit.Entry{
			At: time.Now().UTC(), Who: "gateway", Act: "event." + t.Step, What: "event/" + t.Event.ID, Result: "ok",
		}))
	})
	if err != nil || !is {
		return err
	}
	b.Outbox.Wake()
	b.Evidence.Wake()
	b.Live.Tell(Update{Event: &t})
	return nil
}

// Standing gives the events that are open, by id.
func (r recognised) Standing(ctx context.Context) (map[string]alerts.Alert, error) {
	list, err := r.Events.OpenRecognised(ctx)
	if err != nil {
		return nil, err
	}
	standing := map[string]alerts.Alert{}
	for _, ev := range list {
		standing[ev.ID] = alerts.Alert{Camera: ev.Camera, Type: ev.Factor, At: ev.StartedAt}
	}
	return standing, nil
}

// cameraChanged shows watchers a camera's status anew.
func (b *Box) cameraChanged(camera string) {
	for _, st := range b.Cameras.Status() {
		if st.Camera == camera {
			b.Live.Tell(Update{Camera: &st})
		}
	}
}
