package registration

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"offsite/devices"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// mostNewCameras is how many cameras one request makes.
const mostNewCameras = 128

// adopted are the cameras of one request as they are registered.
type adopted struct{ contract.CameraAdoptResult }

func (r *adopted) add(t devices.Thing) { r.Cameras = append(r.Cameras, *t.(*devices.Camera)) }

func (r *adopted) field(_ devices.Thing, name string) string {
	return fmt.Sprintf("cameras[%d].%s", len(r.Cameras), name)
}

// adoptCameras registers all or none.
func (a *API) adoptCameras(c echo.Context) error {
	var body contract.CameraAdoptRequest
	if err := request.Decode(c, &body); err != nil {
		return err
	}
	if n := len(body.Cameras); n == 0 || n > mostNewCameras {
		return devices.Invalid("cameras", "out_of_range", fmt.Sprintf("请选择 1 至 %d 台摄像机", mostNewCameras), fmt.Sprintf("choose 1 to %d cameras", mostNewCameras))
	}
	var made *adopted
	err := a.register(c, func(w *registering) error {
		made = &adopted{contract.CameraAdoptResult{Cameras: []contract.Camera{}}}
		w.result = made
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
		return nil
	})
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, made.CameraAdoptResult)
}
