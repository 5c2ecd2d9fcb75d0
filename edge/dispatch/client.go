package dispatch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/dispatch/wire"
)

// Client speaks with one platform for one gateway. Its methods may be called
// from many goroutines.
type Client struct {
	cfg   Config
	store *store
	http  *http.Client // requests that are answered at once
	poll  *http.Client // the long poll

	identity  atomic.Pointer[identity]
	clock     clock
	reports   reports
	enrolling sync.Mutex // one enrolment or rotation at a time

	wakeIdentity  chan struct{}
	wakeHeartbeat chan struct{}
	wakeResources chan struct{}
	wakeReadings  chan struct{}
	wakeResults   chan struct{}
	wakeFiles     chan struct{} // results that have files

	ledger   ledger
	refusals refusals
}

// Open loads the identity, the subscription and the ledger of commands. It
// dials nothing and starts no goroutine.
func Open(ctx context.Context, db *state.DB, cfg Config) (*Client, error) {
	cfg.setDefaults()
	if cfg.Auditor == nil {
		return nil, errors.New("dispatch: a client needs an auditor")
	}
	s, err := openStore(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	c := &Client{
		cfg: cfg, store: s,
		http: &http.Client{Transport: transport(cfg, cfg.Timeouts.Header), CheckRedirect: stay},
		poll: &http.Client{Transport: transport(cfg, cfg.PollWait+cfg.Timeouts.Header), CheckRedirect: stay},

		reports: reports{tell: cfg.Report, now: cfg.Now},
		ledger:  ledger{running: make(map[string]bool)},

		refusals: refusals{limit: rate.NewLimiter(1, 30)},
	}
	for _, wake := range []*chan struct{}{&c.wakeIdentity, &c.wakeHeartbeat, &c.wakeResources, &c.wakeReadings, &c.wakeResults, &c.wakeFiles} {
		*wake = make(chan struct{}, 1)
	}
	if err := c.loadIdentity(ctx); err != nil {
		return nil, fmt.Errorf("dispatch: %w", err)
	}
	return c, nil
}

// Close drops the idle connections. Call it after Run has returned.
func (c *Client) Close() {
	c.http.CloseIdleConnections()
	c.poll.CloseIdleConnections()
}

// PostEvent sends one Event message. body is its JSON, made once and never
// changed; key is its idempotency key.
func (c *Client) PostEvent(ctx context.Context, key string, body []byte) Answer {
	return c.post(ctx, "/v1/events", key, body)
}

// PostAct sends one Act.
func (c *Client) PostAct(ctx context.Context, key string, body []byte) Answer {
	return c.post(ctx, "/v1/acts", key, body)
}

// PostStreamEnd sends one StreamEnd.
func (c *Client) PostStreamEnd(ctx context.Context, key string, body []byte) Answer {
	return c.post(ctx, "/v1/streams", key, body)
}

func (c *Client) post(ctx context.Context, path, key string, body []byte) Answer {
	var receipt wire.Receipt
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: path, key: key, body: body, into: &receipt})
	if a.Class == Done && len(receipt.Refusals) > 0 { // of a message that is one record
		r := receipt.Refusals[0]
		a.Class, a.Problem = Refused, (&wire.ProblemBody{Status: a.Status, Code: r.Code, Title: r.Reason}).Problem()
	}
	c.reports.answer(PartMessages, a)
	return a
}

// PutBlob sends a file under its hash unless the platform has it. open is
// called for each attempt. A file that cannot be opened is Refused.
func (c *Client) PutBlob(ctx context.Context, sha256 string, open func() (Blob, error)) Answer {
	a := c.putBlob(ctx, sha256, open)
	c.reports.answer(PartBlobs, a)
	return a
}

func (c *Client) putBlob(ctx context.Context, sum string, open func() (Blob, error)) Answer {
	var receipt wire.BlobReceipt
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPut, path: "/v1/blobs/" + sum, key: sum, hash: sum, open: open, into: &receipt})
	if a.Class == Done && a.Status == http.StatusOK && receipt.SHA256 != sum {
		return Answer{Class: Retry, Status: a.Status, Problem: &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "platform_garbled",
			ZH: "监管平台确认的文件散列不符，将自动重发", EN: "the platform acknowledged another hash; the file will be sent again",
		}}
	}
	return a
}

// reports remembers how each part fares, so that only changes are told.
type reports struct {
	tell func(Report)
	now  func() time.Time
	mu   sync.Mutex
	code map[string]string // problem code of each failing part
}

// answer tells a part's change between working and failing. A refused message
// says nothing about the platform.
func (r *reports) answer(part string, a Answer) {
	if a.Class == Refused || (a.Problem != nil && errors.Is(a.Problem, context.Canceled)) {
		return
	}
	p := a.Problem
	if a.Class == Done {
		p = nil
	}
	r.problem(part, p)
}

func (r *reports) problem(part string, p *devices.Problem) {
	code := ""
	if p != nil {
		code = p.Code
	}
	r.mu.Lock()
	before, told := r.code[part]
	if r.code == nil {
		r.code = make(map[string]string)
	}
	r.code[part] = code
	r.mu.Unlock()
	if before == code && told {
		return
	}
	r.tell(Report{Part: part, At: r.now(), Problem: p})
}

// poke wakes whoever waits at wake.
func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
