package senml

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

func TestPointsAreBoundByName(t *testing.T) {
	bind := func(point, name string) devices.Bound {
		return devices.Bound{Site: "site-1", Point: devices.Point{ID: point}, Binding: devices.Binding{
			ID: "b", Point: point, Device: "dev-1", Scale: 2, Topic: &devices.Topic{Topic: "senml/{device}/#", Format: devices.FormatSenML, Path: name},
		}}
	}
	in, err := payload.OpenInbox(&devices.Device{ID: "dev-1"}, []devices.Bound{bind("out.t", "dev:temp"), bind("out.h", "dev:hum"), bind("out.d", "dev:door")},
		payload.Formats{devices.FormatSenML: New})
	if err != nil {
		t.Fatal(err)
	}
	open := func(pack string) (devices.Delivery, []devices.Report) {
		return in.Open(payload.Message{Topic: "senml/dev-1/x", Payload: []byte(pack), Received: receipt})
	}
	d, reports := open(`[{"bn":"dev:","bt":1700000000,"n":"temp","t":1,"v":2},{"n":"temp","v":1},{"n":"door","vb":true}]`)
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	want := []devices.Reading{
		{Site: "site-1", Point: "out.t", Value: 2, At: at(1700000000)},
		{Site: "site-1", Point: "out.t", Value: 4, At: at(1700000001)},
		{Site: "site-1", Point: "out.d", Value: 2, At: at(1700000000)},
	}
	if diff := cmp.Diff(want, d.Readings); diff != "" || d.Letter != nil || reports != nil {
		t.Errorf("letter %+v, reports %+v, readings (-want +got):\n%s", d.Letter, reports, diff)
	}
	if d, _ := open(`[{"n":"dev:other","v":1}]`); d.Letter == nil || d.Letter.Problem.Code != "name_missing" {
		t.Errorf("letter %+v", d.Letter)
	}
	if d, reports := open(`[{"n":"dev:temp","v":1},{"n":"dev:hum","vs":"dry"}]`); d.Letter == nil || d.Letter.Problem.Code != "not_a_number" || len(d.Readings) != 1 || len(reports) != 1 || !d.Readings[0].Stamped {
		t.Errorf("delivery %+v, reports %+v", d, reports)
	}
	if d, _ := open(`{`); d.Letter == nil || d.Letter.Problem.Code != "bad_json" {
		t.Errorf("letter %+v", d.Letter)
	}
}
