package gateway_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

// finder looks for real Modbus units, and hears what it is given.
type finder struct{ *modbus.Pool }

func discovery() finder { return finder{modbus.New(modbus.Config{})} }

func (finder) Listen(_ context.Context, dev devices.Device, _ mqtt.ListenConfig) (*payload.Topics, error) {
	if strings.Contains(dev.Endpoint, "silent") {
		return nil, &devices.Problem{Kind: devices.ErrUnavailable, Code: "no_answer", ZH: "无应答", EN: "no answer"}
	}
	topics := &payload.Topics{Formats: payload.Formats{devices.FormatSenML: senml.New}}
	for _, m := range [][2]string{
		{"homeassistant/sensor/t1_temperature/config", `{"name":"Temperature","device":{"name":"Hall"},"stat_t":"tele/t1/SENSOR","val_tpl":"{{ value_json.AM2301.Temperature }}","unit_of_meas":"°C","dev_cla":"temperature","avty_t":"tele/t1/LWT","pl_avail":"Online","pl_not_avail":"Offline"}`},
		{"homeassistant/sensor/t1_sum/config", `{"name":"Sum","device":{"name":"Hall"},"stat_t":"tele/t1/SENSOR","val_tpl":"{{ value_json.a + value_json.b }}","avty_t":"tele/t1/LWT","pl_avail":"Online","pl_not_avail":"Offline"}`},
		{"tele/t1/LWT", "Online"},
		{"tele/t1/SENSOR", `{"Time":"2026-03-01T08:00:00","AM2301":{"Temperature":21.5,"Humidity":48}}`},
		{"sensors/ow", `[{"bn":"urn:dev:ow:1:","n":"temperature","u":"Cel","v":23.5}]`},
	} {
		topics.Add(payload.Message{Topic: m[0], Payload: []byte(m[1]), Received: time.Now()})
	}
	return topics, nil
}

func (finder) Hear(_ context.Context, device string, _ time.Duration) (list []payload.Heard) {
	for _, id := range []string{"dust-a", "dust-b"} {
		if device == "" || device == id {
			topic, body := "offsite/"+id+"/pm10", []byte("52")
			list = append(list, payload.Heard{Device: id, Topic: topic, Count: 1, At: day, Sample: "52", Offers: payload.Offers(topic, body, nil)})
		}
	}
	return list
}

// Loggers has a logger at each site, the second refused, and one of nobody.
func (finder) Loggers(device string) (list []hj212.Heard, _ error) {
	offer := func(code, kind, field string) hj212.Offer {
		return hj212.Offer{Place: devices.FactorPlace{Code: code, Kind: kind, Field: field}, Value: 24.5}
	}
	for _, l := range []hj212.Heard{
		{MN: "M1", Device: "logger-a", At: day, Sample: "##", Offers: []hj212.Offer{offer("w01018", "realtime", "Rtd"), offer("w21003", "minute", "Avg"), offer("x9", "realtime", "Rtd")}},
		{MN: "M2", Device: "logger-b", At: day, Count: 3, Problem: devices.Invalid("password", "bad_password", "不对", "wrong")},
		{MN: "M3", At: day, Count: 1, Problem: devices.Invalid("mn", "unknown_mn", "没有", "unknown")},
	} {
		if device == "" || device == l.Device {
			list = append(list, l)
		}
	}
	return list, nil
}

func TestLoggersAreHeardAndTheirFactorsAdopted(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer, limited := bearer(b.token(accounts.FieldEngineer)), bearer(b.token(accounts.FieldEngineer, "b"))
	for _, site := range []string{"a", "b"} {
		logger := map[string]any{"id": "logger-" + site, "site": site, "name": "Logger", "driver": "hj212", "password": "123456", "hj212": map[string]any{"mn": "MN-" + site}}
		b.call("POST", "/api/v1/devices", engineer, logger).want(201)
	}
	said := func(who map[string]string, id string) (list []string, first contract.Source) {
		var report contract.ListenReport
		b.call("POST", "/api/v1/devices:listen", who, map[string]any{"device": map[string]any{"driver": "hj212", "id": id}}).want(200).into(&report)
		for _, s := range report.Sources {
			text := fmt.Sprint(s.Kind, " ", s.Name, " ", s.Device)
			if s.Problem != nil {
				text += fmt.Sprint(" ", s.Problem.Code, " ", s.Count)
			}
			for _, o := range s.Offers {
				text += fmt.Sprint(", ", o.Name, " ", o.En, " ", o.Unit, " ", *o.Value)
			}
			list = append(list, text)
		}
		return list, report.Sources[0]
	}
	got, first := said(engineer, "")
	want := []string{"logger M1 logger-a, w01018-Rtd COD mg/L 24.5, w21003-Avg Ammonia nitrogen mg/L 24.5, x9-Rtd x9  24.5", "logger M2 logger-b bad_password 3", "logger M3  unknown_mn 1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, _ := said(limited, ""); !slices.Equal(got, want[1:2]) {
		t.Errorf("who sees one site hears of %q", got)
	}
	var points []any
	for _, o := range first.Offers[:2] {
		points = append(points, map[string]any{"name": o.En, "factor": o.Factor, "unit": o.Unit, "digits": o.Digits, "place": o.Place, "device": first.Device})
	}
	var made contract.AdoptResult
	b.call("POST", "/api/v1/devices:adopt", engineer, map[string]any{"outlet": "gate-a", "points": points}).want(201).into(&made)
	var places []devices.FactorPlace
	for _, x := range made.Bindings {
		places = append(places, *x.Factor)
	}
	if diff := cmp.Diff([]devices.FactorPlace{{Code: "w01018", Kind: "realtime", Field: "Rtd"}, {Code: "w21003", Kind: "minute", Field: "Avg"}}, places); diff != "" {
		t.Error(diff)
	}
	points[0].(map[string]any)["device"] = "dust-a" // of another driver
	b.call("POST", "/api/v1/devices:adopt", engineer, map[string]any{"outlet": "gate-a", "points": points[:1]}).want(400)
}

func TestScanForUnits(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer := bearer(b.token(accounts.FieldEngineer))
	ask := map[string]any{"device": map[string]any{"endpoint": slaveOnLoopback(t), "timeout": "100ms"}, "first": 2, "last": 4, "table": "input", "address": 8, "every": "10ms"}
	var report contract.ScanReport
	b.call("POST", "/api/v1/devices:scan", engineer, ask).want(200).into(&report)
	if len(report.Units) != 1 || report.Units[0].ID != 3 || report.Next != 0 {
		t.Errorf("%+v", report)
	}
	if rows := b.acts("device.scan"); len(rows) != 1 || !strings.HasSuffix(rows[0].What, " units 2-4") {
		t.Errorf("trail %+v", rows)
	}
	faulty := map[string]any{"device": map[string]any{"endpoint": "modbus://10.1.1.1", "timeout": "10s"}, "first": 300, "every": "1ms"}
	body := string(b.call("POST", "/api/v1/devices:scan", engineer, faulty).want(400).body)
	for _, field := range []string{`"first"`, `"device.timeout"`, `"every"`} {
		if !strings.Contains(body, field) {
			t.Errorf("%s is not told: %s", field, body)
		}
	}
	b.call("POST", "/api/v1/devices:scan", bearer(b.token(accounts.Staff)), ask).want(403)
	b.call("POST", "/api/v1/devices:scan", bearer(b.token(accounts.FieldEngineer, "b")), ask).problem(400, "unknown_site")
}

func TestListenAndAdopt(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer := bearer(b.token(accounts.FieldEngineer))
	broker := map[string]any{"site": "a", "name": "Hall sensors", "driver": "mqtt", "endpoint": "mqtt://127.0.0.1:1883"}
	listen := func() (sources map[string][]contract.SourceOffer, first contract.Source) {
		var report contract.ListenReport
		b.call("POST", "/api/v1/devices:listen", engineer, map[string]any{"device": broker}).want(200).into(&report)
		sources = map[string][]contract.SourceOffer{}
		for _, s := range report.Sources {
			sources[s.Kind+" "+s.Name] = s.Offers
		}
		return sources, report.Sources[0]
	}
	heard, hall := listen()
	if hall.Name != "Hall" || hall.Status == nil || hall.Status.Topic != "tele/t1/LWT" {
		t.Errorf("first %+v", hall)
	}
	said := func(o contract.SourceOffer) string {
		if o.Problem != nil {
			return o.Name + " " + o.Problem.Code
		}
		return strings.Join(append([]string{o.Name, o.Factor, o.Unit}, o.Points...), " ")
	}
	got := map[string][]string{}
	for name, offers := range heard {
		got[name] = []string{}
		for _, o := range offers {
			got[name] = append(got[name], said(o))
		}
	}
	want := map[string][]string{
		"home_assistant Hall":  {"Sum template_not_understood", "Temperature a01001 ℃"},
		"topic tele/t1/SENSOR": {"AM2301.Humidity a01002 %"},
		"topic tele/t1/LWT":    {},
		"senml sensors/ow":     {"urn:dev:ow:1:temperature a01001 ℃"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	temperature := heard["home_assistant Hall"][1]
	if temperature.Value == nil || *temperature.Value != 21.5 {
		t.Errorf("%+v", temperature)
	}
	entry := func(o contract.SourceOffer, name string) map[string]any {
		return map[string]any{"name": name, "factor": o.Factor, "unit": o.Unit, "digits": o.Digits, "topic": o.Topic}
	}
	adopt := map[string]any{
		"new_outlet": map[string]any{"site": "a", "name": "大厅", "kind": "ambient"}, "devices": []any{broker},
		"points": []any{entry(temperature, "温度"), entry(heard["senml sensors/ow"][0], "Outside temperature"), entry(temperature, "温度")},
	}
	var made contract.AdoptResult
	adopt["points"].([]any)[2].(map[string]any)["factor"] = ""
	b.call("POST", "/api/v1/devices:adopt", engineer, adopt).problem(400, "bad_factor")
	if len(b.registry.Snapshot().Outlets) != 2 {
		t.Error("part of what was refused is registered")
	}
	adopt["points"] = adopt["points"].([]any)[:2]
	b.call("POST", "/api/v1/devices:adopt", engineer, adopt).want(201).into(&made)
	var ids []string
	for _, p := range made.Points {
		ids = append(ids, p.ID)
	}
	if diff := cmp.Diff([]string{"outlet.a01001", "outlet.outside-temperature"}, ids); diff != "" || made.Devices[0].ID != "hall-sensors" || len(made.Bindings) != 2 {
		t.Errorf("%s, device %s", diff, made.Devices[0].ID)
	}
	heard, _ = listen()
	if p := heard["home_assistant Hall"][1].Points; len(p) != 1 || p[0] != "outlet.a01001" {
		t.Errorf("bound already: %q", p)
	}
	// The same once more has ids of its own; further points go to the device that is there.
	var again contract.AdoptResult
	b.call("POST", "/api/v1/devices:adopt", engineer, adopt).want(201).into(&again)
	if again.Devices[0].ID != "hall-sensors-2" || again.Outlets[0].ID != "outlet-2" {
		t.Errorf("%+v", again)
	}
	further := entry(heard["topic tele/t1/SENSOR"][0], "湿度")
	further["device"] = "hall-sensors"
	b.call("POST", "/api/v1/devices:adopt", engineer, map[string]any{"outlet": "gate-a", "points": []any{further}}).want(201)
	if b := b.registry.Snapshot().Bound("hall-sensors", time.Now()); len(b) != 3 {
		t.Errorf("%d points at the device", len(b))
	}
	// Two announced devices become two; a fault of one keeps out both.
	two := map[string]any{"outlet": "gate-a", "devices": []any{}, "points": []any{}}
	for i, id := range []string{"north", "south"} {
		dev := maps.Clone(broker)
		dev["id"], dev["name"] = id, id
		two["devices"] = append(two["devices"].([]any), dev)
		e := entry(temperature, fmt.Sprint("T", i))
		e["device"] = id
		two["points"] = append(two["points"].([]any), e)
	}
	two["devices"].([]any)[1].(map[string]any)["name"] = ""
	if a := b.call("POST", "/api/v1/devices:adopt", engineer, two).want(400); !strings.Contains(string(a.body), `"devices[1].name"`) {
		t.Errorf("%s", a.body)
	}
	two["devices"].([]any)[1].(map[string]any)["name"] = "South"
	b.call("POST", "/api/v1/devices:adopt", engineer, two).want(201)
	if s := b.registry.Snapshot(); len(s.Bound("north", time.Now())) != 1 || len(s.Bound("south", time.Now())) != 1 {
		t.Error("the two devices have not a point each")
	}
	further["device"] = "none"
	b.call("POST", "/api/v1/devices:adopt", engineer, map[string]any{"points": []any{further}}).problem(400, "invalid")
	b.call("POST", "/api/v1/devices:listen", engineer, map[string]any{"device": map[string]any{"driver": "mqtt", "endpoint": "mqtt://silent:1"}}).problem(503, "no_answer")
	b.call("POST", "/api/v1/devices:listen", engineer, map[string]any{"device": map[string]any{"driver": "modbus"}, "for": "1h"}).want(400)
}

func TestLimitedEngineersHearTheirOwnDevices(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	limited := bearer(b.token(accounts.FieldEngineer, "b"))
	var report contract.ListenReport
	b.call("POST", "/api/v1/devices:listen", limited, map[string]any{"device": map[string]any{"driver": "broker"}}).want(200).into(&report)
	if len(report.Sources) != 1 || report.Sources[0].Device != "dust-b" || report.Sources[0].Offers[0].Points[0] != "gate-b.pm10" {
		t.Errorf("%+v", report.Sources)
	}
	b.call("POST", "/api/v1/devices:listen", limited, map[string]any{"device": map[string]any{"driver": "mqtt", "endpoint": "mqtt://127.0.0.1", "site": "a"}}).problem(400, "unknown_site")
	entry := map[string]any{"name": "x", "factor": "x", "unit": "", "topic": map[string]any{"topic": "t"}, "device": "dust-a"}
	b.call("POST", "/api/v1/devices:adopt", limited, map[string]any{"outlet": "gate-b", "points": []any{entry}}).problem(400, "unknown_device")
	entry["device"] = "dust-b"
	b.call("POST", "/api/v1/devices:adopt", limited, map[string]any{"outlet": "gate-a", "points": []any{entry}}).problem(400, "unknown_outlet")
	b.call("POST", "/api/v1/devices:adopt", limited, map[string]any{"new_outlet": map[string]any{"site": "b", "name": "New", "kind": "dust"}, "points": []any{entry}}).want(201)
}
