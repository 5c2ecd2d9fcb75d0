package dispatch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptrace"
	"path"
	"sync"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 4 << 20

// transport keeps its connections. HTTP/1.1 alone, so that one hanging answer
// holds up nothing else.
func transport(cfg Config, header time.Duration) *http.Transport {
	return &http.Transport{
		DialContext:           cfg.Dial,
		TLSClientConfig:       cfg.TLS,
		TLSNextProto:          map[string]func(string, *tls.Conn) http.RoundTripper{},
		TLSHandshakeTimeout:   cfg.Timeouts.TLS,
		ResponseHeaderTimeout: header,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   32,
		IdleConnTimeout:       55 * time.Second,
		DisableCompression:    true,

		MaxResponseHeaderBytes: 64 << 10,
	}
}

func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// call is one request.
type call struct {
	method, path string
	query        string
	key          string // Idempotency-Key
	body         []byte
	open         func() (Blob, error) // instead of body
	hash         string               // SHA-256 of what open gives
	into         any
	poll         bool
}

// call does one request and sorts its answer. A connection that the platform
// had closed while it was idle is tried again at once, and a key that it does
// not know yet gives way to the one before.
func (c *Client) call(ctx context.Context, id *identity, k call) Answer {
	if id == nil {
		return Answer{Class: Pause, Problem: notEnrolled}
	}
	keys := id.Up
	for attempt := 0; ; attempt++ {
		var key *wire.Key
		if len(keys) > 0 {
			key = &keys[0]
		}
		a, reused := c.once(ctx, id, key, k)
		switch {
		case a.Status == 0 && a.Class == Retry && a.Problem.Code == codeUnreachable && reused && attempt == 0 && ctx.Err() == nil:
		case a.Status == http.StatusUnauthorized && a.Problem.Code == "platform_unknown_key" && len(keys) > 1:
			keys = keys[1:]
		case a.Status == http.StatusUnauthorized && a.Problem.Code == "platform_time_outside_window" && attempt == 0:
			// the answer's Date has just set our clock right
		default:
			return a
		}
	}
}

// once sends k signed by key, or unsigned if there is none. reused says that
// it went by a connection that had stood idle.
func (c *Client) once(ctx context.Context, id *identity, key *wire.Key, k call) (a Answer, reused bool) {
	limit := c.cfg.Timeouts.Call
	blob := Blob{Size: int64(len(k.body)), MediaType: "application/json"}
	if k.open != nil {
		var err error
		if blob, err = k.open(); err != nil {
			return Answer{Class: Refused, Problem: unreadable(err)}, false
		}
		limit += time.Duration(blob.Size/blobRate) * time.Second
	} else {
		blob.ReadCloser = io.NopCloser(bytes.NewReader(k.body))
	}
	if k.poll {
		limit += c.cfg.PollWait
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused && i.WasIdle }})
	req, err := c.request(ctx, id, key, k, blob)
	if err != nil {
		_ = blob.Close()
		return Answer{Class: Refused, Problem: unreadable(err)}, false
	}
	client := c.http
	if k.poll {
		client = c.poll
	}
	sent := c.cfg.Now()
	resp, err := client.Do(req)
	if err != nil {
		return Answer{Class: Retry, Problem: unreachable(err)}, reused
	}
	defer resp.Body.Close()
	got := c.cfg.Now()
	body, readErr := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	c.clock.date(resp.Header.Get("Date"), sent, got)
	return classify(resp.StatusCode, resp.Header, body, readErr, k.into, got), reused
}

// request builds k anew for each attempt, with a nonce of its own. It has no
// GetBody: net/http would otherwise repeat it by itself with the same nonce.
func (c *Client) request(ctx context.Context, id *identity, key *wire.Key, k call, blob Blob) (*http.Request, error) {
	u := *id.Platform
	u.Path, u.RawPath = path.Join("/", u.Path, k.path), ""
	u.RawQuery = k.query
	var body io.Reader = blob
	if blob.Slow != nil {
		body = blob.Slow(blob.ReadCloser)
	}
	req, err := http.NewRequestWithContext(ctx, k.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	req.ContentLength = blob.Size
	if blob.Size == 0 {
		req.Body = emptyBody{}
	}
	if k.method != http.MethodGet {
		kind := blob.MediaType
		if kind == "" {
			kind = "application/octet-stream"
		}
		req.Header.Set("Content-Type", kind)
		req.Header.Set("Idempotency-Key", k.key)
	}
	if k.open != nil && blob.Size > 64<<10 {
		req.Header.Set("Expect", "100-continue") // a platform that has it spares us the transfer
	}
	req.Header.Set("Accept", "application/json, application/problem+json")
	req.Header.Set("User-Agent", "offsite/"+c.cfg.Version)
	if key == nil {
		return req, nil
	}
	hash, err := c.bodyHash(key.Algorithm, k)
	if err != nil {
		return nil, err
	}
	auth, err := wire.Sign(*key, wire.Request{Method: k.method, Path: u.EscapedPath(), Query: k.query, Idempotency: k.key, BodyHash: hash}, c.corrected(), wire.NewNonce())
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", auth)
	return req, nil
}

// emptyBody keeps net/http from repeating a request without a body by itself.
type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }

func (c *Client) bodyHash(a wire.Algorithm, k call) (string, error) {
	if k.open == nil {
		return wire.BodyHash(a, k.body), nil
	}
	if a == wire.AlgorithmHMACSHA256 {
		return k.hash, nil
	}
	blob, err := k.open()
	if err != nil {
		return "", err
	}
	defer blob.Close()
	return wire.StreamHash(a, blob)
}

func unreadable(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "blob_unreadable", Cause: err,
		ZH: "要上报的文件无法读取，可能已损坏或被清理", EN: "the file to be sent cannot be read; it may be damaged or have been removed",
	}
}

// hashOf is the SHA-256 of body in hex.
func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// clock is what is known of the platform's time.
type clock struct {
	mu     sync.Mutex
	known  bool
	offset time.Duration // platform minus gateway
}

// date learns from a Date header, which tells whole seconds: only a difference
// that cannot be its coarseness moves the offset.
func (k *clock) date(header string, sent, got time.Time) {
	t, err := http.ParseTime(header)
	if err != nil {
		return
	}
	half := got.Sub(sent) / 2
	offset := t.Add(500 * time.Millisecond).Sub(sent.Add(half))
	k.mu.Lock()
	defer k.mu.Unlock()
	if d := offset - k.offset; !k.known || d > 2*time.Second+half || d < -2*time.Second-half {
		if !k.known && offset.Abs() < time.Second+half {
			offset = 0
		}
		k.known, k.offset = true, offset
	}
}

// exact learns from a time in an answer's body.
func (k *clock) exact(t, sent, got time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.known, k.offset = true, t.Sub(sent.Add(got.Sub(sent)/2))
}

func (k *clock) read() (time.Duration, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.offset, k.known
}

// corrected is the platform's time as far as it is known.
func (c *Client) corrected() time.Time {
	offset, _ := c.clock.read()
	return c.cfg.Now().Add(offset)
}

// Clock says how the gateway's clock stands to the platform's; it belongs in
// each event.
func (c *Client) Clock() wire.Clock {
	offset, known := c.clock.read()
	k := wire.Clock{State: wire.ClockStateUnknown, OffsetMS: offset.Milliseconds()}
	switch {
	case !known:
	case offset.Abs() > 2*time.Second:
		k.State, k.Source = wire.ClockStateOff, "platform"
	default:
		k.State, k.Source = wire.ClockStateSynced, "platform"
	}
	return k
}
