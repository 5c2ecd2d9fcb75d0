package onvif

import (
	"bytes"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"offsite/devices"
)

// samples are answers of cameras, whole and broken.
var samples = []string{
	`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><x:GetProfilesResponse xmlns:x="m"><x:Profiles token="a"><x:Name>n</x:Name></x:Profiles></x:GetProfilesResponse></s:Body></s:Envelope>`,
	`<Envelope><Body><Fault><Code><Value>s:Sender</Value><Subcode><Value>ter:NotAuthorized</Value></Subcode></Code><Reason><Text>no</Text></Reason></Fault></Body></Envelope>`,
	`<a:Envelope><a:Body><NotificationMessage><Topic>tns1:RuleEngine/TamperDetector/Tamper</Topic><Message><Message UtcTime="2026-01-01T00:00:00Z"><Data><SimpleItem Name="State" Value="1"/></Data></Message></Message></NotificationMessage></a:Body></a:Envelope>`,
	`<Envelope><Header><RelatesTo>urn:uuid:7</RelatesTo></Header><Body><ProbeMatches><ProbeMatch><XAddrs>http://10.0.0.9:80/onvif/device_service</XAddrs><Scopes>onvif://www.onvif.org/name/A%20B</Scopes></ProbeMatch></ProbeMatches></Body></Envelope>`,
	`<!DOCTYPE x><x/>`, `<a><b></a></b>`, `<a/><a/>`, `<a`, ``, `<?xml version="1.0" encoding="gb2312"?><a/>`,
}

// FuzzAnswers has whatever a camera may say read as every answer there is.
func FuzzAnswers(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		document, err := parse(bytes.NewReader(body))
		if err != nil {
			return
		}
		if answer, err := open(document); err == nil {
			for _, ch := range Choose([]Profile{profileOf(answer)}) {
				if ch.Main == "" && answer.attr("token") != "" {
					t.Error("nothing chosen")
				}
			}
			for _, n := range answer.children {
				if e, ok := eventOf(n, time.Hour, time.Now()); ok && time.Until(e.At) > mostEarly {
					t.Errorf("an event of the future: %s", e.At)
				}
				_ = n.reference()
			}
			_, _ = dateOf(answer.find("UTCDateTime"))
		}
	})
}

func FuzzMatches(f *testing.F) {
	for _, s := range samples {
		f.Add([]byte(s))
	}
	from := netip.MustParseAddr("192.0.2.7")
	f.Fuzz(func(t *testing.T, datagram []byte) {
		for _, d := range readMatches(datagram, from, "7") {
			if !strings.HasPrefix(strings.TrimPrefix(strings.TrimPrefix(d.URL, "http://"), "https://"), "192.0.2.7") {
				t.Errorf("leads to %s", d.URL)
			}
		}
	})
}

func FuzzPin(f *testing.F) {
	for _, s := range []string{"rtsp://10.0.0.1:554/a?b=c", "rtsp://user:pass@evil/", "rtsp://[fd00::1]:99/x", "//x", "rtsp:opaque", "rtsp://cam:554/"} {
		f.Add(s)
	}
	c, err := Open(Access{URL: "http://cam/"}, Config{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, address string) {
		got := c.pin(address, "rtsp", "rtsps")
		if got == "" {
			return
		}
		camera := devices.Camera{ID: "a", Site: "a", Name: "a", URL: got}
		rest, ok := strings.CutPrefix(strings.ToLower(strings.Replace(got, "rtsps://", "rtsp://", 1)), "rtsp://cam")
		if !ok || (rest != "" && !strings.ContainsRune("/:?#", rune(rest[0]))) {
			t.Errorf("%q leads to %q", address, got)
		}
		_ = camera.Check() // whoever registers it hears of other faults
	})
}

// The figures of ONVIF's Programmer's Guide, 6.1.1.3.
func TestToken(t *testing.T) {
	t.Parallel()
	nonce, err := base64.StdEncoding.DecodeString("LKqI6G/AikKCQrN0zqZFlg==")
	if err != nil {
		t.Fatal(err)
	}
	got := token("user", "userpassword", nonce, "2010-09-16T07:50:45Z")
	if !strings.Contains(got, ">tuOSpGlFlIXsozq4HFNeeGeFLEI=<") || strings.Contains(got, "userpassword") {
		t.Error(got)
	}
}
