package gateway

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/edge"
	"offsite/edge/cameras"
	"offsite/edge/ptz"
	"offsite/edge/scenes"
	"offsite/gateway/api/contract"
	"offsite/streams"
	"offsite/streams/whep"
)

type siteCameras struct{ *edge.Box }

func (s siteCameras) Cameras() []contract.CameraStatus {
	status := s.Box.Cameras.Status()
	list := make([]contract.CameraStatus, 0, len(status))
	for i := range status {
		list = append(list, cameraStatus(s.Box, &status[i]))
	}
	return list
}

func cameraStatus(b *edge.Box, c *cameras.Status) contract.CameraStatus {
	st := contract.CameraStatus{Camera: c.Camera, Connected: c.Connected, Since: c.Since, Problem: contract.ProblemOf(c.Problem), Viewers: c.Readers}
	if cam := b.Registry.Snapshot().Cameras[c.Camera]; cam != nil {
		st.Site = cam.Site
	}
	st.Idle, st.Halted = c.Idle, c.Halted
	for _, w := range c.Warnings {
		st.Warnings = append(st.Warnings, *contract.ProblemOf(w))
	}
	if p := b.Alerts.Drift(c.Camera); p != nil {
		st.Warnings = append(st.Warnings, *contract.ProblemOf(p))
	}
	if c.Clock.Known {
		st.ClockOffset = devices.Duration(c.Clock.Offset)
	}
	if c.Params != nil {
		st.Codec, st.Width, st.Height = string(c.Params.Codec), c.Params.Width, c.Params.Height
	}
	return st
}

func (s siteCameras) Still(ctx context.Context, camera string, width int) (streams.Still, error) {
	return s.Box.Cameras.TakeSized(ctx, camera, width)
}

func (s siteCameras) View(ctx context.Context, camera string, profile devices.Profile, conn *websocket.Conn) error {
	return s.Box.Cameras.View(ctx, camera, profile, conn)
}

func (s siteCameras) HLS(w http.ResponseWriter, r *http.Request, camera string, profile devices.Profile, name string) error {
	return s.Box.Cameras.HLS(w, r, camera, profile, name)
}

func (s siteCameras) WHEP(ctx context.Context, camera string, profile devices.Profile, v whep.Viewing) (whep.Answer, error) {
	return s.Box.Cameras.WHEP(ctx, camera, profile, v)
}

func (s siteCameras) TrickleWHEP(session, fragment string) error {
	return s.WebRTC.Trickle(session, fragment)
}

func (s siteCameras) CloseWHEP(session string) error { return s.WebRTC.Close(session) }

func (s siteCameras) Retry(camera string) error { return s.Box.Cameras.Retry(camera) }

type siteReferences struct{ *edge.Box }

func (s siteReferences) References(ctx context.Context, camera string) ([]scenes.Reference, error) {
	return s.Box.References.Of(ctx, camera)
}

func (s siteReferences) ReferenceStill(ctx context.Context, camera, place string, night bool) (scenes.Reference, error) {
	return s.Box.References.Still(ctx, camera, place, night)
}

func (s siteReferences) Stance(camera string) ptz.Stance { return s.PTZ.Stance(camera) }
