package edge

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch"
	"offsite/edge/ptz"
	"offsite/edge/recordings"
	"offsite/streams/onvif"
)

// queryRecording tells what was recorded of a camera.
func (s platformSite) queryRecording(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return dispatch.Result{}, err
	}
	line, err := s.Recordings.Timeline(ctx, args.Camera, args.From.Time, args.To.Time)
	if err != nil {
		return dispatch.Result{}, err
	}
	data := dispatch.RecordingData{Camera: args.Camera, Stretches: []dispatch.RecordingStretch{}}
	for _, r := range line.Recorded {
		data.Stretches = append(data.Stretches, dispatch.RecordingStretch{From: dispatch.At(r.From), To: dispatch.At(r.To), Bytes: r.Bytes})
	}
	for _, g := range line.Gaps {
		gap := dispatch.RecordingStretch{From: dispatch.At(g.From), To: dispatch.At(g.To)}
		if g.Why != nil {
			gap.Reason, gap.ReasonZh = g.Why.EN, g.Why.ZH
		}
		data.Gaps = append(data.Gaps, gap)
	}
	return given(data)
}

func (s platformSite) recordingArgs(ctx context.Context, c dispatch.Command) (dispatch.RecordingArgs, error) {
	args, err := arguments[dispatch.RecordingArgs](c)
	if err == nil {
		err = s.cameraEver(ctx, args.Camera)
	}
	return args, err
}

// exportRecording takes a clip out, to be put as a blob. It is sent from the
// recording itself, which is held meanwhile.
func (s platformSite) exportRecording(ctx context.Context, c dispatch.Command) (dispatch.Result, error) {
	args, err := s.recordingArgs(ctx, c)
	if err != nil {
		return dispatch.Result{}, err
	}
	clip, err := s.Recordings.Clip(ctx, args.Camera, args.From.Time, args.To.Time)
	if err != nil {
		return dispatch.Result{}, err
	}
	if most := s.cfg.Platform.Export; clip.Size > int64(most) {
		return dispatch.Result{}, devices.Invalid("to", "clip_too_large", fmt.Sprintf("录像有 %d MiB，超过上限 %d MiB，请分段导出", clip.Size>>20, most>>20),
			fmt.Sprintf("the clip has %d MiB, more than the %d that are allowed; export it in parts", clip.Size>>20, most>>20))
	}
	out, err := s.Recordings.Export(ctx, args.Camera, args.From.Time, args.To.Time, func(ctx context.Context, tx *sql.Tx, e recordings.Export) error {
		return s.Audit.Append(ctx, tx, audit.Entry{
			At: time.Now().UTC(), Who: "platform: " + officer(c), Act: "recording.exported", What: "camera/" + args.Camera, Purpose: c.Purpose, Result: "ok",
			Detail: e.From.Format(time.RFC3339) + " " + e.To.Format(time.RFC3339), After: e.SHA256,
		})
	})
	if err != nil {
		return dispatch.Result{}, err
	}
	return given(dispatch.RecordingExport{
		Camera: args.Camera, From: dispatch.At(out.From), To: dispatch.At(out.To), SHA256: out.SHA256, MediaType: "video/mp4", Bytes: out.Size,
	}, out.SHA256)
}

// exported opens a clip that was taken out. It is sent with what the streams leave
// of the upload.
func (s platformSite) exported(sha string) (dispatch.Blob, error) {
	clip, err := s.Recordings.Exported(context.Background(), sha)
	if err != nil {
		return dispatch.Blob{}, err
	}
	return dispatch.Blob{ReadCloser: clip.Open(), Size: clip.Size, MediaType: "video/mp4", Slow: s.relay.Spare}, nil
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
