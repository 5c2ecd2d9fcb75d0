package edge

import (
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestConfigTellsEveryFault(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(c *Config)
		want   []string // field and code
	}{
		{"defaults", func(*Config) {}, nil},
		{"no state", func(c *Config) { c.State = "" }, []string{"state missing"}},
		{"plain off loopback", func(c *Config) { c.Broker.Listen = "0.0.0.0:1883" }, []string{"broker.listen plain_off_loopback"}},
		{"accepted off loopback", func(c *Config) { c.Broker.Listen, c.Broker.Insecure = "0.0.0.0:1883", true }, nil},
		{"half a certificate", func(c *Config) { c.Broker.Certificate = junk }, []string{"broker.certificate incomplete"}},
		{"no certificate in it", func(c *Config) { c.Broker.Certificate, c.Broker.Key = junk, junk }, []string{"broker.certificate bad_certificate"}},
		{"authority that is not there", func(c *Config) { c.Platform.CA = junk + "x" }, []string{"platform.ca unreadable"}},
		{"no authority in it", func(c *Config) { c.Platform.CA = junk }, []string{"platform.ca no_certificate"}},
		{"numbers", func(c *Config) {
			c.Clock.Tolerance, c.Video.Ring, c.Log.Backlog = 0, devices.Duration(time.Hour), 1
			c.History.Retention, c.Platform.StartDelay = -1, -1
		}, []string{
			"history.retention out_of_range", "platform.start_delay out_of_range", "clock.tolerance out_of_range",
			"video.ring out_of_range", "readings_log.backlog out_of_range",
		}},
		{"watching pictures", func(c *Config) { c.Video.Watch.Every = devices.Duration(time.Second) }, []string{"video.watch.every out_of_range"}},
		{"a threshold that nothing reaches", func(c *Config) { c.Video.Watch.Turn = math.NaN() }, []string{"video.watch.turn out_of_range"}},
		{"a camera that never rests", func(c *Config) { c.Video.Watch.Settle = 0 }, []string{"video.watch.settle out_of_range"}},
		{"evidence for ever", func(c *Config) { c.Video.Evidence.Keep = 0 }, nil},
		{"evidence for a month", func(c *Config) {
			c.Video.Evidence.Keep, c.Video.Evidence.Loose = devices.Duration(30*24*time.Hour), devices.Duration(time.Minute)
		}, []string{"video.evidence.keep out_of_range", "video.evidence.loose out_of_range"}},
		{"influx", func(c *Config) {
			c.History.Store, c.History.Influx.URL, c.History.Influx.Bucket = "influx", "127.0.0.1", "b"
		}, []string{"history.influx.url bad_address", "history.influx.token missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Defaults()
			tt.change(&cfg)
			var got []string
			for _, p := range devices.AllProblems(cfg.Validate()) {
				got = append(got, p.Field+" "+p.Code)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBytesAreReadAsPeopleWriteThem(t *testing.T) {
	tests := []struct {
		text string
		want Bytes // -1: refused
	}{
		{"0", 0},
		{"4096", 4096},
		{"16MiB", 16 << 20},
		{"2 GiB", 2 << 30},
		{"3TiB", 3 << 40},
		{"", -1},
		{"-1", -1},
		{"1GB", -1},
		{"1.5GiB", -1},
		{"9000000000000000000", -1},
		{"8000000TiB", -1},
	}
	for _, tt := range tests {
		var b Bytes
		err := b.UnmarshalText([]byte(tt.text))
		if (err != nil) != (tt.want < 0) || (err == nil && b != tt.want) {
			t.Errorf("%q is read as %d, %v; want %d", tt.text, b, err, tt.want)
		}
	}
}

func TestHJ212Configuration(t *testing.T) {
	tests := []struct {
		name string
		cfg  HJ212Config
		want string
	}{
		{"none", HJ212Config{}, ""},
		{"loopback", HJ212Config{Listen: "127.0.0.1:9212"}, ""},
		{"no port", HJ212Config{Listen: "0.0.0.0"}, "hj212.listen bad_address"},
		{"plain off loopback", HJ212Config{Listen: "0.0.0.0:9212"}, "hj212.listen plain_off_loopback"},
		{"accepted", HJ212Config{Listen: "0.0.0.0:9212", Insecure: true}, ""},
		{"key without certificate", HJ212Config{Listen: "127.0.0.1:9212", Key: "k"}, "hj212.certificate incomplete"},
		{"no such file", HJ212Config{Listen: "127.0.0.1:9212", Key: "k", Certificate: "c"}, "hj212.certificate bad_certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ps devices.Problems
			tt.cfg.validate(&ps)
			got := ""
			for _, p := range ps {
				got += p.Field + " " + p.Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
