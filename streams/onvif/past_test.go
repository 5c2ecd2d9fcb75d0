package onvif_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/streams/onvif"
	"offsite/streams/onvif/onviftest"
)

func TestWhatARecorderKeepsIsFound(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(h float64) time.Time { return day.Add(time.Duration(h * float64(time.Hour))) }
	kept := []onviftest.Recording{
		{Token: "Rec1", Source: "Channel1", Name: "门", Held: [][2]time.Time{{at(1), at(3)}, {at(4), at(9)}}, Replay: "/replay?rec=1"},
		{Token: "Rec2", Source: "http://localhost/Channel2", Held: [][2]time.Time{{at(2), at(5)}}, Replay: "/replay?rec=2"},
	}
	type seen struct {
		Token, URL, Code string
		Kept             []onvif.Stretch
	}
	for _, tc := range []struct {
		name   string
		cfg    onviftest.Config
		source string
		want   seen
	}{
		{"history", onviftest.Config{}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:554/replay?rec=1", "", []onvif.Stretch{{at(2), at(3)}, {at(4), at(6)}}}},
		{"named by an address", onviftest.Config{Auth: onviftest.AuthDigest}, "Channel2", seen{"Rec2", "rtsp://127.0.0.1:554/replay?rec=2", "", []onvif.Stretch{{at(2), at(5)}}}},
		{"no history", onviftest.Config{NoHistory: true}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:554/replay?rec=1", "", []onvif.Stretch{{at(2), at(6)}}}},
		{"another host", onviftest.Config{Foreign: "203.0.113.9", RTSP: 5544}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:5544/replay?rec=1", "", []onvif.Stretch{{at(2), at(3)}, {at(4), at(6)}}}},
		{"before ONVIF 2.0", onviftest.Config{Old: true}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:554/replay?rec=1", "", []onvif.Stretch{{at(2), at(3)}, {at(4), at(6)}}}},
		{"no prefixes", onviftest.Config{Style: onviftest.Bare}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:554/replay?rec=1", "", []onvif.Stretch{{at(2), at(3)}, {at(4), at(6)}}}},
		{"a search without end", onviftest.Config{EndlessSearch: true}, "Channel1", seen{"Rec1", "rtsp://127.0.0.1:554/replay?rec=1", "", []onvif.Stretch{{at(2), at(3)}, {at(4), at(6)}}}},
		{"a source that is not recorded", onviftest.Config{}, "Channel9", seen{}},
		{"it keeps nothing", onviftest.Config{Recordings: []onviftest.Recording{}}, "Channel1", seen{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.cfg.Username, tc.cfg.Password = "admin", "x"
			if tc.cfg.Recordings == nil {
				tc.cfg.Recordings = kept
			}
			d := device(t, tc.cfg)
			c := client(t, d.URL(), "admin", "x", onvif.Config{})
			list, err := c.Recordings(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got seen
			if r := onvif.RecordingOf(list, tc.source, []string{"Channel1", "Channel2", "Channel3"}); r != nil {
				got.Token = r.Token
				if got.Kept, err = c.Kept(t.Context(), *r, at(2), at(6)); err != nil {
					t.Fatal(err)
				}
				if got.URL, err = c.ReplayURL(t.Context(), r.Token); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestACameraWithoutRecordingsSaysSo(t *testing.T) {
	t.Parallel()
	d := device(t, onviftest.Config{})
	c := client(t, d.URL(), "", "", onvif.Config{})
	if _, err := c.Recordings(t.Context()); code(err) != onvif.CodeUnknown {
		t.Errorf("recordings: %v", err)
	}
	for name, trouble := range map[string]onviftest.Trouble{
		onvif.CodeRefused: {Fault: "FindRecordings"}, onvif.CodeGarbled: {Garbage: "<a>"},
	} {
		d := device(t, onviftest.Config{Recordings: []onviftest.Recording{}})
		c := client(t, d.URL(), "", "", onvif.Config{})
		if _, err := c.Offers(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.Misbehave(trouble)
		if _, err := c.Recordings(t.Context()); code(err) != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
