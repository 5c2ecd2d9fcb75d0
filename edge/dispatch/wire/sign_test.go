package wire

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"offsite/devices"
)

// example is the worked example of deploy/docs/platform.md.
func example() (Key, Request, time.Time, string) {
	body := []byte(`{"command":"c-1","status":"done"}`)
	key := Key{ID: "k-demo", Algorithm: AlgorithmHMACSHA256, Secret: []byte("0123456789abcdef0123456789abcdef")}
	return key, Request{
		Method: "POST", Path: "/v1/commands/c-1/result", Query: "b=2&a=%E4%B8%AD&a=1", Idempotency: "result:c-1",
		BodyHash: BodyHash(key.Algorithm, body),
	}, time.Date(2026, 3, 1, 4, 30, 0, 250e6, time.UTC), "00112233445566778899aabbccddeeff"
}

func TestSignatureIsTheWorkedExample(t *testing.T) {
	key, r, at, nonce := example()
	got, err := Sign(key, r, at, nonce)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join([]string{
		"OFFSITE-V1",
		"HMAC-SHA256",
		"POST",
		"/v1/commands/c-1/result",
		"a=1&a=%E4%B8%AD&b=2",
		"k-demo",
		"2026-03-01T12:30:00.250+08:00",
		"00112233445566778899aabbccddeeff",
		"result:c-1",
		r.BodyHash,
	}, "\n")
	mac := hmac.New(sha256.New, key.Secret)
	mac.Write([]byte(text))
	want := "OFFSITE-V1 alg=HMAC-SHA256, key=k-demo, time=2026-03-01T12:30:00.250+08:00, nonce=00112233445566778899aabbccddeeff, body=" +
		r.BodyHash + ", signature=" + hex.EncodeToString(mac.Sum(nil))
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	t.Log(got)
}

func TestVerify(t *testing.T) {
	tests := []struct {
		name   string
		change func(k *Key, r *Request)
		header func(string) string
		want   string
	}{
		{"untouched", nil, nil, ""},
		{"query in another order", func(_ *Key, r *Request) { r.Query = "a=1&b=2&a=%e4%b8%ad" }, nil, ""},
		{"method", func(_ *Key, r *Request) { r.Method = "PUT" }, nil, "bad_signature"},
		{"path", func(_ *Key, r *Request) { r.Path += "/" }, nil, "bad_signature"},
		{"query", func(_ *Key, r *Request) { r.Query += "&c=3" }, nil, "bad_signature"},
		{"query that cannot be read", func(_ *Key, r *Request) { r.Query = "a;b=%zz" }, nil, "bad_query"},
		{"idempotency key", func(_ *Key, r *Request) { r.Idempotency = "x" }, nil, "bad_signature"},
		{"body", func(_ *Key, r *Request) { r.BodyHash = BodyHash(AlgorithmHMACSHA256, []byte("x")) }, nil, "body_changed"},
		{"secret", func(k *Key, _ *Request) { k.Secret = []byte("another secret, just as long....") }, nil, "bad_signature"},
		{"key id", func(k *Key, _ *Request) { k.ID = "k-other" }, nil, "bad_signature"},
		{"algorithm of the key", func(k *Key, _ *Request) { k.Algorithm = AlgorithmHMACSM3 }, nil, "bad_signature"},
		{"time", nil, func(s string) string { return strings.Replace(s, "12:30:00.250", "12:30:00.251", 1) }, "bad_signature"},
		{"same time written otherwise", nil, func(s string) string { return strings.Replace(s, ".250+08:00", ".25+08:00", 1) }, "bad_signature"},
		{"nonce", nil, func(s string) string { return strings.Replace(s, "nonce=00", "nonce=01", 1) }, "bad_signature"},
	}
	for _, alg := range []Algorithm{AlgorithmHMACSHA256, AlgorithmHMACSM3} {
		for _, tt := range tests {
			t.Run(string(alg)+"/"+tt.name, func(t *testing.T) {
				key, r, at, nonce := example()
				if key.Algorithm = alg; tt.name == "algorithm of the key" && alg == AlgorithmHMACSM3 {
					t.Skip("is the key's own")
				}
				r.BodyHash = BodyHash(alg, []byte("{}"))
				header, err := Sign(key, r, at, nonce)
				if err != nil {
					t.Fatal(err)
				}
				if tt.header != nil {
					header = tt.header(header)
				}
				if tt.change != nil {
					tt.change(&key, &r)
				}
				s, err := ParseSignature(header)
				if err != nil {
					t.Fatal(err)
				}
				if got := code(s.Verify(key, r)); got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestFresh(t *testing.T) {
	s := Signature{Time: time.Unix(1_800_000_000, 0)}
	for _, tt := range []struct {
		name string
		off  time.Duration
		want string
	}{
		{"now", 0, ""},
		{"five minutes old", Window, ""},
		{"older", Window + time.Millisecond, "time_outside_window"},
		{"five minutes ahead", -Window, ""},
		{"further ahead", -Window - time.Millisecond, "time_outside_window"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := code(s.Fresh(s.Time.Add(tt.off))); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestParseSignatureRefuses(t *testing.T) {
	key, r, at, nonce := example()
	good, err := Sign(key, r, at, nonce)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, header string }{
		{"nothing", ""},
		{"another scheme", strings.Replace(good, "OFFSITE-V1", "Bearer", 1)},
		{"a field twice", good + ", nonce=" + nonce},
		{"a field too many", good + ", x=1"},
		{"a field too few", good[:strings.LastIndex(good, ",")]},
		{"unknown algorithm", strings.Replace(good, "HMAC-SHA256", "none", 1)},
		{"short nonce", strings.Replace(good, nonce, "1", 1)},
		{"time without zone", strings.Replace(good, "+08:00", "", 1)},
		{"upper-case hash", strings.Replace(good, r.BodyHash, strings.ToUpper(r.BodyHash), 1)},
		{"short signature", good[:len(good)-2]},
		{"endless", good + strings.Repeat(" ", 2000)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := ParseSignature(tt.header); code(err) != "bad_signature_header" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func FuzzParseSignature(f *testing.F) {
	key, r, at, nonce := example()
	good, err := Sign(key, r, at, nonce)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add("OFFSITE-V1 alg=,key=,time=,nonce=,body=,signature=")
	f.Add("OFFSITE-V1 ,,,,,=====")
	f.Fuzz(func(t *testing.T, header string) {
		s, err := ParseSignature(header)
		if err != nil {
			return
		}
		if s.Verify(key, r) == nil && header != good {
			// only spaces around fields and their order may differ
			again, err := Sign(key, r, s.Time, s.Nonce)
			if err != nil || len(again) != len(strings.Join(strings.Fields(header), " ")) && !strings.Contains(again, hex.EncodeToString(s.mac)) {
				t.Errorf("%q verifies as well", header)
			}
		}
	})
}

// code is the code of a Problem, "" of nil.
func code(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}
