package gateway

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/edge/field"
	"offsite/edge/ledger"
	"offsite/edge/letters"
	"offsite/gateway/api"
	"offsite/gateway/api/commissioning"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/duty"
	"offsite/gateway/api/footage"
	"offsite/gateway/api/instruments"
	"offsite/gateway/api/supervision"
	"offsite/gateway/api/video"
)

// Site shows the site, edge.Box, as the API asks for it.
func Site(b *edge.Box) api.Backend {
	backend := api.Backend{
		Registry: b.Registry, Audit: b.Audit,
		Commissioning: commissioning.Backend{Lookout: b.Cameras, Finder: b.Cameras},
		Instruments:   instruments.Backend{Health: siteHealth{b}, Letters: siteLetters{b}},
		Duty: duty.Backend{
			History: b.History, Updates: siteUpdates{b}, Points: siteHealth{b}, Events: siteEvents{b}, Evidence: siteEvidence{b},
			Devices: siteDevices{b}, Cameras: siteCameras{b}, Condition: siteCondition{b}, Platform: sitePlatform{b},
		},
		Video:       video.Backend{Cameras: siteCameras{b}, Steering: b.PTZ, References: siteReferences{b}, Alerts: b.Alerts},
		Footage:     footage.Backend{Films: b.Footage},
		Supervision: supervision.Backend{Platform: sitePlatform{b}, Trail: b.Audit},
	}
	if b.Loggers != nil { // else it would be an interface that holds nothing
		backend.Instruments.Loggers = b.Loggers
	}
	return backend
}

type siteDevices struct{ *edge.Box }

func (s siteDevices) Devices() []contract.DeviceStatus {
	board, stale := s.Board.Devices(), s.StalePoints()
	list := make([]contract.DeviceStatus, 0, len(board))
	for i := range board {
		list = append(list, deviceStatus(s.Box, &board[i], stale))
	}
	return list
}

// deviceStatus gives the API's form; stale are the stale points of each device.
func deviceStatus(b *edge.Box, d *field.Status, stale map[string][]string) contract.DeviceStatus {
	st := contract.DeviceStatus{
		Device: d.Device, Online: d.Online, Since: d.Since, LastReading: d.Heard, Problem: contract.ProblemOf(d.Problem),
		Stale: stale[d.Device], Maintenance: maintenance(b.MaintenanceOf(d.Device)),
	}
	if dev := b.Registry.Snapshot().Devices[d.Device]; dev != nil {
		st.Site = dev.Site
	}
	for _, point := range slices.Sorted(maps.Keys(d.Points)) {
		st.Points = append(st.Points, contract.PointProblem{Point: point, Problem: *contract.ProblemOf(d.Points[point])})
	}
	return st
}

type siteEvents struct{ *edge.Box }

func (s siteEvents) Events(ctx context.Context, f breach.Filter) ([]breach.Event, error) {
	return s.Box.Events.Events(ctx, f)
}

func (s siteEvents) Event(ctx context.Context, id string) (breach.Event, error) {
	return s.Box.Events.Event(ctx, id)
}

func (s siteEvents) Acknowledge(ctx context.Context, id, who, note string, at time.Time, also func(context.Context, *sql.Tx) error) (breach.Event, error) {
	return s.Box.Acknowledge(ctx, id, who, note, at, also)
}

type siteUpdates struct{ *edge.Box }

// Updates translates what the edge tells. One goroutine does it; it ends with stop.
func (s siteUpdates) Updates() (c <-chan duty.Update, missed func() int64, stop func()) {
	w, end := s.Live.Watch()
	out := make(chan duty.Update)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case u := <-w.C:
				select {
				case out <- update(s.Box, &u):
				case <-done:
					return
				}
			case <-done:
				return
			}
		}
	}()
	return out, w.Lost, func() { close(done); <-ended; end() }
}

func update(b *edge.Box, u *edge.Update) duty.Update {
	v := duty.Update{Readings: u.Readings, Event: u.Event, Points: u.Points, Notices: u.Notices, Registry: u.Changed}
	if u.Device != nil {
		st := deviceStatus(b, u.Device, b.StalePoints())
		v.Device = &st
	}
	if u.Camera != nil {
		st := cameraStatus(b, u.Camera)
		v.Camera = &st
	}
	return v
}

func (s siteUpdates) Latest() []devices.Reading { return s.Live.All() }

func (s siteUpdates) Newest(point string) (devices.Reading, bool) { return s.Live.Latest(point) }

type siteCondition struct{ *edge.Box }

func (s siteCondition) Condition(context.Context) (contract.Status, error) {
	st := s.Box.Condition()
	return contract.Status{
		Version: st.Version, StartedAt: st.Started, Now: time.Now().UTC(), History: st.History, Notices: s.Notices(),
		Backlog: contract.Backlog{LogBytes: st.LogBytes, HistoryBehind: st.HistoryBehind, JudgingBehind: st.JudgingBehind},
	}, nil
}

// alarming are the notices that stop a promise from being kept.
var alarming = map[string]bool{"storage": true, "judging": true, "history": true, "broker": true, "state": true}

func (s siteCondition) Notices() []contract.Notice {
	held := s.Box.Notices()
	list := make([]contract.Notice, 0, len(held))
	for _, n := range held {
		notice := contract.Notice{Code: n.Problem.Code, Zh: n.Problem.ZH, En: n.Problem.EN, Since: n.Since, Level: contract.Warning}
		if alarming[n.Name] {
			notice.Level = contract.Alarm
		}
		list = append(list, notice)
	}
	return list
}

func (s siteCondition) Losses(ctx context.Context, before string, most int, sees func(site string) bool) (list []contract.Loss, next string, err error) {
	rows, err := s.Ledger.Losses(ctx, ledger.Filter{
		Before: before, Max: most + 1, Of: func(subject string) bool { return sees(siteOf(s.Registry, subject)) },
	})
	if err != nil {
		return nil, "", err
	}
	if len(rows) > most {
		rows, next = rows[:most], rows[most-1].Cursor()
	}
	list = make([]contract.Loss, 0, len(rows))
	for _, l := range rows {
		list = append(list, contract.Loss{
			ID: l.ID, Kind: l.Kind, Subject: l.Subject, Site: siteOf(s.Registry, l.Subject), From: l.From, To: l.To, Count: l.Count, Open: l.Open,
			Detail: l.Detail, Why: *contract.ProblemOf(l.Why),
		})
	}
	return list, next, nil
}

// siteOf gives the site of a loss's subject, "" if it has none.
func siteOf(r *registry.Registry, subject string) string {
	kind, id, _ := strings.Cut(subject, "/")
	s := r.Snapshot()
	switch devices.Kind(kind) {
	case devices.KindPoint:
		return s.SiteOf(id)
	case devices.KindDevice:
		if d := s.Devices[id]; d != nil {
			return d.Site
		}
	case devices.KindCamera, "recording":
		if c := s.Cameras[id]; c != nil {
			return c.Site
		}
	}
	return ""
}

type siteLetters struct{ *edge.Box }

func (s siteLetters) letters(list []letters.Letter) []contract.DeadLetter {
	out := make([]contract.DeadLetter, 0, len(list))
	for _, l := range list {
		d := contract.DeadLetter{
			ID: int64(l.Seq), Device: l.Device, Site: siteOf(s.Registry, "device/"+l.Device), Topic: l.Topic, Size: len(l.Payload),
			Problem: *contract.ProblemOf(l.Problem), ReceivedAt: l.Received,
		}
		d.Payload, d.Encoding = contract.PayloadOf(l.Payload)
		out = append(out, d)
	}
	return out
}

func seqsOf(ids []int64) []uint64 {
	seqs := make([]uint64, len(ids))
	for i, id := range ids {
		seqs[i] = uint64(id)
	}
	return seqs
}

func (s siteLetters) Letters(ctx context.Context, f instruments.LetterFilter) ([]contract.DeadLetter, error) {
	list, err := s.Box.Letters.List(ctx, letters.Filter{Device: f.Device, Seqs: seqsOf(f.IDs), Before: uint64(f.Before), Most: f.Most})
	return s.letters(list), err
}

func (s siteLetters) Replay(ctx context.Context, ids []int64) (contract.ReplayResult, error) {
	done, err := s.Box.Letters.Replay(ctx, letters.Filter{Seqs: seqsOf(ids)})
	return contract.ReplayResult{Understood: done.Understood, Readings: done.Readings, Failed: s.letters(done.Failed)}, err
}

type siteEvidence struct{ *edge.Box }

func (s siteEvidence) Evident(ctx context.Context, event string) (contract.Evident, error) {
	r, err := s.Evidence.Of(ctx, event)
	if err != nil {
		return contract.Evident{}, err
	}
	e := contract.Evident{Pictures: make([]contract.Picture, 0, len(r.Items)), Manifest: r.Manifest}
	for _, it := range r.Items {
		p := contract.Picture{
			Camera: it.Camera, Kind: it.Kind, Moment: devices.Duration(it.Moment), State: contract.EvidenceState(it.State),
			Sha256: it.SHA256, Marked: it.Marked, ContentType: it.MediaType, Size: it.Size, TakenAt: it.CapturedAt, Until: it.Until,
			Distance: devices.Duration(it.Distance), TimeSource: string(it.TimeSource), Step: it.Step, Width: it.Width, Height: it.Height,
			Codec: string(it.Codec), DeletedAt: it.DeletedAt, Problem: contract.ProblemOf(it.Problem),
		}
		if it.ClockOffset != nil {
			offset := devices.Duration(time.Duration(*it.ClockOffset) * time.Millisecond)
			p.ClockOffset = &offset
		}
		e.Pictures = append(e.Pictures, p)
	}
	e.Hold, err = s.Evidence.Held(ctx, event)
	return e, err
}

func (s siteEvidence) HoldEvidence(ctx context.Context, event string, h evidence.Hold, also func(context.Context, *sql.Tx) error) error {
	return s.DB.Update(ctx, func(tx *sql.Tx) error {
		if err := s.Evidence.Hold(ctx, tx, event, h); err != nil {
			return err
		}
		return also(ctx, tx)
	})
}

func (s siteEvidence) ReleaseEvidence(ctx context.Context, event string, also func(context.Context, *sql.Tx) error) error {
	return s.DB.Update(ctx, func(tx *sql.Tx) error {
		if err := s.Evidence.Release(ctx, tx, event); err != nil {
			return err
		}
		return also(ctx, tx)
	})
}

func (s siteEvidence) OpenBlob(ctx context.Context, sha256 string) (*duty.Exhibit, error) {
	file, err := s.Evidence.ByHash(ctx, sha256)
	if err != nil {
		return nil, err
	}
	if len(file.Events) == 0 {
		return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_blob", ZH: "没有这份证据", EN: "no event names this evidence"}
	}
	exhibit := &duty.Exhibit{ContentType: file.MediaType, Taken: file.Taken}
	for _, event := range file.Events {
		ev, err := s.Events.Event(ctx, event)
		if err != nil {
			return nil, err
		}
		exhibit.Sites = append(exhibit.Sites, ev.Site)
	}
	if file.Deleted != nil {
		deleted := *file.Deleted
		deleted.Kind = contract.ErrDeleted
		return exhibit, &deleted
	}
	exhibit.ReadSeekCloser, err = s.Vault.Open(sha256)
	var p *devices.Problem
	if errors.As(err, &p) && p.Code == "evidence_damaged" {
		damaged := *p
		damaged.Kind = contract.ErrDamaged // asking again will not help
		return nil, &damaged
	}
	if err != nil {
		return nil, err
	}
	return exhibit, nil
}

type sitePlatform struct{ *edge.Box }

func (s sitePlatform) Platform(ctx context.Context) (contract.PlatformStatus, error) {
	st, err := s.PlatformStatus(ctx)
	if err != nil {
		return contract.PlatformStatus{}, err
	}
	if st.Gateway != "" && st.Problem != nil && st.Problem.Code == "not_enrolled" {
		st.Problem = nil // of before the enrolment; the first contact is on its way
	}
	return contract.PlatformStatus{
		Enrolled: st.Gateway != "", Gateway: st.Gateway, URL: st.URL, Online: st.Online, Since: st.Since,
		Problem: contract.ProblemOf(st.Problem), ClockOffset: devices.Duration(st.ClockOffset),
		Waiting: int64(st.Outbox.Waiting), Dead: int64(st.Outbox.Dead), Oldest: st.Outbox.Oldest,
	}, nil
}

// Enrol names the fields of a fault as the API's body does.
func (s sitePlatform) Enrol(ctx context.Context, address, code string) error {
	err := s.Box.Enrol(ctx, address, code)
	var p *devices.Problem
	if !errors.As(err, &p) {
		return err
	}
	named := *p
	switch p.Field {
	case "platform":
		named.Field = "url"
	case "activation_code":
		named.Field = "code"
	}
	return &named
}

// maxCommand bounds a command that the platform sends by itself.
const maxCommand = 1 << 20

func (s sitePlatform) Receive(r *http.Request) (status int, body []byte, err error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, maxCommand+1))
	if err != nil {
		return 0, nil, err
	}
	if len(text) > maxCommand {
		return 0, nil, errors.Join(devices.ErrInvalid, errors.New("command too large"))
	}
	status, body = s.Box.Receive(r.Context(), r, text)
	return status, body, nil
}
