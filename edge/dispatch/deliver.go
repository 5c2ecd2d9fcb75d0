package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// Receive takes a command that the platform has sent to the gateway's own
// POST /api/v1/dispatch/commands, and gives status and body of the answer: 200
// and the Result; 202 where the result follows on its own because its blobs
// could not be delivered yet, or the command is still being executed; or a
// problem body. path and query are as they came, percent-encoded; from is the
// sender's address. site is what Run was given.
func (c *Client) Receive(ctx context.Context, site Site, from, method, path, query string, header http.Header, body []byte) (int, []byte) {
	r := wire.Request{Method: method, Path: path, Query: query, Idempotency: header.Get("Idempotency-Key")}
	var status int
	var reply []byte
	err := c.handle(ctx, site, from, r, header.Get("Authorization"), body, func(result wire.Result, _ bool) {
		status, reply = c.replyNow(ctx, site, result)
	})
	switch {
	case errors.Is(err, errRunning):
		var cmd wire.Command
		_ = json.Unmarshal(body, &cmd) // it was read before
		now := wire.At(c.cfg.Now())
		return encode(http.StatusAccepted, wire.Result{Command: cmd.ID, Status: wire.ResultStatusAccepted, StartedAt: now, FinishedAt: now})
	case err != nil:
		status = receiveStatus(err)
		return encode(status, wire.Body(devices.AllProblems(err)[0], status))
	}
	return status, reply
}

// replyNow puts the result's blobs and then gives the result itself; where that
// fails the result follows by the loop of results.
func (c *Client) replyNow(ctx context.Context, site Site, result wire.Result) (int, []byte) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeouts.Header)
	defer cancel()
	if a := c.sendBlobs(ctx, site, result); a.Class != Done {
		result.Status = wire.ResultStatusAccepted
		result.Data, result.Blobs = nil, nil
		return encode(http.StatusAccepted, result)
	}
	if err := c.store.resultSent(ctx, result.Command); err != nil {
		c.cfg.Log.WarnContext(ctx, "result will be told twice", "event", result.Command, "err", err)
	}
	return encode(http.StatusOK, result)
}

// receiveStatus tells a refusal's status: 401 for what the signature's maker
// must mend.
func receiveStatus(err error) int {
	switch p := devices.AllProblems(err)[0]; p.Code {
	case "bad_signature_header", "unknown_key", "bad_signature", "body_changed", "bad_query", "time_outside_window", "nonce_replayed":
		return http.StatusUnauthorized
	case "command_too_long":
		return http.StatusRequestEntityTooLarge
	default:
		return statusOf(p)
	}
}

func encode(status int, v any) (int, []byte) {
	raw, err := json.Marshal(v)
	if err != nil {
		return http.StatusInternalServerError, []byte(`{"status":500,"code":"internal","title":"internal fault"}`)
	}
	return status, raw
}

// sendBlobs puts the files that a result names.
func (c *Client) sendBlobs(ctx context.Context, site Site, result wire.Result) Answer {
	for _, sum := range result.Blobs {
		if a := c.putBlob(ctx, sum, func() (Blob, error) { return site.Blob(sum) }); a.Class != Done {
			return a
		}
	}
	return Answer{Class: Done}
}

// pollOnce asks the platform for commands and starts what it hands over. A
// platform that does not wait is not asked more often than once a second.
func (c *Client) pollOnce(ctx context.Context, handle func(wire.SignedCommand)) (time.Duration, Answer) {
	id := c.identity.Load()
	if id == nil {
		return 0, Answer{Class: Pause, Problem: notEnrolled}
	}
	began := time.Now()
	var got wire.CommandPoll
	a := c.call(ctx, id, call{
		method: http.MethodGet, path: "/v1/gateways/" + id.Gateway + "/commands",
		query: fmt.Sprintf("wait=%d", int(c.cfg.PollWait/time.Second)), into: &got, poll: true,
	})
	if a.Class != Done {
		return 0, a
	}
	for _, s := range got.Commands {
		handle(s)
	}
	if len(got.Commands) > 0 {
		return 20 * time.Millisecond, a
	}
	return max(0, time.Second-time.Since(began)), a
}

// polled does one command of the long poll. What was refused before it could
// be taken is told to the platform at once, and only once: it is not in the
// ledger, and the platform may send it again as it should have been.
func (c *Client) polled(ctx context.Context, site Site, s wire.SignedCommand) {
	r := wire.Request{Method: http.MethodPost, Path: CommandPath}
	err := c.handle(ctx, site, "poll", r, s.Authorization, []byte(s.Body), func(result wire.Result, repeated bool) {
		if !repeated {
			return // it waits in the ledger to be sent
		}
		if err := c.store.again(ctx, result.Command); err != nil {
			c.cfg.Log.WarnContext(ctx, "result waits for the next delivery of its command", "event", result.Command, "err", err)
		}
	})
	if err != nil && !errors.Is(err, errRunning) {
		c.tellRefused(ctx, s, err)
	}
}

func (c *Client) tellRefused(ctx context.Context, s wire.SignedCommand, err error) {
	p := devices.AllProblems(err)[0]
	var cmd wire.Command
	if json.Unmarshal([]byte(s.Body), &cmd) != nil || !messageIDForm.MatchString(cmd.ID) || errors.Is(p, devices.ErrUnavailable) {
		return // it comes again
	}
	now := wire.At(c.cfg.Now())
	_, raw := encode(0, wire.Result{Command: cmd.ID, Status: wire.ResultStatusRefused, StartedAt: now, FinishedAt: now, Problem: *wire.Body(p, receiveStatus(p))})
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: "/v1/commands/" + cmd.ID + "/result", key: "refusal:" + wire.NewNonce(), body: raw})
	if a.Class != Done {
		c.cfg.Log.WarnContext(ctx, "refusal of a command was not told", "event", cmd.ID, "err", a.Problem)
	}
}

// answered has results sent.
func (c *Client) answered() {
	poke(c.wakeResults)
	poke(c.wakeFiles)
}

// deliver sends results and acts that wait, oldest first: those that have files to
// be put first, or those that have none.
func (c *Client) deliver(ctx context.Context, site Site, files bool) Answer {
	rows, err := c.store.unsent(ctx, files, 16)
	if err != nil {
		return local(err)
	}
	sent := 0
	for _, r := range rows {
		if !c.ledger.enter(r.ID) {
			continue // being answered by another road; its end wakes us
		}
		if files && len(rows) > 1 {
			poke(c.wakeFiles) // another one takes the next
		}
		a := c.deliverOne(ctx, site, r)
		c.ledger.leave(r.ID)
		if a.Class == Retry || a.Class == Pause {
			return a
		}
		sent++
	}
	if sent > 0 {
		c.answered()
	}
	return Answer{Class: Done}
}

func (c *Client) deliverOne(ctx context.Context, site Site, r row) Answer {
	if !r.ResultSent {
		if a := c.deliverResult(ctx, site, r); a.Class == Retry || a.Class == Pause {
			return a
		}
		if err := c.store.resultSent(ctx, r.ID); err != nil {
			return local(err)
		}
	}
	if !r.ActSent {
		a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: "/v1/acts", key: "act:" + r.ID, body: r.Act})
		if a.Class == Retry || a.Class == Pause {
			return a
		}
		if a.Class == Refused {
			c.cfg.Log.ErrorContext(ctx, "act refused by the platform", "event", r.ID, "err", a.Problem)
		}
		if err := c.store.actSent(ctx, r.ID); err != nil {
			return local(err)
		}
	}
	return Answer{Class: Done}
}

// deliverResult sends one result, its blobs first. A platform that does not
// know the command any more, or will not have the result, ends the matter.
func (c *Client) deliverResult(ctx context.Context, site Site, r row) Answer {
	var result wire.Result
	if err := json.Unmarshal(r.Result, &result); err != nil {
		c.cfg.Log.ErrorContext(ctx, "stored result cannot be read", "event", r.ID, "err", err)
		return Answer{Class: Refused}
	}
	body := r.Result
	if a := c.sendBlobs(ctx, site, result); a.Class == Refused {
		result.Status, result.Data, result.Blobs, result.Problem = wire.ResultStatusFailed, nil, nil, *wire.Body(a.Problem, http.StatusGone)
		_, body = encode(0, result)
	} else if a.Class != Done {
		return a
	}
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: "/v1/commands/" + r.ID + "/result", key: "result:" + r.ID, body: body})
	if a.Status == http.StatusNotFound {
		a.Class = Refused
	}
	if a.Class == Refused {
		c.cfg.Log.ErrorContext(ctx, "result refused by the platform", "event", r.ID, "err", a.Problem)
	}
	return a
}

// local is the Answer for trouble of our own.
func local(err error) Answer {
	return Answer{Class: Retry, Problem: devices.AllProblems(err)[0]}
}
