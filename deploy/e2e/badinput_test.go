package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"

	"offsite/gateway/api/contract"
)

// The tests below give the shipped program what people and devices get wrong.
// Each must be told in both languages, name the field and the cure, and cost
// nothing else.

// said checks that a Problem speaks both languages and says what it must.
func said(t *testing.T, p contract.FieldProblem, code, field string, words ...string) {
	t.Helper()
	if p.Code != code || p.Field != field {
		t.Errorf("problem %+v, want code %q at field %q", p, code, field)
	}
	if !strings.ContainsFunc(p.Zh, func(r rune) bool { return unicode.Is(unicode.Han, r) }) || !strings.Contains(p.En, " ") ||
		strings.ContainsFunc(p.En, func(r rune) bool { return unicode.Is(unicode.Han, r) }) {
		t.Errorf("problem is not in both languages: %+v", p)
	}
	for _, w := range words {
		if !strings.Contains(p.Zh, w) && !strings.Contains(p.En, w) {
			t.Errorf("problem does not say %q: %+v", w, p)
		}
	}
	t.Logf("%s: %s / %s", p.Field, p.Zh, p.En)
}

// in gives the program to a subtest.
func (p *program) in(t *testing.T) *program {
	other := *p
	other.t = t
	return &other
}

// refused posts v and gives the Problem that the API answers with.
func (p *program) refused(status int, path string, v thing) contract.Problem {
	p.t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		p.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.API+path, bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.Token)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	var got contract.Problem
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := json.Unmarshal(body, &got); err != nil || answer.StatusCode != status {
		p.t.Fatalf("POST %s: %s, want %d: %s", path, answer.Status, status, body)
	}
	return got
}

func (p *program) status() (contract.Status, error) {
	var st contract.Status
	err := p.Do(p.t.Context(), "GET", "/status", nil, &st)
	return st, err
}

func (p *program) device(id string) (contract.DeviceStatus, error) {
	st, err := p.status()
	if err != nil {
		return contract.DeviceStatus{}, err
	}
	if i := slices.IndexFunc(st.Devices, func(d contract.DeviceStatus) bool { return d.Device == id }); i >= 0 {
		return st.Devices[i], nil
	}
	return contract.DeviceStatus{}, fmt.Errorf("no device %s in the status", id)
}

// losses gives the rows of a kind and subject.
func (p *program) losses(kind, subject string) ([]contract.Loss, error) {
	var list contract.LossList
	if err := p.Do(p.t.Context(), "GET", "/losses?max=1000", nil, &list); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list.Items, func(l contract.Loss) bool { return l.Kind != kind || l.Subject != subject }), nil
}

// lost waits until count is the sum of the rows of a kind and subject and gives
// the newest row.
func (p *program) lost(kind, subject string, count int64) contract.Loss {
	p.t.Helper()
	var row contract.Loss
	p.await("loss "+kind+" of "+subject, func() error {
		rows, err := p.losses(kind, subject)
		if err != nil {
			return err
		}
		var n int64
		for _, r := range rows {
			n += r.Count
		}
		if n != count {
			return fmt.Errorf("%d lost, want %d: %+v", n, count, rows)
		}
		row = rows[0]
		return nil
	})
	return row
}

// values gives the history of a point around now, oldest first.
func (p *program) values(point string) ([]float64, error) {
	list, err := p.samples(point, time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	values := make([]float64, len(list))
	for i := range list {
		values[i] = list[i].Value
	}
	return values, err
}

// holds waits until the history of a point is just want.
func (p *program) holds(point string, want ...float64) {
	p.t.Helper()
	p.await("history of "+point, func() error {
		got, err := p.values(point)
		if d := cmp.Diff(want, got); err == nil && d != "" {
			return errors.New(d)
		}
		return err
	})
}

// offsite runs the shipped program to its end.
func offsite(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	binary, err := programBinary()
	if err != nil {
		t.Fatal(err)
	}
	text, err := exec.CommandContext(t.Context(), binary, args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(text), code
}

// terminal reads the lines "offsite: field: zh / en".
func terminal(out string) (list []contract.FieldProblem) {
	for line := range strings.Lines(out) {
		line, ok := strings.CutPrefix(strings.TrimSpace(line), "offsite: ")
		zh, en, both := strings.Cut(line, " / ")
		if !ok || !both {
			continue
		}
		p := contract.FieldProblem{Zh: zh, En: en}
		if field, rest, named := strings.Cut(zh, ": "); named {
			p.Field, p.Zh = field, rest
		}
		list = append(list, p)
	}
	return list
}

func TestMalformedConfigurationIsToldWhole(t *testing.T) {
	t.Parallel()
	type fault struct{ Field, ZH, EN string }
	tests := []struct {
		name, text string
		want       []fault
	}{
		{"values", "broker:\n  listen: nowhere\n  insecure: maybe\n  colour: red\nhistory:\n  store: mysql\n  retention: soon\nvideo: 7\nhistroy: {}\n", []fault{
			{"broker.listen", "第 2 行：", "line 2: "},
			{"broker.insecure", "第 3 行：", "line 3: "},
			{"broker.colour", "第 4 行：", "line 4: "},
			{"history.store", "第 6 行：", "line 6: "},
			{"history.retention", "第 7 行：", "line 7: "},
			{"video", "第 8 行：", "line 8: "},
			{"histroy", "第 9 行：", "line 9: "},
		}},
		{"syntax twice and a value", "broker:\n\tlisten: 127.0.0.1:1883\nclock:\n  tolerance: \"5m\nhistory:\n  store: mysql\n", []fault{
			{"", "第 2 行：", "line 2: "}, {"", "第 4 行：", "line 4: "}, {"history.store", "第 6 行：", "line 6: "},
		}},
		{"key twice", "state: a\nclock:\n  tolerance: 0s\nstate: b\n", []fault{{"clock.tolerance", "第 3 行：", "line 3: "}, {"state", "第 4 行：", "line 4: "}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := filepath.Join(t.TempDir(), "offsite.yaml")
			if err := os.WriteFile(name, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range []string{"check", "serve"} {
				args := []string{command, name}
				if command == "serve" {
					args = []string{command, "--config", name}
				}
				out, code := offsite(t, args...)
				var got []fault
				for _, p := range terminal(out) {
					said(t, p, "", p.Field)
					zh, _, _ := strings.Cut(p.Zh, "：")
					en, _, _ := strings.Cut(p.En, ": ")
					got = append(got, fault{p.Field, zh + "：", en + ": "})
				}
				if d := cmp.Diff(tt.want, got); d != "" || code != 1 {
					t.Errorf("%s ended with %d: %s\n%s", command, code, d, out)
				}
			}
		})
	}
}

func TestBadInput(t *testing.T) {
	t.Parallel()
	p := startProgram(t, "")
	t.Run("beside each other", func(t *testing.T) {
		for _, tt := range []struct {
			name string
			run  func(*testing.T)
		}{
			{"register map", p.badRegisters},
			{"unknown topic", p.unknownTopic},
			{"JSON without the path", p.pathMissing},
			{"NaN and infinity", p.notFinite},
			{"time in the future", p.farFuture},
			{"camera with a bad password", p.badCamera},
			{"retained value at each reconnect", p.retainedAgain},
			{"device that never reads", p.deafDevice},
		} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				tt.run(t)
			})
		}
	})
	t.Run("platform answers garbage", p.platformGarbage)
	t.Run("second process", p.secondProcess)
}

func (p *program) badRegisters(t *testing.T) {
	p = p.in(t)
	plc := thing{"id": "plc", "site": "plant", "name": "plc", "driver": "modbus", "endpoint": "modbus://127.0.0.1:9", "modbus": thing{"unit": 1, "gap": 124}}
	got := p.refused(400, "/devices", plc)
	said(t, contract.FieldProblem{Field: got.Field, Code: got.Code, Zh: got.Zh, En: got.En}, "register_span", "modbus.gap", "125")
	plc["modbus"] = thing{"unit": 1}
	p.post("/outlets", thing{"id": "tank", "site": "plant", "name": "tank", "kind": "tank"})
	p.post("/devices", plc)
	for _, id := range []string{"level", "flow"} {
		p.post("/points", thing{"id": "tank." + id, "name": id, "factor": id, "unit": "m"})
	}
	bind := func(id string, register thing) thing {
		return thing{"id": id, "point": "tank." + id, "device": "plc", "register": register}
	}
	p.post("/bindings", bind("level", thing{"table": "holding", "address": 100, "type": "float32"}))
	got = p.refused(400, "/bindings", bind("flow", thing{"table": "holding", "address": 101, "type": "float32"}))
	said(t, contract.FieldProblem{Field: got.Field, Code: got.Code, Zh: got.Zh, En: got.En}, "register_overlap", "register.address", "level", "100–101")
	got = p.refused(400, "/bindings", bind("flow", thing{"table": "holding", "address": 65535, "type": "float32"}))
	said(t, contract.FieldProblem{Field: got.Field, Code: got.Code, Zh: got.Zh, En: got.En}, "out_of_range", "register.address", "65536")
	p.post("/bindings", bind("flow", thing{"table": "holding", "address": 102, "type": "float32"}))
}

// sensor registers an outlet with one point v, whose device signs in to the
// embedded broker and sends objects with the paths v and t.
func (p *program) sensor(t *testing.T, id string) (publish func(topic, payload string)) {
	t.Helper()
	client := p.instrument(t, id)
	return func(topic, payload string) {
		t.Helper()
		publishOnce(t, client, topic, payload)
	}
}

// instrument registers what sensor says and gives its one connection.
func (p *program) instrument(t *testing.T, id string) mqtt.Client {
	t.Helper()
	password := id + "-password-1"
	p.outlet(id, thing{"id": id, "driver": "broker", "password": password}, []string{"v"}, 100,
		func(string) thing {
			return thing{"topic": thing{"topic": "offsite/" + id + "/v", "path": "deep.v", "time_path": "t"}}
		})
	return connectPaho(t, p.Broker, id, password)
}

// publishOnce publishes and waits for the acknowledgement.
func publishOnce(t *testing.T, client mqtt.Client, topic, payload string) {
	t.Helper()
	if token := client.Publish(topic, 1, false, payload); !token.WaitTimeout(20*time.Second) || token.Error() != nil {
		t.Fatalf("publish to %s: %v", topic, token.Error())
	}
}

// at writes a payload whose time lies so far from now.
func at(by time.Duration, value float64) string {
	return fmt.Sprintf(`{"t":%d,"deep":{"v":%g}}`, time.Now().Add(by).UnixMilli(), value)
}

func (p *program) unknownTopic(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "lost")
	for range 3 {
		publish("offsite/lost/temperatur", "21.5")
	}
	publish("offsite/other/v", "1")
	publish("offsite/lost/v", at(0, 1))
	rows := map[string]contract.Loss{}
	p.await("both topics told", func() error {
		list, err := p.losses("unbound", "device/lost")
		for _, r := range list {
			rows[r.Detail] = r
		}
		if n := rows["offsite/lost/temperatur"].Count + rows["offsite/other/v"].Count; err == nil && n != 4 {
			return fmt.Errorf("%d messages told: %+v", n, list)
		}
		return err
	})
	said(t, rows["offsite/lost/temperatur"].Why, "unknown_topic", "topic", "offsite/lost/temperatur", "绑定", "binding")
	said(t, rows["offsite/other/v"].Why, "foreign_topic", "topic", "offsite/other/v", "offsite/lost/")
	p.holds("lost.v", 1)
}

func (p *program) pathMissing(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "shallow")
	publish("offsite/shallow/v", at(-3*time.Second, 1))
	publish("offsite/shallow/v", `{"t":1700000000,"shallow":{"v":2}}`)
	row := p.lost("dead_letter", "device/shallow", 1)
	said(t, row.Why, "path_missing", "deep.v", "deep.v", "offsite/shallow/v")
	d, err := p.device("shallow")
	if err != nil || len(d.Points) != 1 || d.Points[0].Point != "shallow.v" || !d.Online {
		t.Fatalf("status %+v, %v", d, err)
	}
	said(t, d.Points[0].Problem, "path_missing", "deep.v")
	publish("offsite/shallow/v", at(-time.Second, 3))
	p.await("point is well again", func() error {
		d, err := p.device("shallow")
		if err == nil && len(d.Points) > 0 {
			return fmt.Errorf("still %+v", d.Points)
		}
		return err
	})
	p.holds("shallow.v", 1, 3)
}

func (p *program) notFinite(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "wild")
	publish("offsite/wild/v", at(-5*time.Second, 1))
	for _, v := range []string{"NaN", "Infinity", "-Infinity", `"inf"`, "1e999"} {
		publish("offsite/wild/v", `{"t":1700000000,"deep":{"v":`+v+`}}`)
	}
	row := p.lost("dead_letter", "device/wild", 5)
	said(t, row.Why, "not_finite", "value", "offsite/wild/v")
	publish("offsite/wild/v", at(-time.Second, 150))
	p.holds("wild.v", 1, 150)
	p.await("alarm", func() error { return wantCount(p.told("wild.v", "opened"), 1) })
}

func (p *program) farFuture(t *testing.T) {
	p = p.in(t)
	publish := p.sensor(t, "early")
	publish("offsite/early/v", at(-2*time.Second, 1))
	good := time.Now().Add(-time.Second) // before every receipt that follows: no time is taken twice
	for i := range 20 {                  // as fast as a device catches up: none may cover another
		publish("offsite/early/v", at(time.Duration(i)*time.Hour+time.Hour, float64(1000+i)))
	}
	row := p.lost("clock", "device/early", 20)
	said(t, row.Why, "device_clock_ahead", "time", "1 小时", "校准", "set the device's clock")
	publish("offsite/early/v", at(time.Until(good), 2))
	publish("offsite/early/v", at(0, 150))
	p.await("history", func() error {
		got, err := p.values("early.v")
		if err == nil && len(got) != 23 {
			return fmt.Errorf("%d values: %v", len(got), got)
		}
		return err
	})
	p.await("alarm of the good reading alone", func() error { return wantCount(p.told("early.v", "opened"), 1) })
	if e := p.told("early.v", "opened")[0]; e.Value != 150 {
		t.Errorf("alarm at %g", e.Value)
	}
	var last struct {
		Value   float64 `json:"value"`
		Quality string  `json:"quality"`
	}
	if err := p.Do(t.Context(), "GET", "/points/early.v/last", nil, &last); err != nil || last.Value != 150 || last.Quality != "good" {
		t.Errorf("current value %+v, %v", last, err)
	}
}

func (p *program) secondProcess(t *testing.T) {
	p = p.in(t)
	out, code := offsite(t, "serve", "--http", "127.0.0.1:0", "--state", p.State)
	list := terminal(out)
	if code != 1 || len(list) != 1 {
		t.Fatalf("ended with %d: %s", code, out)
	}
	said(t, list[0], "", "state", p.State, fmt.Sprint(p.PID()))
	if _, err := p.status(); err != nil {
		t.Errorf("the first process: %v", err)
	}
}
