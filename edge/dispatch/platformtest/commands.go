package platformtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
)

// queue holds the commands of one gateway.
type queue struct {
	key      wire.Key // signs commands
	commands []*command
	raw      []wire.SignedCommand // handed over once, as they are
	wake     chan struct{}        // closed and made anew when something was put
}

// command is one command until the end of the platform.
type command struct {
	id        string
	body      []byte
	delivered time.Time
	results   []wire.Result
	done      chan struct{} // closed at the first result
}

// queue gives a gateway's queue. mu is held.
func (p *Platform) queue(gateway string) *queue {
	q := p.queues[gateway]
	if q == nil {
		q = &queue{wake: make(chan struct{})}
		p.queues[gateway] = q
	}
	return q
}

func (q *queue) find(id string) *command {
	for _, c := range q.commands {
		if c.id == id {
			return c
		}
	}
	return nil
}

func (q *queue) answer(r wire.Result) {
	c := q.find(r.Command)
	if c == nil {
		return // of an earlier life of the platform
	}
	c.results = append(c.results, r)
	if len(c.results) == 1 {
		close(c.done)
	}
}

func (q *queue) rouse() {
	close(q.wake)
	q.wake = make(chan struct{})
}

// Command hands c to its gateway (the only one, if c names none) and waits for
// the result. An empty id is filled in. Empty arguments become {}.
func (p *Platform) Command(ctx context.Context, c wire.Command) (wire.Result, error) {
	queued, err := p.put(&c)
	if err != nil {
		return wire.Result{}, err
	}
	select {
	case <-queued.done:
	case <-ctx.Done():
		return wire.Result{}, fmt.Errorf("command %s: %w", c.ID, context.Cause(ctx))
	case <-p.closing:
		return wire.Result{}, errClosed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return queued.results[0], nil
}

var errClosed = errors.New("the platform is closed")

func (p *Platform) put(c *wire.Command) (*command, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fill(c); err != nil {
		return nil, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	queued := &command{id: c.ID, body: body, done: make(chan struct{})}
	q := p.queue(c.Gateway)
	if q.find(c.ID) != nil {
		return nil, fmt.Errorf("command %s was issued before", c.ID)
	}
	q.commands = append(q.commands, queued)
	q.rouse()
	return queued, nil
}

// fill completes c. mu is held.
func (p *Platform) fill(c *wire.Command) error {
	if c.Gateway == "" {
		if len(p.state.gateways) == 0 {
			return errors.New("no gateway is enrolled")
		}
		c.Gateway = p.state.gateways[len(p.state.gateways)-1]
	}
	if c.ID == "" {
		c.ID = "cmd-" + random(8)
	}
	if len(c.Args) == 0 {
		c.Args = json.RawMessage("{}")
	}
	return nil
}

// SignCommand signs the request by which c would be sent to its gateway, with
// the time and nonce given, as a command of the long poll.
func (p *Platform) SignCommand(c wire.Command, at time.Time, nonce string) (wire.SignedCommand, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fill(&c); err != nil {
		return wire.SignedCommand{}, err
	}
	body, err := json.Marshal(c)
	if err != nil {
		return wire.SignedCommand{}, err
	}
	return sign(p.queue(c.Gateway).key, body, at, nonce)
}

// SignForeign signs, by the key of c's own gateway, a command that names another.
func (p *Platform) SignForeign(c wire.Command, named string, at time.Time, nonce string) (wire.SignedCommand, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.fill(&c); err != nil {
		return wire.SignedCommand{}, err
	}
	key := p.queue(c.Gateway).key
	c.Gateway = named
	body, err := json.Marshal(c)
	if err != nil {
		return wire.SignedCommand{}, err
	}
	return sign(key, body, at, nonce)
}

func sign(key wire.Key, body []byte, at time.Time, nonce string) (wire.SignedCommand, error) {
	auth, err := wire.Sign(key, wire.Request{
		Method: http.MethodPost, Path: dispatch.CommandPath, BodyHash: wire.BodyHash(key.Algorithm, body),
	}, at, nonce)
	return wire.SignedCommand{Authorization: auth, Body: string(body)}, err
}

// Offer hands s over in the next poll of the newest gateway, as it is and once.
// Its results can be seen by [Platform.Results]. Without a gateway it does nothing.
func (p *Platform) Offer(s wire.SignedCommand) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.state.gateways) == 0 {
		return
	}
	var c wire.Command
	_ = json.Unmarshal([]byte(s.Body), &c) // a broken one has no results
	q := p.queue(p.state.gateways[len(p.state.gateways)-1])
	if q.find(c.ID) == nil {
		q.commands = append(q.commands, &command{id: c.ID, body: []byte(s.Body), delivered: p.cfg.Now().Add(100 * 365 * 24 * time.Hour), done: make(chan struct{})})
	}
	q.raw = append(q.raw, s)
	q.rouse()
}

// Again hands a command over once more, answered or not.
func (p *Platform) Again(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queues {
		c := q.find(id)
		if c == nil {
			continue
		}
		if s, err := sign(q.key, c.body, p.cfg.Now(), wire.NewNonce()); err == nil {
			q.raw = append(q.raw, s)
			q.rouse()
		}
	}
}

// Results gives every result that was accepted for a command.
func (p *Platform) Results(id string) []wire.Result {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range p.queues {
		if c := q.find(id); c != nil {
			return append([]wire.Result(nil), c.results...)
		}
	}
	return nil
}

// poll answers a long poll.
func (p *Platform) poll(ctx context.Context, r request) answer {
	wait, _ := strconv.Atoi(r.http.URL.Query().Get("wait")) // the document has checked it
	end := time.NewTimer(time.Duration(wait) * time.Second)
	defer end.Stop()
	for {
		commands, wake, again := p.ready(r.gateway)
		if len(commands) > 0 {
			return ok(wire.CommandPoll{Commands: commands})
		}
		var due <-chan time.Time
		if again > 0 {
			due = time.After(again)
		}
		select {
		case <-wake:
		case <-due:
		case <-end.C:
			return ok(wire.CommandPoll{Commands: []wire.SignedCommand{}})
		case <-ctx.Done():
			return ok(wire.CommandPoll{Commands: []wire.SignedCommand{}})
		case <-p.closing:
			return refuse(http.StatusServiceUnavailable, "closing", "平台正在停止", "the platform is stopping")
		}
	}
}

// ready gives the commands to hand over now, what wakes when there are more,
// and after how long an unanswered one is due again.
func (p *Platform) ready(gateway string) (out []wire.SignedCommand, wake <-chan struct{}, again time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queue(gateway)
	out, q.raw = q.raw, nil
	now := p.cfg.Now()
	for _, c := range q.commands {
		if len(c.results) > 0 {
			continue
		}
		if rest := c.delivered.Add(p.cfg.Redeliver).Sub(now); rest > 0 {
			if again == 0 || rest < again {
				again = rest
			}
			continue
		}
		if s, err := sign(q.key, c.body, now, wire.NewNonce()); err == nil {
			c.delivered = now
			out = append(out, s)
			if p.doubled() {
				out = append(out, s)
			}
		}
	}
	return out, q.wake, again
}

// Push sends c straight to the gateway at base, such as
// "https://192.0.2.7:8443", and gives the answer's status and result.
func (p *Platform) Push(ctx context.Context, client *http.Client, base string, c wire.Command) (int, wire.Result, error) {
	p.mu.Lock()
	err := p.fill(&c)
	p.mu.Unlock()
	if err != nil {
		return 0, wire.Result{}, err
	}
	s, err := p.SignCommand(c, p.cfg.Now(), wire.NewNonce())
	if err != nil {
		return 0, wire.Result{}, err
	}
	return p.PushSigned(ctx, client, base, s)
}

// PushSigned sends a command that was signed before.
func (p *Platform) PushSigned(ctx context.Context, client *http.Client, base string, s wire.SignedCommand) (int, wire.Result, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+dispatch.CommandPath, bytes.NewReader([]byte(s.Body)))
	if err != nil {
		return 0, wire.Result{}, err
	}
	req.Header.Set("Authorization", s.Authorization)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, wire.Result{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return resp.StatusCode, wire.Result{}, err
	}
	var result wire.Result
	if resp.StatusCode >= 300 {
		err = json.Unmarshal(raw, &result.Problem)
		return resp.StatusCode, result, err
	}
	err = json.Unmarshal(raw, &result)
	return resp.StatusCode, result, err
}

func withTimeout(r *http.Request, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), d)
}
