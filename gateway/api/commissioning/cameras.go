package commissioning

import (
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
	"offsite/streams/onvif"
)

// Bounds of looking for cameras.
const (
	longestSearch = 10 * time.Second
	inspectTime   = 45 * time.Second // a recorder of 64 channels is asked 200 times
)

// discoverCameras asks who is there.
func (a *API) discoverCameras(c echo.Context) error {
	var body contract.CameraSearch
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if d := body.For.D(); d != 0 && (d < time.Second || d > longestSearch) {
		return devices.Invalid("for", "out_of_range", "搜索时长须在 1s 与 10s 之间", "look for 1s to 10s")
	}
	ctx, done, err := a.engage(c, longestSearch+probeTime, audit.Entry{Act: "camera.discover", What: strings.Join(body.Interfaces, " ")})
	if err != nil {
		return err
	}
	defer done()
	found, err := a.Finder.Find(ctx, onvif.Search{Interfaces: body.Interfaces, For: body.For.D()})
	if err != nil {
		return err
	}
	who, s := request.Who(c), a.desk.Registry.Snapshot()
	answer := contract.CameraFinds{Items: make([]contract.CameraFound, len(found))}
	for i, f := range found {
		answer.Items[i] = contract.CameraFound{
			URL: f.URL, From: f.From.String(), Name: f.Name, Hardware: f.Hardware, Location: f.Location, UUID: f.UUID, Cameras: registeredAt(who, s, f.URL),
		}
	}
	return c.JSON(http.StatusOK, answer)
}

// registeredAt gives the ids of the cameras at the host of an address that may be
// shown.
func registeredAt(who request.Principal, s *registry.Snapshot, address string) []string {
	ids := []string{}
	for _, t := range s.List(devices.KindCamera) {
		if cam := t.(*devices.Camera); request.Sees(who, s, cam) && hostOf(cam.URL) == hostOf(address) {
			ids = append(ids, cam.ID)
		}
	}
	return ids
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// inspectCamera asks a device what it is. The trail has the attempt before it is
// made.
func (a *API) inspectCamera(c echo.Context) error {
	var body contract.CameraProbeRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	cam, err := a.cameraForm(request.Who(c), body.Camera, sameONVIF)
	if err != nil {
		return err
	}
	ctx, done, err := a.engage(c, inspectTime, audit.Entry{Act: "camera.inspect", What: "camera/" + cam.ID + " " + cam.ONVIF})
	if err != nil {
		return err
	}
	defer done()
	seen, err := a.Finder.Inspect(ctx, cam)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, contract.CameraInspection{
		Manufacturer: seen.Manufacturer, Model: seen.Model, Firmware: seen.Firmware, Serial: seen.Serial,
		ClockOffset: devices.Duration(seen.ClockOffset.Round(time.Second)), Ptz: seen.PTZ, Events: seen.Events, Replay: seen.Replay,
		Channels: append([]onvif.Channel{}, seen.Channels...),
	})
}

// probeCamera tries the form of a camera. The trail has the attempt before it is
// made.
func (a *API) probeCamera(c echo.Context) error {
	var body contract.CameraProbeRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	cam, err := a.cameraForm(request.Who(c), body.Camera, sameAddresses)
	if err != nil {
		return err
	}
	ctx, done, err := a.engage(c, probeTime, audit.Entry{Act: "camera.probe", What: "camera/" + cam.ID + " " + cam.URL, After: audit.Hash(&cam)})
	if err != nil {
		return err
	}
	defer done()
	seen, err := a.Lookout.Probe(ctx, cam)
	if err != nil {
		return err
	}
	report := contract.CameraProbeReport{Steps: append([]devices.Step{}, seen.Steps...)}
	if seen.Video != nil {
		report.Video = *seen.Video
	}
	if still := seen.Still; still != nil {
		report.Still = contract.ProbeStill{Jpeg: still.JPEG, Width: still.Width, Height: still.Height, At: still.At.UTC()}
	}
	return c.JSON(http.StatusOK, report)
}

// cameraForm gives the camera of a form as it would be once saved. A password that is
// not sent again is the registered camera's, if it would go to the same place.
func (a *API) cameraForm(who request.Principal, cam devices.Camera, same func(form, saved *devices.Camera) bool) (devices.Camera, error) {
	s := a.desk.Registry.Snapshot()
	if p := request.MayChange(who, s, &cam, true); p != nil {
		return cam, p
	}
	if saved := s.Cameras[cam.ID]; saved != nil && request.Sees(who, s, saved) && cam.Password.Kept() && same(&cam, saved) {
		cam.Password = saved.Password
	}
	if cam.Password.Kept() {
		return cam, typeAgain("camera.password")
	}
	return cam, nil
}

// sameAddresses says that a camera's password would go where it is meant for.
func sameAddresses(form, saved *devices.Camera) bool {
	return form.URL == saved.URL && (form.StillURL == "" || form.StillURL == saved.StillURL)
}

// sameONVIF says the same of a camera that is asked what it is.
func sameONVIF(form, saved *devices.Camera) bool {
	return saved.ONVIF != "" && form.ONVIF == saved.ONVIF
}
