package edge

import (
	"context"
	"database/sql"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch"
	"offsite/edge/footage"
	"offsite/edge/ptz"
	"offsite/streams/onvif"
)

// queryRecording tells what there is of a camera, the gateway's own and its recorder's.
func (s platformSite) queryRecording(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return dispatch.Result{}, err
	}
	line, err := s.Footage.Timeline(ctx, args.Camera, args.From.Time, args.To.Time)
	if err != nil {
		return dispatch.Result{}, err
	}
	data := dispatch.RecordingData{Camera: args.Camera, Stretches: []dispatch.RecordingStretch{}, Gaps: gapData(line.Gaps)}
	for _, r := range line.Stretches {
		one := dispatch.RecordingStretch{From: dispatch.At(r.From), To: dispatch.At(r.To), Source: dispatch.RecordingSource(r.Source), Bytes: r.Bytes}
		one.Reason, one.ReasonZh = inWords(r.Why)
		data.Stretches = append(data.Stretches, one)
	}
	if told := line.Recorder; told != nil {
		data.Recorder = dispatch.RecorderData{Host: told.Host, Known: told.Known, ClockOffsetMS: inMilliseconds(told.Offset)}
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

func gapData(gaps []footage.Gap) []dispatch.RecordingGap {
	list := make([]dispatch.RecordingGap, 0, len(gaps))
	for _, g := range gaps {
		one := dispatch.RecordingGap{From: dispatch.At(g.From), To: dispatch.At(g.To)}
		one.Reason, one.ReasonZh = inWords(g.Why)
		one.RecorderReason, one.RecorderReasonZh = inWords(g.Recorder)
		list = append(list, one)
	}
	return list
}

func (s platformSite) recordingArgs(ctx context.Context, c dispatch.Command) (dispatch.RecordingArgs, error) {
	args, err := arguments[dispatch.RecordingArgs](c)
	if err == nil {
		err = s.cameraEver(ctx, args.Camera)
	}
	return args, err
}

// exportRecording takes an interval out, to be put as blobs: a manifest and its parts. Those are sent from
// the recordings themselves, which are held meanwhile.
func (s platformSite) exportRecording(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return dispatch.Result{}, err
	}
	order := footage.Order{Camera: args.Camera, From: args.From.Time, To: args.To.Time, Source: footage.Source(args.Source), Most: int64(s.cfg.Platform.Export)}
	if order.Source != "" && order.Source != footage.Own && order.Source != footage.Recorder {
		return dispatch.Result{}, devices.Invalid("source", "not_one_of", "来源须为 own 或 recorder", "choose own or recorder")
	}
	out, err := s.Footage.Export(ctx, order, func(ctx context.Context, tx *sql.Tx, e *footage.Export) error {
		return s.Audit.Append(ctx, tx, audit.Entry{
			At: time.Now().UTC(), Who: "platform: " + officer(c), Act: "recording.exported", What: "camera/" + args.Camera, Purpose: c.Purpose, Result: "ok",
			Detail: e.Detail(), After: e.SHA256,
		})
	})
	if err != nil {
		return dispatch.Result{}, err
	}
	data := dispatch.RecordingExport{
		Camera: out.Camera, From: dispatch.At(out.Asked.From), To: dispatch.At(out.Asked.To), Bytes: out.Bytes, Manifest: out.SHA256, Parts: []dispatch.RecordingPart{}, Gaps: gapData(out.Missing),
	}
	blobs := []dispatch.SHA256{out.SHA256}
	for _, p := range out.Parts {
		data.Parts = append(data.Parts, partData(p))
		blobs = append(blobs, p.SHA256)
	}
	return given(data, blobs...)
}

func partData(p footage.Piece) dispatch.RecordingPart {
	part := dispatch.RecordingPart{
		Source: dispatch.RecordingSource(p.Source), From: dispatch.At(p.From), To: dispatch.At(p.To), SHA256: p.SHA256, MediaType: p.MediaType, Bytes: p.Bytes, Codec: p.Codec,
		Host: p.Clock.Host, ClockOffsetMS: p.Clock.AheadMS, Times: dispatch.RecordingPartTimes(p.Clock.Times),
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
func (s platformSite) moveCamera(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := arguments[dispatch.PTZArgs](c)
	if err != nil {
		return dispatch.Result{}, err
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
		return dispatch.Result{}, err
	}
	return given(dispatch.PTZData{Camera: args.Camera})
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
