package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/timeseries"
)

// platformSite is the site as the platform's client sees it.
type platformSite struct{ *Box }

var _ dispatch.Site = platformSite{}

// Status gives the heartbeat, and what notes that its losses are told.
func (s platformSite) Status() (h wire.Heartbeat, taken func(context.Context) error) {
	h = wire.Heartbeat{State: wire.HeartbeatStateOK, StartedAt: wire.At(s.started)}
	registered := s.Registry.Snapshot()
	h.Devices.Total, h.Cameras.Total = len(registered.Devices), len(registered.Cameras)
	for _, d := range s.Board.Devices() {
		if d.Online {
			h.Devices.Online++
		}
	}
	for _, c := range s.Cameras.Status() {
		if c.Connected || c.Idle {
			h.Cameras.Online++
		}
	}
	if h.Devices.Online < h.Devices.Total || h.Cameras.Online < h.Cameras.Total {
		h.State = wire.HeartbeatStateDegraded
	}
	for _, n := range s.notices.List() {
		h.Notices = append(h.Notices, wire.Notice{Code: n.Problem.Code, Since: wire.At(n.Since), Why: n.Problem.Bilingual()})
		if n.Name == notice.Storage || n.Name == notice.Judging {
			h.State = wire.HeartbeatStateFault
		}
	}
	h.Maintenance, h.Stale = s.maintained(registered), s.stale()
	for _, stream := range s.relay.List() {
		h.Streams = append(h.Streams, stream.ID)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if depth, err := s.Outbox.Depth(ctx); err == nil {
		h.Buffer = bufferOf(depth)
	}
	losses, err := s.Ledger.Untold(ctx, lossesTold)
	if err != nil {
		s.logger.WarnContext(ctx, "losses not told to the platform", "err", err)
	}
	for _, l := range losses {
		h.Losses = append(h.Losses, wire.Loss{
			ID: l.ID, What: l.Kind + " " + l.Subject, Count: l.Count, From: wire.At(l.From), To: wire.At(l.To), Open: l.Open, Why: l.Why.Bilingual(),
		})
	}
	return h, func(ctx context.Context) error { return s.Ledger.Told(ctx, losses, time.Now()) }
}

// What one heartbeat bears at most of maintenance and of stale points.
const (
	maintenanceTold = 1000
	staleTold       = 5000
)

func (s platformSite) maintained(registered *registry.Snapshot) []wire.Maintenance {
	var list []wire.Maintenance
	for _, m := range s.upkeep.Holding(time.Now()) {
		kind, id, _ := strings.Cut(m.Subject, "/")
		told := wire.Maintenance{
			Kind: wire.MaintenanceKind(kind), ID: id, Reason: m.Reason, From: wire.At(m.From), Until: wire.At(m.To),
		}
		if dev := registered.Devices[id]; kind == "device" && dev != nil {
			told.Site = dev.Site
		} else if kind == "point" {
			told.Site = registered.SiteOf(id)
		}
		if list = append(list, told); len(list) == maintenanceTold {
			break
		}
	}
	return list
}

func (s platformSite) stale() []string {
	var list []string
	for _, points := range s.health.StalePoints() {
		list = append(list, points...)
	}
	slices.Sort(list)
	return list[:min(len(list), staleTold)]
}

// lossesTold is how many losses each heartbeat bears.
const lossesTold = 100

func bufferOf(d outbox.Depth) wire.Buffer {
	b := wire.Buffer{Waiting: d.Waiting, Dead: d.Dead}
	if !d.Oldest.IsZero() {
		b.Oldest = wire.At(d.Oldest)
	}
	return b
}

// Watch wakes after changes of the registry.
func (s platformSite) Watch() (wake <-chan struct{}, stop func()) { return s.Registry.Watch() }

// Changes gives what was registered, changed and retired after since.
func (s platformSite) Changes(ctx context.Context, since int64, most int) ([]wire.Resource, error) {
	changes, err := s.Registry.Changes(ctx, since, most)
	if err != nil {
		return nil, err
	}
	list := make([]wire.Resource, 0, len(changes))
	for _, c := range changes {
		r := wire.Resource{Op: wire.ResourceOp(c.Op), Kind: wire.ResourceKind(c.Kind), ID: c.ID, Revision: c.Revision}
		if c.Op != "D" {
			if r.Data, err = dispatch.DataOf(c.Thing); err != nil {
				return nil, err
			}
		}
		list = append(list, r)
	}
	return list, nil
}

// resourceKinds are what the platform keeps a directory of.
var resourceKinds = []devices.Kind{
	devices.KindEntity, devices.KindSite, devices.KindOutlet, devices.KindPoint, devices.KindDevice, devices.KindCamera,
}

// Directory gives everything that is registered now.
func (s platformSite) Directory(context.Context) (revision int64, all []wire.Resource, err error) {
	snapshot := s.Registry.Snapshot()
	for _, kind := range resourceKinds {
		for _, thing := range snapshot.List(kind) {
			data, err := dispatch.DataOf(thing)
			if err != nil {
				return 0, nil, err
			}
			all = append(all, wire.Resource{
				Op: wire.ResourceOpA, Kind: wire.ResourceKind(kind), ID: thing.Key(), Revision: snapshot.Revision, Data: data,
			})
		}
	}
	return snapshot.Revision, all, nil
}

// Latest gives the newest value of each point; nil means every point heard.
func (s platformSite) Latest(points []string) []wire.Reading {
	var list []wire.Reading
	if points == nil {
		for _, r := range s.Live.All() {
			list = append(list, s.readingBody(r))
		}
		return list
	}
	for _, p := range points {
		if r, ok := s.Live.Latest(p); ok {
			list = append(list, s.readingBody(r))
		}
	}
	return list
}

func (s platformSite) readingBody(r devices.Reading) wire.Reading {
	body := wire.Reading{
		Site: r.Site, Point: r.Point, Value: r.Value, At: wire.At(r.At), Mark: r.Mark, Quality: wire.ReadingQuality(r.Quality.String()),
	}
	body.Stale = s.health.Stale(r.Point, r.At, time.Now())
	if p := s.Registry.Snapshot().Points[r.Point]; p != nil {
		body.Factor, body.Unit = p.Factor, p.Unit
	}
	return body
}

// Execute carries out a command that the client has checked and audited.
func (s platformSite) Execute(ctx context.Context, c wire.Command) (wire.Result, error) {
	switch c.Type {
	case wire.CommandTypeSnapshotTake:
		return s.takeSnapshot(ctx, c)
	case wire.CommandTypeReadingRead:
		return s.readNow(ctx, c)
	case wire.CommandTypeStreamOpen:
		return s.openStream(ctx, c)
	case wire.CommandTypeStreamRenew:
		return s.renewStream(ctx, c)
	case wire.CommandTypeStreamClose:
		return s.closeStream(ctx, c)
	case wire.CommandTypeRecordingQuery:
		return s.queryRecording(ctx, c)
	case wire.CommandTypeRecordingExport:
		return s.exportRecording(ctx, c)
	case wire.CommandTypePTZMove:
		return s.moveCamera(ctx, c)
	default:
		return wire.Result{}, &devices.Problem{
			Code: "command_unknown", ZH: "网关不执行该指令：" + string(c.Type), EN: "this gateway does not carry out " + string(c.Type),
		}
	}
}

func (s platformSite) takeSnapshot(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.SnapshotArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	still, err := s.Cameras.Take(ctx, args.Camera)
	if err != nil {
		return wire.Result{}, err
	}
	body, media := still.JPEG, "image/jpeg"
	if body == nil {
		body, media = still.Frame, "video/mp4"
	}
	sha, err := s.Vault.Put(body)
	if err != nil {
		return wire.Result{}, err
	}
	return given(wire.SnapshotData{
		Camera: args.Camera, CapturedAt: wire.At(still.At), Width: still.Width, Height: still.Height,
		MediaType: media, SHA256: sha, Step: still.Step,
	}, sha)
}

// readNow gives the newest value of each point: the live one, else the last of
// history.
func (s platformSite) readNow(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.ReadingArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	answer := wire.ReadingData{Readings: []wire.Reading{}}
	for _, p := range args.Points {
		r, err := s.Last(ctx, p)
		if err != nil {
			answer.Missing = append(answer.Missing, p)
			continue
		}
		answer.Readings = append(answer.Readings, s.readingBody(r))
	}
	return given(answer)
}

// Last gives the newest reading of a point: the live one, else the last of
// history. It returns ErrNotFound when there is none.
func (b *Box) Last(ctx context.Context, point string) (devices.Reading, error) {
	if r, ok := b.Live.Latest(point); ok {
		return r, nil
	}
	site := b.Registry.Snapshot().SiteOf(point)
	if site == "" {
		return devices.Reading{}, timeseries.NoSample(timeseries.Series{Point: point})
	}
	sample, err := b.History.Last(ctx, timeseries.Series{Site: site, Point: point})
	if err != nil {
		return devices.Reading{}, err
	}
	return devices.Reading{Site: site, Point: point, At: sample.At, Value: sample.Value, Quality: sample.Quality}, nil
}

// Blob opens a file of the vault, or a recording that was taken out, to be sent.
func (s platformSite) Blob(sha string) (dispatch.Blob, error) {
	file, err := s.Vault.Open(sha)
	if errors.Is(err, devices.ErrNotFound) {
		return s.exported(sha)
	}
	if err != nil {
		return dispatch.Blob{}, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return dispatch.Blob{}, fmt.Errorf("open blob %s: %w", sha, err)
	}
	return dispatch.Blob{ReadCloser: file, Size: size, MediaType: s.Evidence.MediaType(sha)}, nil
}
