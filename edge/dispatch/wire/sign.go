package wire

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/emmansun/gmsm/sm3"

	"offsite/devices"
)

// scheme opens the Authorization header and the signed text.
const scheme = "OFFSITE-V1"

// Window is how far the time of a signature may lie from the true time.
const Window = 5 * time.Minute

// Request is what a signature covers, besides key, time and nonce.
type Request struct {
	Method      string
	Path        string // as sent, percent-encoded
	Query       string // as sent; it is sorted for signing
	Idempotency string // Idempotency-Key; empty if there is none
	BodyHash    string // [BodyHash] of the body
}

// Signature is the content of an Authorization header of this contract.
type Signature struct {
	Algorithm Algorithm
	KeyID     string
	Time      time.Time
	Nonce     string
	BodyHash  string

	stamp string // Time as it was written
	mac   []byte
}

func newHash(a Algorithm) func() hash.Hash {
	switch a {
	case AlgorithmHMACSHA256:
		return sha256.New
	case AlgorithmHMACSM3:
		return sm3.New
	default:
		return nil
	}
}

// Usable says whether requests can be signed with k.
func (k *Key) Usable() bool {
	return keyIDForm.MatchString(k.ID) && newHash(k.Algorithm) != nil && len(k.Secret) >= 16
}

// BodyHash is the hash of body that goes with an algorithm, in lower-case hex;
// empty for an algorithm that is not known.
func BodyHash(a Algorithm, body []byte) string {
	h := newHash(a)
	if h == nil {
		return ""
	}
	sum := h()
	sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// StreamHash is the [BodyHash] of a body that is read, of an algorithm that is known.
func StreamHash(a Algorithm, body io.Reader) (string, error) {
	h := newHash(a)()
	if _, err := io.Copy(h, body); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// NewNonce gives 32 random hex digits.
func NewNonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return hex.EncodeToString(b[:])
}

// Sign gives the value of the Authorization header.
func Sign(key Key, r Request, at time.Time, nonce string) (string, error) {
	s := Signature{Algorithm: key.Algorithm, KeyID: key.ID, Nonce: nonce, BodyHash: r.BodyHash, stamp: At(at).String()}
	if newHash(key.Algorithm) == nil {
		return "", Refuse("unknown_algorithm", "不支持的签名算法 "+string(key.Algorithm), "no such signature algorithm: "+string(key.Algorithm))
	}
	query, err := sortedQuery(r.Query)
	if err != nil {
		return "", err
	}
	mac := s.sum(key, r, query)
	return scheme + " alg=" + string(s.Algorithm) + ", key=" + s.KeyID + ", time=" + s.stamp + ", nonce=" + nonce +
		", body=" + s.BodyHash + ", signature=" + hex.EncodeToString(mac), nil
}

// sum is the HMAC over the ten lines that openapi.yaml lays down.
func (s *Signature) sum(key Key, r Request, query string) []byte {
	mac := hmac.New(newHash(key.Algorithm), key.Secret)
	mac.Write([]byte(strings.Join([]string{
		scheme, string(s.Algorithm), r.Method, r.Path, query, s.KeyID, s.stamp, s.Nonce, r.Idempotency, s.BodyHash,
	}, "\n")))
	return mac.Sum(nil)
}

// sortedQuery orders raw by name and then value and encodes it as a form.
func sortedQuery(raw string) (string, error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", Refuse("bad_query", "查询串无法解析", "the query cannot be parsed")
	}
	for _, v := range values {
		slices.Sort(v)
	}
	return values.Encode(), nil
}

var (
	nonceForm = regexp.MustCompile(`^[0-9a-zA-Z_-]{16,64}$`)
	keyIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	hashForm  = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// ParseSignature reads an Authorization header. It checks the form only.
func ParseSignature(header string) (Signature, error) {
	fail := func(zh, en string) (Signature, error) {
		return Signature{}, Refuse("bad_signature_header", "签名头格式不符："+zh, "the signature header is malformed: "+en)
	}
	rest, ok := strings.CutPrefix(header, scheme+" ")
	if !ok || len(header) > 1024 {
		return fail("须以 "+scheme+" 开头", "want "+scheme)
	}
	fields := make(map[string]string, 6)
	for part := range strings.SplitSeq(rest, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " "), "=")
		if _, twice := fields[name]; !ok || twice {
			return fail(`每项须为 "name=value"，且只出现一次`, `want each "name=value" once`)
		}
		fields[name] = value
	}
	s := Signature{
		Algorithm: Algorithm(fields["alg"]), KeyID: fields["key"], Nonce: fields["nonce"],
		BodyHash: fields["body"], stamp: fields["time"],
	}
	at, err := time.Parse(time.RFC3339, s.stamp)
	mac, macErr := hex.DecodeString(fields["signature"])
	switch {
	case len(fields) != 6:
		return fail("须有 alg、key、time、nonce、body、signature", "want alg, key, time, nonce, body, signature")
	case newHash(s.Algorithm) == nil:
		return fail("alg 不符", "alg is wrong")
	case !keyIDForm.MatchString(s.KeyID):
		return fail("key 不符", "key is wrong")
	case err != nil:
		return fail("time 不符", "time is wrong")
	case !nonceForm.MatchString(s.Nonce):
		return fail("nonce 不符", "nonce is wrong")
	case !hashForm.MatchString(s.BodyHash):
		return fail("body 不符", "body is wrong")
	case macErr != nil || len(mac) != 32:
		return fail("signature 不符", "signature is wrong")
	}
	s.Time, s.mac = at, mac
	return s, nil
}

// Verify says whether s signs r by key. r.BodyHash is that of the body which
// arrived. The time is the caller's to judge, by [Signature.Fresh].
func (s *Signature) Verify(key Key, r Request) error {
	bad := Refuse("bad_signature", "签名不符，请核对密钥", "the signature does not fit; compare the keys")
	if key.ID != s.KeyID || key.Algorithm != s.Algorithm {
		return bad
	}
	query, err := sortedQuery(r.Query)
	if err != nil {
		return err
	}
	if !hmac.Equal(s.sum(key, r, query), s.mac) {
		return bad
	}
	if s.BodyHash != r.BodyHash {
		return Refuse("body_changed", "正文与签名不符", "the body is not the one that was signed")
	}
	return nil
}

// Fresh says whether s was made within Window of now.
func (s *Signature) Fresh(now time.Time) error {
	if d := s.Time.Sub(now); d > Window || d < -Window {
		return Refuse("time_outside_window", "签名时间超出允许的 5 分钟，请校准时钟", "the signature's time is more than 5 minutes away; set the clock")
	}
	return nil
}

// Refuse says why a request or a command is not believed.
func Refuse(code, zh, en string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrInvalid, Code: code, ZH: zh, EN: en}
}
