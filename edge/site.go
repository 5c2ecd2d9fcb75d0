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
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/timeseries"
)

// platformSite is the site as the platform's client sees it.
type platformSite struct{ *Box }

var _ dispatch.Site = platformSite{}

// Status gives the heartbeat, and what notes that its losses are told.
func (s platformSite) Status() (h dispatch.Heartbeat, taken func(context.Context) error) {
	h = dispatch.Heartbeat{State: dispatch.HeartbeatStateOK, StartedAt: dispatch.At(s.started)}
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
		h.State = dispatch.HeartbeatStateDegraded
	}
	for _, n := range s.notices.List() {
		h.Notices = append(h.Notices, dispatch.Notice{Code: n.Problem.Code, Since: dispatch.At(n.Since), Why: n.Problem.Bilingual()})
		if n.Name == notice.Storage || n.Name == notice.Judging {
			h.State = dispatch.HeartbeatStateFault
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
		h.Losses = append(h.Losses, dispatch.Loss{
			ID: l.ID, What: l.Kind + " " + l.Subject, Count: l.Count, From: dispatch.At(l.From), To: dispatch.At(l.To), Open: l.Open, Why: l.Why.Bilingual(),
		})
	}
	return h, func(ctx context.Context) error { return s.Ledger.Told(ctx, losses, time.Now()) }
}

// What one heartbeat bears at most of maintenance and of stale points.
const (
	maintenanceTold = 1000
	staleTold       = 5000
)

func (s platformSite) maintained(registered *registry.Snapshot) []dispatch.Maintenance {
	var list []dispatch.Maintenance
	for _, m := range s.upkeep.Holding(time.Now()) {
		kind, id, _ := strings.Cut(m.Subject, "/")
		told := dispatch.Maintenance{
			Kind: dispatch.MaintenanceKind(kind), ID: id, Reason: m.Reason, From: dispatch.At(m.From), Until: dispatch.At(m.To),
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

func bufferOf(d outbox.Depth) dispatch.Buffer {
	b := dispatch.Buffer{Waiting: d.Waiting, Dead: d.Dead}
	if !d.Oldest.IsZero() {
		b.Oldest = dispatch.At(d.Oldest)
	}
	return b
}

// Watch wakes after changes of the registry.
func (s platformSite) Watch() (wake <-chan struct{}, stop func()) { return s.Registry.Watch() }

// Changes gives what was registered, changed and retired after since.
func (s platformSite) Changes(ctx context.Context, since int64, most int) ([]dispatch.Resource, error) {
	changes, err := s.Registry.Changes(ctx, since, most)
	if err != nil {
		return nil, err
	}
	list := make([]dispatch.Resource, 0, len(changes))
	for _, c := range changes {
		r := dispatch.Resource{Op: dispatch.ResourceOp(c.Op), Kind: dispatch.ResourceKind(c.Kind), ID: c.ID, Revision: c.Revision}
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
func (s platformSite) Directory(context.Context) (revision int64, all []dispatch.Resource, err error) {
	snapshot := s.Registry.Snapshot()
	for _, kind := range resourceKinds {
		for _, thing := range snapshot.List(kind) {
			data, err := dispatch.DataOf(thing)
			if err != nil {
				return 0, nil, err
			}
			all = append(all, dispatch.Resource{
				Op: dispatch.ResourceOpA, Kind: dispatch.ResourceKind(kind), ID: thing.Key(), Revision: snapshot.Revision, Data: data,
			})
		}
	}
	return snapshot.Revision, all, nil
}

// Latest gives the newest value of each point; nil means every point heard.
func (s platformSite) Latest(points []string) []dispatch.Reading {
	var list []dispatch.Reading
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

func (s platformSite) readingBody(r devices.Reading) dispatch.Reading {
	body := dispatch.Reading{
		Site: r.Site, Point: r.Point, Value: r.Value, At: dispatch.At(r.At), Mark: r.Mark, Quality: dispatch.ReadingQuality(r.Quality.String()),
	}
	body.Stale = s.health.Stale(r.Point, r.At, time.Now())
	if p := s.Registry.Snapshot().Points[r.Point]; p != nil {
		body.Factor, body.Unit = p.Factor, p.Unit
	}
	return body
}

// Execute carries out a command that the client has checked and audited.
func (s platformSite) Execute(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	switch c.Type {
	case dispatch.CommandTypeSnapshotTake:
		return s.takeSnapshot(ctx, c)
	case dispatch.CommandTypeReadingRead:
		return s.readNow(ctx, c)
	case dispatch.CommandTypeStreamOpen:
		return s.openStream(ctx, c)
	case dispatch.CommandTypeStreamRenew:
		return s.renewStream(ctx, c)
	case dispatch.CommandTypeStreamClose:
		return s.closeStream(ctx, c)
	case dispatch.CommandTypeRecordingQuery:
		return s.queryRecording(ctx, c)
	case dispatch.CommandTypeRecordingExport:
		return s.exportRecording(ctx, c)
	case dispatch.CommandTypePTZMove:
		return s.moveCamera(ctx, c)
	default:
		return dispatch.Result{}, &devices.Problem{
			Code: "command_unknown", ZH: "网关不执行该指令：" + string(c.Type), EN: "this gateway does not carry out " + string(c.Type),
		}
	}
}

func (s platformSite) takeSnapshot(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := arguments[dispatch.SnapshotArgs](c)
	if err != nil {
		return dispatch.Result{}, err
	}
	still, err := s.Cameras.Take(ctx, args.Camera)
	if err != nil {
		return dispatch.Result{}, err
	}
	body, media := still.JPEG, "image/jpeg"
	if body == nil {
		body, media = still.Frame, "video/mp4"
	}
	sha, err := s.Vault.Put(body)
	if err != nil {
		return dispatch.Result{}, err
	}
	return given(dispatch.SnapshotData{
		Camera: args.Camera, CapturedAt: dispatch.At(still.At), Width: still.Width, Height: still.Height,
		MediaType: media, SHA256: sha, Step: still.Step,
	}, sha)
}

// readNow gives the newest value of each point: the live one, else the last of
// history.
func (s platformSite) readNow(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := arguments[dispatch.ReadingArgs](c)
	if err != nil {
		return dispatch.Result{}, err
	}
	answer := dispatch.ReadingData{Readings: []dispatch.Reading{}}
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
