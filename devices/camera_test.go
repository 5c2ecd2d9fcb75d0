package devices

import (
	"testing"
	"time"
)

func TestReplayAddresses(t *testing.T) {
	from := time.Date(2026, 1, 1, 16, 30, 0, 0, time.UTC)
	const host = "rtsp://10.0.0.9:554"
	tests := []struct{ name, template, zone, want, code string }{
		{"Hikvision", host + "/Streaming/tracks/101?starttime={from:YYYYMMDDThhmmssZ}&endtime={to:YYYYMMDDThhmmssZ}", "", host + "/Streaming/tracks/101?starttime=20260101T163000Z&endtime=20260101T163100Z", ""},
		{"Dahua", host + "/cam/playback?channel=1&subtype=0&starttime={from:YYYY_MM_DD_hh_mm_ss}&endtime={to:YYYY_MM_DD_hh_mm_ss}", "+08:00", host + "/cam/playback?channel=1&subtype=0&starttime=2026_01_02_00_30_00&endtime=2026_01_02_00_31_00", ""},
		{"Uniview", host + "/c1/b{from:unix}/e{to:unix}/replay/", "-03:30", host + "/c1/b1767285000/e1767285060/replay/", ""},
		{"no time", host + "/playback", "", "", "no_place"},
		{"the end alone", host + "/playback?e={to:unix}", "", "", "no_place"},
		{"a form that is none", host + "/playback?b={from:tomorrow}", "", "", "bad_place"},
		{"no form", host + "/playback?b={from:}", "", "", "bad_place"},
		{"another host", "rtsp://10.0.0.8/playback?b={from:unix}", "", "", "other_host"},
		{"a time in the host", "rtsp://10.0.0.{from:ss}/playback?b={from:unix}", "", "", "bad_place"},
		{"a page", "http://10.0.0.9/playback?b={from:unix}", "", "", "bad_address"},
		{"a user", "rtsp://u:p@10.0.0.9/playback?b={from:unix}", "", "", "password_in_url"},
		{"a zone by name", host + "/?b={from:unix}", "Asia/Shanghai", "", "bad_zone"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := &Camera{ID: "ch1", Site: "a", Name: "通道 1", URL: host + "/live", ReplayURL: tt.template, ReplayZone: tt.zone}
			code := ""
			if ps := AllProblems(c.Check()); len(ps) > 0 {
				code = ps[0].Code
			}
			if code != tt.code {
				t.Fatalf("code %q, want %q", code, tt.code)
			}
			if got := c.ReplayAddress(from, from.Add(time.Minute)); code == "" && got != tt.want {
				t.Errorf("got %s", got)
			}
		})
	}
}

// FuzzReplayAddress holds what Check accepts to the camera's own host, whatever the times.
func FuzzReplayAddress(f *testing.F) {
	f.Add("rtsp://10.0.0.9:554/Streaming/tracks/101?starttime={from:YYYYMMDDThhmmssZ}&endtime={to:YYYYMMDDThhmmssZ}", "+08:00", int64(1767285000))
	f.Add("rtsp://10.0.0.{from:ss}/playback?b={from:unix}", "", int64(9))
	f.Add("rtsp://10.0.0.9{from:unix}@x/", "", int64(0))
	f.Fuzz(func(t *testing.T, template, zone string, unix int64) {
		c := &Camera{ID: "ch1", Site: "a", Name: "n", URL: "rtsp://10.0.0.9/live", ReplayURL: template, ReplayZone: zone}
		if c.Check() != nil || template == "" {
			return
		}
		from := time.Unix(unix%4_000_000_000, 0)
		if address := c.ReplayAddress(from, from.Add(time.Minute)); !sameHost(address, c.URL) {
			t.Errorf("%s leads to %s", template, address)
		}
	})
}
