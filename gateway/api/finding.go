package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/edge/audit"
	"offsite/edge/cameras"
	"offsite/streams/onvif"
)

// Bounds of looking for cameras.
const (
	longestSearch = 10 * time.Second
	inspectTime   = 45 * time.Second // a recorder of 64 channels is asked 200 times
	camerasAtOnce = 128
)

// Finder looks for cameras that could be registered, as edge/cameras says.
type Finder interface {
	Find(ctx context.Context, s onvif.Search) ([]onvif.Found, error)
	Inspect(ctx context.Context, camera devices.Camera) (*cameras.Inspection, error)
}

// discoverCameras asks who is there.
func (a *API) discoverCameras(c echo.Context) error {
	var body CameraSearch
	if err := decode(c, &body); err != nil {
		return err
	}
	if d := body.For.D(); d != 0 && (d < time.Second || d > longestSearch) {
		return devices.Invalid("for", "out_of_range", "搜索时长须在 1s 与 10s 之间", "look for 1s to 10s")
	}
	ctx, done, err := a.engage(c, longestSearch+probeTime)
	if err != nil {
		return err
	}
	defer done()
	if err := a.Audit.Record(ctx, by(c, audit.Entry{Act: "camera.discover", What: strings.Join(body.Interfaces, " ")})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	found, err := a.Finder.Find(ctx, onvif.Search{Interfaces: body.Interfaces, For: body.For.D()})
	if err != nil {
		return err
	}
	who, s := Who(c), a.Registry.Snapshot()
	answer := CameraFinds{Items: make([]CameraFound, len(found))}
	for i, f := range found {
		answer.Items[i] = CameraFound{
			URL: f.URL, From: f.From.String(), Name: f.Name, Hardware: f.Hardware, Location: f.Location, UUID: f.UUID, Cameras: registeredAt(who, s, f.URL),
		}
	}
	return c.JSON(http.StatusOK, answer)
}

// registeredAt gives the ids of the cameras at the host of an address that may be
// shown.
func registeredAt(who Principal, s *registry.Snapshot, address string) []string {
	ids := []string{}
	for _, t := range s.List(devices.KindCamera) {
		if cam := t.(*devices.Camera); sees(who, s, cam) && hostOf(cam.URL) == hostOf(address) {
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
	var body CameraProbeRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	who, s, cam := Who(c), a.Registry.Snapshot(), body.Camera
	if p := mayChange(who, s, &cam, true); p != nil {
		return p
	}
	if saved := s.Cameras[cam.ID]; saved != nil && sees(who, s, saved) && cam.Password.Kept() && saved.ONVIF != "" && cam.ONVIF == saved.ONVIF {
		cam.Password = saved.Password
	}
	if cam.Password.Kept() {
		return typeAgain("camera.password")
	}
	ctx, done, err := a.engage(c, inspectTime)
	if err != nil {
		return err
	}
	defer done()
	if err := a.Audit.Record(ctx, by(c, audit.Entry{Act: "camera.inspect", What: "camera/" + cam.ID + " " + cam.ONVIF})); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	seen, err := a.Finder.Inspect(ctx, cam)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, CameraInspection{
		Manufacturer: seen.Manufacturer, Model: seen.Model, Firmware: seen.Firmware, Serial: seen.Serial,
		ClockOffset: devices.Duration(seen.ClockOffset.Round(time.Second)), Ptz: seen.PTZ, Events: seen.Events, Replay: seen.Replay,
		Channels: append([]onvif.Channel{}, seen.Channels...),
	})
}

// adopted are the cameras of one request as they are registered.
type adopted struct{ CameraAdoptResult }

func (r *adopted) add(t devices.Thing) { r.Cameras = append(r.Cameras, *t.(*devices.Camera)) }

func (r *adopted) field(_ devices.Thing, name string) string {
	return fmt.Sprintf("cameras[%d].%s", len(r.Cameras), name)
}

// adoptCameras registers all or none.
func (a *API) adoptCameras(c echo.Context) error {
	var body CameraAdoptRequest
	if err := decode(c, &body); err != nil {
		return err
	}
	if n := len(body.Cameras); n == 0 || n > camerasAtOnce {
		return devices.Invalid("cameras", "out_of_range", fmt.Sprintf("请选择 1 至 %d 台摄像机", camerasAtOnce), fmt.Sprintf("choose 1 to %d cameras", camerasAtOnce))
	}
	var made *adopted
	ctx := c.Request().Context()
	err := a.Registry.Update(ctx, func(e *registry.Edit) error {
		made = &adopted{CameraAdoptResult{Cameras: []Camera{}}} // afresh: the edit may run again
		w := registering{api: a, c: c, ctx: ctx, edit: e, before: e.Snapshot(), result: made}
		for i := range body.Cameras {
			cam := body.Cameras[i]
			if err := w.named(devices.KindCamera, &cam.ID, cam.Name); err != nil {
				return err
			}
			if err := w.thing(&cam); err != nil {
				return err
			}
			if len(w.ps) > 0 {
				break // the place in the list would no longer fit
			}
		}
		return w.ps.Err()
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, made.CameraAdoptResult)
}
