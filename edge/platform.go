package edge

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
	"offsite/edge/evidence"
	"offsite/edge/ledger"
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/edge/upkeep"
)

// Kinds of messages in the outbox.
const (
	messageEvent    = "event"
	messageEvidence = "evidence"
	messageStream   = "stream" // the end of one
)

// openPlatform opens the client of the supervision platform. It is idle until
// the gateway is enrolled.
func (b *Box) openPlatform(ctx context.Context) (*dispatch.Client, error) {
	cfg := dispatch.Config{
		Version: b.version, Auditor: platformAuditor{b.Audit}, Log: b.logger,
		Report: func(r dispatch.Report) {
			if r.Part == dispatch.PartPlatform {
				b.contact.Store(&r)
				b.notices.Set(notice.Platform, r.Problem)
			}
		},
	}
	var problem *devices.Problem
	if cfg.TLS, problem = b.cfg.Platform.tls(); problem != nil {
		return nil, problem
	}
	return dispatch.Open(ctx, b.DB, cfg)
}

// directory tells breach where a point stands and who answers for it.
type directory struct {
	registry *registry.Registry
	upkeep   *upkeep.Book
}

func (d directory) Describe(point string, at time.Time) (breach.Place, bool) {
	s := d.registry.Snapshot()
	p := s.Points[point]
	if p == nil {
		return breach.Place{}, false
	}
	place := breach.Place{Site: s.SiteOf(point), Outlet: p.Outlet(), Factor: p.Factor, Unit: p.Unit, Measured: measured(s, point, at), Maintained: d.maintained(s, point, at)}
	if e := answerable(s, place.Site); e != nil {
		place.USCC, place.Region = e.USCC, e.Region
	}
	return place, true
}

// maintained says whether the point, or a device bound to it, is under
// maintenance at the time at.
func (d directory) maintained(s *registry.Snapshot, point string, at time.Time) bool {
	if d.upkeep == nil || d.upkeep.None() {
		return false
	}
	for _, b := range s.Bindings {
		if b.Point == point && !b.From.After(at) && (b.To == nil || b.To.After(at)) && d.upkeep.Of(b.Device, point, at) != nil {
			return true
		}
	}
	return d.upkeep.Of("", point, at) != nil
}

// measured says whether a device is bound to point at the time at.
func measured(s *registry.Snapshot, point string, at time.Time) bool {
	for _, b := range s.Bindings {
		if b.Point == point && !b.From.After(at) && (b.To == nil || b.To.After(at)) {
			return true
		}
	}
	return false
}

// answerable is the entity that answers for a site: its operator, else its
// owner, else the first that is named.
func answerable(s *registry.Snapshot, site string) *devices.Entity {
	st := s.Sites[site]
	if st == nil {
		return nil
	}
	roles := slices.Clone(st.Entities)
	rank := map[string]int{"operator": 0, "contractor": 1, "owner": 2}
	slices.SortStableFunc(roles, func(a, b devices.Role) int { return rank[a.Role] - rank[b.Role] })
	for _, r := range roles {
		if e := s.Entities[r.Entity]; e != nil {
			return e
		}
	}
	return nil
}

// message gives a transition the platform's form. Its lane is the event, so
// that the platform hears of each event's steps in their order.
func (b *Box) message(t breach.Transition) (outbox.Message, error) {
	body, err := json.Marshal(eventBody(t, b.platform.Clock()))
	if err != nil {
		return outbox.Message{}, fmt.Errorf("write event: %w", err)
	}
	return outbox.Message{
		Key: b.Outbox.Key(t.Event.ID, strconv.Itoa(t.Revision)), Lane: t.Event.ID, Kind: messageEvent, Event: t.Event.ID,
		Body: body, Created: time.Now().UTC(),
	}, nil
}

func eventBody(t breach.Transition, clock wire.Clock) wire.Event {
	ev := t.Event
	body := wire.Event{
		ID: ev.ID, Revision: t.Revision, Step: wire.EventStep(t.Step), Kind: wire.EventKind(ev.Kind),
		USCC: ev.USCC, RegionCode: ev.Region, Site: ev.Site, Outlet: ev.Outlet, Point: ev.Point, Factor: ev.Factor, Camera: ev.Camera,
		Value: ev.Value, Peak: &ev.Peak, Unit: ev.Unit, Averaging: ev.Averaging, Limit: ev.LimitValue, LimitID: ev.Limit,
		Standard: ev.Standard, Clause: ev.Clause, Level: wire.EventLevel(ev.Level), Mark: ev.Mark, ValidRatio: &ev.ValidRatio,
		StartedAt: wire.At(ev.StartedAt), JudgedAt: wire.At(time.Now()), RuleVersion: ev.RuleVersion, RegItem: ev.RegItem,
		Clock: clock, Evidence: wire.Evidence{State: wire.EvidenceState(ev.Evidence)},
	}
	if ev.EndedAt != nil {
		body.EndedAt = wire.At(*ev.EndedAt)
	}
	return body
}

// tellEvidence queues what became of an event's evidence as a message of its
// own: it waits for the event's opening and nothing but its completion waits for it.
func (b *Box) tellEvidence(ctx context.Context, tx *sql.Tx, r evidence.Result) error {
	if err := b.Events.SetEvidence(ctx, tx, r.Event, r.State); err != nil {
		return err
	}
	ev, err := b.Events.Event(ctx, r.Event)
	if err != nil {
		return err
	}
	key := "evidence"
	if r.Complete {
		key = "complete"
	}
	body := eventBody(breach.Transition{Event: ev, Step: string(wire.EventStepEvidence), Revision: ev.Revision}, b.platform.Clock())
	body.Evidence = evidenceBody(r)
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("write evidence: %w", err)
	}
	err = b.Outbox.Put(ctx, tx, outbox.Message{
		Key: b.Outbox.Key(ev.ID, key), Lane: ev.ID + ":evidence", After: b.Outbox.Key(ev.ID, "1"), Kind: messageEvidence, Event: ev.ID,
		Body: text, Blobs: r.Blobs(), Created: time.Now().UTC(),
	})
	if err != nil {
		return err
	}
	return b.Audit.Append(ctx, tx, audit.Entry{
		At: time.Now().UTC(), Who: "gateway", Act: "evidence." + r.State, What: "event/" + ev.ID, Result: "ok",
	})
}

// pictured sends the pictures of events on and shows them to whoever watches.
func (b *Box) pictured(events []string) {
	b.Outbox.Wake()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, id := range events {
		ev, err := b.Events.Event(ctx, id)
		if err != nil {
			b.logger.ErrorContext(ctx, "event not shown", "event", id, "err", err)
			continue
		}
		b.Live.Tell(Update{Event: &breach.Transition{Event: ev, Step: breach.Updated, Revision: ev.Revision}})
	}
}

func evidenceBody(r evidence.Result) wire.Evidence {
	e := wire.Evidence{State: wire.EvidenceState(r.State), Complete: &r.Complete, Manifest: r.Manifest}
	for _, it := range r.Items {
		if it.State == evidence.Pending {
			continue
		}
		item := wire.EvidenceItem{Camera: it.Camera, Kind: wire.EvidenceItemKind(it.Kind), MomentMS: it.Moment.Milliseconds(), Step: it.Step}
		if it.SHA256 != "" {
			distance := it.Distance.Milliseconds()
			item.SHA256, item.MediaType, item.CapturedAt, item.DistanceMS = it.SHA256, it.MediaType, wire.At(it.CapturedAt), &distance
			item.MarkedSHA256, item.Size, item.Width, item.Height = it.Marked, it.Size, it.Width, it.Height
			item.TimeSource, item.ClockOffsetMS = wire.EvidenceItemTimeSource(it.TimeSource), it.ClockOffset
			if !it.Until.IsZero() {
				item.Until = wire.At(it.Until)
			}
		}
		if it.Problem != nil {
			item.Reason, item.ReasonZh = it.Problem.EN, it.Problem.ZH
		}
		e.Items = append(e.Items, item)
	}
	if r.Problem != nil {
		e.Reason, e.ReasonZh = r.Problem.EN, r.Problem.ZH
	}
	return e
}

// deliver hands one message to the platform: blobs first, then the message
// that names them.
func (b *Box) deliver(ctx context.Context, m outbox.Message) outbox.Verdict {
	a := b.handOver(ctx, m)
	if a.Class == dispatch.Refused && a.Problem != nil && a.Problem.Code == "platform_key_reused" && b.DB.Restored() != nil {
		b.logger.InfoContext(ctx, "the platform has this message from before the state was restored", "event", m.Event)
		a = dispatch.Answer{Class: dispatch.Done, Status: a.Status}
	}
	b.delivered(ctx, a)
	return verdict(a)
}

// delivered shows why messages do not arrive although the platform is there.
// One failure that the next try heals is not worth a notice.
func (b *Box) delivered(ctx context.Context, a dispatch.Answer) {
	switch {
	case a.Class == dispatch.Done:
		b.undelivered.Store(0)
		b.notices.Set(notice.Delivery, nil)
	case a.Class == dispatch.Retry && a.Problem != nil && ctx.Err() == nil && b.undelivered.Add(1) > 1:
		b.notices.Set(notice.Delivery, a.Problem)
	}
}

func (b *Box) handOver(ctx context.Context, m outbox.Message) dispatch.Answer {
	var large []string
	for _, sha := range m.Blobs {
		open := func() (dispatch.Blob, error) { return platformSite{b}.Blob(sha) }
		a := b.platform.PutBlob(ctx, sha, open)
		if m.Kind == messageEvidence && a.Status == http.StatusRequestEntityTooLarge && a.Class == dispatch.Refused {
			large = append(large, sha)
		} else if a.Class != dispatch.Done {
			return a
		}
	}
	if m.Kind == messageStream {
		a := b.platform.PostStreamEnd(ctx, m.Key, m.Body)
		if a.Status == http.StatusNotFound || a.Status == http.StatusMethodNotAllowed {
			a.Class = dispatch.Refused // a platform that has no such page still takes events
		}
		return a
	}
	if len(large) > 0 {
		return b.postWithout(ctx, m, large)
	}
	return b.platform.PostEvent(ctx, m.Key, m.Body)
}

// verdict is what the outbox makes of an answer.
func verdict(a dispatch.Answer) outbox.Verdict {
	classes := map[dispatch.Class]outbox.Class{
		dispatch.Done: outbox.Done, dispatch.Retry: outbox.Retry, dispatch.Pause: outbox.Pause, dispatch.Refused: outbox.Refused,
	}
	return outbox.Verdict{Class: classes[a.Class], After: a.After, Reason: a.Problem}
}

// outboxPaused shows why nothing is sent, unless nobody wants a platform.
func (b *Box) outboxPaused(s outbox.Status) {
	if enrolled, _ := b.platform.Enrolled(); enrolled == "" || s.Until.IsZero() {
		b.notices.Set(notice.Outbox, nil)
		return
	}
	b.notices.Set(notice.Outbox, s.Reason)
}

// buried writes a message that the platform refused for good among the losses.
func (b *Box) buried(ctx context.Context, tx *sql.Tx, m outbox.Message, why *devices.Problem) error {
	b.DB.AfterCommit(tx, func() { b.Ledger.Count(ledger.LossRefused, 1) })
	return ledger.Put(ctx, tx, ledger.Loss{
		Kind: ledger.LossRefused, Subject: "platform", Why: why, From: m.Created, To: time.Now(), Count: 1, Detail: m.Key,
	})
}

// platformAuditor writes the platform's acts into the audit chain.
type platformAuditor struct{ log *audit.Log }

func (p platformAuditor) Audit(ctx context.Context, tx *sql.Tx, e dispatch.Entry) error {
	return p.log.Append(ctx, tx, audit.Entry{
		At: e.At, Who: e.Who, From: e.From, Act: e.Act, What: e.What, Purpose: e.Purpose, Result: e.Result, Detail: e.Detail, After: e.Hash,
	})
}

// Enrol introduces the gateway to a platform with a one-time activation code;
// whatever waited for a platform is then sent.
func (b *Box) Enrol(ctx context.Context, address, code string) error {
	if err := b.platform.Enrol(ctx, address, code); err != nil {
		return err
	}
	b.Outbox.Resume()
	return nil
}

// Acknowledge notes that who has taken notice of an event, and tells the
// platform. also is called inside the same transaction.
func (b *Box) Acknowledge(ctx context.Context, id, who, note string, at time.Time, also func(context.Context, *sql.Tx) error) (breach.Event, error) {
	var ev breach.Event
	err := b.DB.Update(ctx, func(tx *sql.Tx) (err error) {
		if ev, err = b.Events.Acknowledge(ctx, tx, id, who, note, at); err != nil {
			return err
		}
		m, err := b.message(breach.Transition{Event: ev, Step: breach.Updated, Revision: ev.Revision})
		if err != nil {
			return err
		}
		return errors.Join(b.Outbox.Put(ctx, tx, m), also(ctx, tx))
	})
	if err != nil {
		return breach.Event{}, err
	}
	b.Outbox.Wake()
	b.Live.Tell(Update{Event: &breach.Transition{Event: ev, Step: breach.Updated, Revision: ev.Revision}})
	return ev, nil
}

// Receive checks, carries out and answers one signed command that the platform
// sent to the gateway's own address. body is the request's, already read.
func (b *Box) Receive(ctx context.Context, r *http.Request, body []byte) (status int, answer []byte) {
	return b.platform.Receive(ctx, platformSite{b}, r.RemoteAddr, r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header, body)
}

// PlatformStatus tells how the gateway stands with its platform.
type PlatformStatus struct {
	Gateway     string // the id that the platform gave; empty before enrolment
	URL         string
	Online      bool
	Since       time.Time        // of Online
	Problem     *devices.Problem // why it is not online
	ClockOffset time.Duration    // platform's clock minus the gateway's
	Outbox      outbox.Depth
}

// PlatformStatus tells how the gateway stands with its platform.
func (b *Box) PlatformStatus(ctx context.Context) (PlatformStatus, error) {
	var st PlatformStatus
	var err error
	if st.Outbox, err = b.Outbox.Depth(ctx); err != nil {
		return st, err
	}
	st.Gateway, st.URL = b.platform.Enrolled()
	st.ClockOffset = time.Duration(b.platform.Clock().OffsetMS) * time.Millisecond
	if last := b.contact.Load(); last != nil {
		st.Online, st.Since, st.Problem = last.Problem == nil, last.At, last.Problem
	}
	return st, nil
}
