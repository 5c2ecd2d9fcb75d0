package settings_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/cmd/offsite/settings"
	"offsite/devices"
	"offsite/edge"
)

func TestEveryFaultIsToldAtOnceWithItsLine(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string // field and line
	}{
		{"nothing", "", nil},
		{"good", "state: /tmp/x\nclock:\n  tolerance: 1m\nreadings_log: {backlog: 1GiB}\nhistory:\n  retention: 90d\n", nil},
		{"unknown and wrong together", "stat: x\nbroker:\n  listen: nowhere\n  port: 1\nclock:\n  tolerance: soon\nhistory: 3\n", []string{
			"stat: line 1: no such key, did you mean state? here stand: broker, clock, history, hj212, platform, readings_log, recording, state, video",
			`broker.listen: line 3: write an address like "127.0.0.1:1883"`,
			"broker.port: line 4: no such key; here stand: certificate, insecure, key, listen",
			`clock.tolerance: line 6: write a duration as "10s", "5m" or "1h30m"`,
			"history: line 7: this key holds indented settings, not a value",
		}},
		{"wrong kind", "broker:\n  insecure: perhaps\n", []string{"broker.insecure: line 2: wrong kind of value, want true or false"}},
		{"twice", "state: a\nclock: {tolerance: 1m}\nclock: {tolerance: 2m}\n", []string{"clock: line 3: the key stands on line 2 already; remove one"}},
		{"rule of a default", "history:\n  store: influx\n", []string{
			`history.influx.url: line 1: write an address like "http://127.0.0.1:8086"`,
			"history.influx.bucket: line 1: give a bucket (2.x) or a database (1.8)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := edge.Defaults()
			var got []string
			for _, p := range devices.AllProblems(settings.Read([]byte(tt.yaml), &cfg)) {
				got = append(got, p.Error())
				if p.ZH == "" {
					t.Errorf("%s has no Chinese", p.Code)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValuesAreRead(t *testing.T) {
	cfg := edge.Defaults()
	err := settings.Read([]byte("clock:\n  tolerance: 90s\nreadings_log:\n  backlog: 2GiB\nhistory:\n  influx:\n    token: \"abc\"\n"), &cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Clock.Tolerance.D() != 90*time.Second || cfg.Log.Backlog != 2<<30 || cfg.History.Influx.Token.Reveal() != "abc" {
		t.Errorf("read %+v", cfg)
	}
}

func TestBrokenLinesHideNoOtherFault(t *testing.T) {
	tests := []struct {
		name, yaml string
		want       []string
	}{
		{"bracket", "state: a\nbroker: [1,\n", []string{"line 2: the square bracket is not closed; write ]"}},
		{"tab and quote", "broker:\n\tlisten: a\nclock:\n  tolerance: \"5m\nhistory:\n  store: mysql\n", []string{
			"line 2: indent with blanks, not with a tab", "line 4: the double quote is not closed; close it", "history.store: line 6: the store is local or influx",
		}},
		{"no colon", "broker\nhistory:\n  store: mysql\n", []string{
			"line 1: put a colon and a blank between key and value", "history.store: line 3: the store is local or influx",
		}},
		{"what a broken line may have said is not missed", "history:\n  store: influx\n  influx:\n    url: \"http\n", []string{
			"line 4: the double quote is not closed; close it",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := edge.Defaults()
			var got []string
			for _, p := range devices.AllProblems(settings.Read([]byte(tt.yaml), &cfg)) {
				got = append(got, p.Error())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASlipIsToldWithTheKeyThatWasMeant(t *testing.T) {
	tests := []struct{ name, yaml, want string }{
		{"a letter too few", "stat: x", "did you mean state?"},
		{"a letter too many", "brokers: {}", "did you mean broker?"},
		{"neighbours exchanged", "clcok: {}", "did you mean clock?"},
		{"capital", "State: x", "did you mean state?"},
		{"another word", "mqtt: {}", "no such key; here stand"},
		{"short", "x: 1", "no such key; here stand"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := edge.Defaults()
			if err := settings.Read([]byte(tt.yaml), &cfg); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add("state: x\nbroker:\n  listen: a\n")
	f.Fuzz(func(t *testing.T, text string) {
		cfg := edge.Defaults()
		_ = settings.Read([]byte(text), &cfg)
	})
}
