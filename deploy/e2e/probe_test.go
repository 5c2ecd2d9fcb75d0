package e2e

import (
	"bytes"
	"encoding/base64"
	"image/jpeg"
	"strings"
	"testing"

	"offsite/deploy/peers"
	"offsite/devices"
)

// seen is what a probe answered over the API.
type seen struct {
	Steps []devices.Step `json:"steps"`
	Video struct {
		Codec  string  `json:"codec"`
		Width  int     `json:"width"`
		Height int     `json:"height"`
		Frames float64 `json:"frame_rate"`
		Plays  string  `json:"plays"`
	} `json:"video"`
	Still struct {
		JPEG string `json:"jpeg"`
	} `json:"still"`
}

// outline gives the steps as words, the bad ones with a mark.
func (s *seen) outline() string {
	var words []string
	for _, step := range s.Steps {
		word := step.Name
		switch {
		case step.Skipped:
			word = "(" + word + ")"
		case !step.OK:
			word = "!" + word
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// last gives what the last step says, with its cure.
func (s *seen) last() string {
	step := s.Steps[len(s.Steps)-1]
	return step.EN + "; " + step.CureEN
}

func (p *program) probe(path string, body thing) *seen {
	p.t.Helper()
	var s seen
	if err := p.Do(p.t.Context(), "POST", path, body, &s); err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("%s: %s", s.outline(), s.last())
	return &s
}

// expect checks the steps and part of what the last says.
func (p *program) expect(path string, body thing, steps, says string) *seen {
	p.t.Helper()
	s := p.probe(path, body)
	if s.outline() != steps || !strings.Contains(s.last(), says) {
		p.t.Errorf("got %q: %s; want %q with %q", s.outline(), s.last(), steps, says)
	}
	return s
}

func TestProbesOfACameraThatIsNotOurs(t *testing.T) {
	clip := cameraClip(t, "h264", 20)
	c := startGstCamera(t, clip, "--user", "admin", "--password", "camera-pass")
	p := startProgram(t, "")
	form := func(url, password string) thing {
		return thing{"camera": thing{"site": "plant", "url": url, "username": "admin", "password": password}}
	}
	url := "rtsp://127.0.0.1:" + c.port + "/cam"
	s := p.expect("/cameras:probe", form(url, "camera-pass"), "address connect describe video still", "a picture of")
	if s.Video.Codec != "h264" || s.Video.Width == 0 || s.Video.Frames < 5 || s.Video.Plays != "yes" {
		t.Errorf("%+v", s.Video)
	}
	picture, _ := base64.StdEncoding.DecodeString(s.Still.JPEG)
	if img, err := jpeg.Decode(bytes.NewReader(picture)); err != nil || img.Bounds().Dx() != s.Video.Width {
		t.Errorf("picture of %d bytes: %v", len(picture), err)
	}
	p.expect("/cameras:probe", form(url, "wrong-pass"), "address connect !describe", "lock the account")
	p.expect("/cameras:probe", form("rtsp://127.0.0.1:1/cam", "x"), "address !connect", "no connection")
	p.expect("/cameras:probe", form("rtsp://camera.invalid/cam", "x"), "!resolve", "check its name")
	p.expect("/cameras:probe", form("rtsp://169.254.169.254/cam", "x"), "!address", "devices.networks")
	own := strings.TrimSuffix(strings.TrimPrefix(p.API, "http://"), "/api/v1")
	for _, at := range []string{own, p.Broker} {
		p.expect("/cameras:probe", form("rtsp://"+at+"/cam", "x"), "!address", "a port of the gateway itself")
	}
}

func TestProbesOfMosquitto(t *testing.T) {
	mqttTools(t, "mosquitto", "mosquitto_pub")
	a := newAuthority(t)
	addr := strictMosquitto(t, a)
	plain, err := peers.StartMosquitto(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Stop() })
	cert, key, _, _ := a.sign("gateway", false)
	foreign, foreignKey, _, _ := newAuthority(t).sign("gateway", false)
	p := startProgram(t, "")
	form := func(endpoint string, settings thing) thing {
		return thing{
			"device":   thing{"site": "plant", "driver": "mqtt", "endpoint": endpoint, "mqtt": settings},
			"bindings": []thing{{"topic": thing{"topic": "plant/dust", "path": "pm10"}}},
		}
	}
	if said, err := mqttPub(t, plain.Addr, "", "-r", "-t", "plant/dust", "-m", `{"pm10":35.5}`); err != nil {
		t.Fatal(said, err)
	}
	s := p.expect("/devices:probe", form("mqtt://"+plain.Addr, nil), "address connect sign_in subscribe message values", "1 of 1")
	if v := s.Steps[len(s.Steps)-1].Values[0]; *v.Value != 35.5 || v.Raw != `{"pm10":35.5}` {
		t.Errorf("%+v", v)
	}
	none := thing{"device": form("mqtts://"+addr, thing{"ca": a.PEM, "certificate": cert, "key": key})["device"]}
	p.expect("/devices:probe", none, "address connect encrypt sign_in (subscribe)", "no point is bound")
	for name, settings := range map[string]thing{
		"none": {"ca": a.PEM}, "a stranger's": {"ca": a.PEM, "certificate": foreign, "key": foreignKey},
	} {
		got := p.probe("/devices:probe", form("mqtts://"+addr, settings))
		if last := got.Steps[len(got.Steps)-1]; last.OK || !strings.Contains(got.last(), "mqtt.certificate") {
			t.Errorf("%s: %s: %s", name, got.outline(), got.last())
		}
	}
	p.expect("/devices:probe", form("mqtts://"+addr, thing{"certificate": cert, "key": key}), "address connect !encrypt", "mqtt.ca")
	p.expect("/devices:probe", form("mqtt://127.0.0.1:1", nil), "address !connect", "refuses the connection")
	p.expect("/devices:probe", form("mqtt://"+p.Broker, nil), "!address", "a port of the gateway itself")
}
