package devices

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// redacted stands for a secret wherever one could be seen.
const redacted = "[redacted]"

// Secret is a password or key. Its text, JSON and log forms are "[redacted]";
// only [Secret.Reveal] shows it.
type Secret string

// Reveal gives the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Kept says that s is what a reader of the API was shown in place of a secret:
// who sends it back means the one already stored.
func (s Secret) Kept() bool { return s == redacted }

func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString keeps %#v from showing the secret.
func (s Secret) GoString() string { return s.String() }

// LogValue keeps slog from showing the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes "" or "[redacted]".
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// Scrub replaces every occurrence of the secrets in text by "[redacted]".
func Scrub(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if len(s) >= 4 {
			text = strings.ReplaceAll(text, string(s), redacted)
		}
	}
	return text
}

// Duration is a time.Duration that is written "1m30s" in JSON and YAML.
type Duration time.Duration

// D gives d as the standard library's type.
func (d Duration) D() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText writes "1m30s".
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads "1m30s", or whole days as "90d"; the empty text is zero.
func (d *Duration) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = 0
		return nil
	}
	if days, ok := bytes.CutSuffix(text, []byte("d")); ok {
		if n, err := strconv.ParseUint(string(days), 10, 16); err == nil {
			*d = Duration(time.Duration(n) * 24 * time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return Invalid("", "bad_duration", "时长须写作 10s、5m、1h30m", `write a duration as "10s", "5m" or "1h30m"`)
	}
	*d = Duration(v)
	return nil
}
