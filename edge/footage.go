package edge

import (
	"context"
	"database/sql"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
	"offsite/edge/footage"
	"offsite/edge/ptz"
	"offsite/streams/onvif"
)

// queryRecording tells what there is of a camera, the gateway's own and its recorder's.
func (s platformSite) queryRecording(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return wire.Result{}, err
	}
	line, err := s.Footage.Timeline(ctx, args.Camera, args.From.Time, args.To.Time)
	if err != nil {
		return wire.Result{}, err
	}
	data := wire.RecordingData{Camera: args.Camera, Stretches: []wire.RecordingStretch{}, Gaps: gapData(line.Gaps)}
	for _, r := range line.Stretches {
		one := wire.RecordingStretch{From: wire.At(r.From), To: wire.At(r.To), Source: wire.RecordingSource(r.Source), Bytes: r.Bytes}
		one.Reason, one.ReasonZh = inWords(r.Why)
		data.Stretches = append(data.Stretches, one)
	}
	if told := line.Recorder; told != nil {
		data.Recorder = wire.RecorderData{Host: told.Host, Known: told.Known, ClockOffsetMS: inMilliseconds(told.Offset), ShiftMS: told.Shift.Milliseconds()}
		data.Recorder.Reason, data.Recorder.ReasonZh = inWords(told.Why)
	}
	return given(data)
}

// inWords gives a reason, or nothing.
func inWords(p *devices.Problem) (en, zh string) {
	if p == nil {
		return "", ""
	}
	return p.EN, p.ZH
}

func inMilliseconds(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	ms := d.Milliseconds()
	return &ms
}

func gapData(gaps []footage.Gap) []wire.RecordingGap {
	list := make([]wire.RecordingGap, 0, len(gaps))
	for _, g := range gaps {
		one := wire.RecordingGap{From: wire.At(g.From), To: wire.At(g.To)}
		one.Reason, one.ReasonZh = inWords(g.Why)
		one.RecorderReason, one.RecorderReasonZh = inWords(g.Recorder)
		list = append(list, one)
	}
	return list
}

func (s platformSite) recordingArgs(ctx context.Context, c wire.Command) (wire.RecordingArgs, error) {
	args, err := arguments[wire.RecordingArgs](c)
	if err == nil {
		err = s.cameraEver(ctx, args.Camera)
	}
	return args, err
}

// exportRecording takes an interval out, to be put as blobs: a manifest and its parts. Those are sent from
// the recordings themselves, which are held meanwhile.
func (s platformSite) exportRecording(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return wire.Result{}, err
	}
	order := footage.Order{Camera: args.Camera, From: args.From.Time, To: args.To.Time, Source: footage.Source(args.Source), Most: int64(s.cfg.Platform.Export)}
	if order.Source != "" && order.Source != footage.Own && order.Source != footage.Recorder {
		return wire.Result{}, devices.Invalid("source", "not_one_of", "来源须为 own 或 recorder", "choose own or recorder")
	}
	out, err := s.Footage.Export(ctx, order, func(ctx context.Context, tx *sql.Tx, e *footage.Export) error {
		return s.Audit.Append(ctx, tx, audit.Entry{
			At: time.Now().UTC(), Who: "platform: " + officer(c), Act: "recording.exported", What: "camera/" + args.Camera, Purpose: c.Purpose, Result: "ok",
			Detail: e.Detail(), After: e.SHA256,
		})
	})
	if err != nil {
		return wire.Result{}, err
	}
	data := wire.RecordingExport{
		Camera: out.Camera, From: wire.At(out.Asked.From), To: wire.At(out.Asked.To), Bytes: out.Bytes, Manifest: out.SHA256, Parts: []wire.RecordingPart{}, Gaps: gapData(out.Missing),
	}
	blobs := []wire.SHA256{out.SHA256}
	for _, p := range out.Parts {
		data.Parts = append(data.Parts, partData(p))
		blobs = append(blobs, p.SHA256)
	}
	return given(data, blobs...)
}

func partData(p footage.Piece) wire.RecordingPart {
	part := wire.RecordingPart{
		Source: wire.RecordingSource(p.Source), From: wire.At(p.From), To: wire.At(p.To), SHA256: p.SHA256, MediaType: p.MediaType, Bytes: p.Bytes, Codec: p.Codec,
		Host: p.Clock.Host, ClockOffsetMS: p.Clock.AheadMS, ShiftMS: p.Clock.ShiftMS, Times: wire.RecordingPartTimes(p.Clock.Times),
	}
	if p.Cut != nil {
		part.Reason, part.ReasonZh = p.Cut.EN, p.Cut.ZH
	}
	return part
}

// exported opens a file that was taken out. It is sent with what the streams leave
// of the upload.
func (s platformSite) exported(sha string) (dispatch.Blob, error) {
	b, err := s.Footage.Blob(context.Background(), sha)
	if err != nil {
		return dispatch.Blob{}, err
	}
	return dispatch.Blob{ReadCloser: b.ReadCloser, Size: b.Size, MediaType: b.MediaType, Slow: s.relay.Spare}, nil
}

// steering is what moves cameras; see edge/ptz.
type steering interface {
	Move(ctx context.Context, camera string, who ptz.Mover, v onvif.Vector) error
	Stop(ctx context.Context, camera string) error
	GoTo(ctx context.Context, camera string, who ptz.Mover, preset string) error
}

// How long a command turns a camera.
const (
	turnsFor   = time.Second
	turnsMost  = 10 * time.Second
	turnsAgain = time.Second // that a movement is renewed
)

// moveCamera turns a camera to a preset, or for a while.
func (s platformSite) moveCamera(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.PTZArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	who := ptz.Mover{ID: "platform:" + c.Officer.ID, Name: c.Officer.Name}
	v := onvif.Vector{Pan: args.Pan, Tilt: args.Tilt, Zoom: args.Zoom}
	switch {
	case args.Preset != "":
		err = s.PTZ.GoTo(ctx, args.Camera, who, args.Preset)
	case v == onvif.Vector{}:
		err = s.PTZ.Stop(ctx, args.Camera)
	default:
		lasts := turnsFor
		if args.Seconds > 0 {
			lasts = min(time.Duration(args.Seconds*float64(time.Second)), turnsMost)
		}
		err = turn(ctx, s.PTZ, args.Camera, who, v, lasts)
	}
	if err != nil {
		return wire.Result{}, err
	}
	return given(wire.PTZData{Camera: args.Camera})
}

// turn moves a camera for a while and stops it.
func turn(ctx context.Context, by steering, camera string, who ptz.Mover, v onvif.Vector, lasts time.Duration) error {
	for left := lasts; left > 0; left -= turnsAgain {
		if err := by.Move(ctx, camera, who, v); err != nil {
			return err
		}
		pause := time.NewTimer(min(left, turnsAgain))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx) // the camera stops by itself: its movement is not renewed
		}
	}
	return by.Stop(ctx, camera)
}
