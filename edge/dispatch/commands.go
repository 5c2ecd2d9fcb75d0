package dispatch

import (
	"context"
	"crypto/hmac"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"golang.org/x/time/rate"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// CommandPath is where a gateway takes commands. Commands that the long poll
// hands over are signed for it too.
const CommandPath = "/api/v1/dispatch/commands"

// maxCommand bounds the body of a command.
const maxCommand = 64 << 10

// ledger knows which commands are being executed in this process; the rest of
// the ledger is in the database.
type ledger struct {
	mu      sync.Mutex
	running map[string]bool
}

// enter marks id as running; false if it is already.
func (l *ledger) enter(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running[id] {
		return false
	}
	l.running[id] = true
	return true
}

func (l *ledger) leave(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, id)
}

// refusals lets at most thirty refused commands, and then one a second, into the
// audit, and counts the others.
type refusals struct {
	mu       sync.Mutex
	limit    *rate.Limiter
	unlisted int
}

// list says whether a refusal is to be audited, and how many were not since the
// last that was.
func (r *refusals) list() (unlisted int, listed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.limit.Allow() {
		r.unlisted++
		return 0, false
	}
	unlisted, r.unlisted = r.unlisted, 0
	return unlisted, true
}

// errRunning says that the command is being executed right now.
var errRunning = &devices.Problem{Kind: devices.ErrConflict, Code: "command_running", ZH: "该指令正在执行", EN: "this command is being executed"}

// handle checks one signed command, executes it if that was never done, and
// gives its stored result to answer, while no other road touches the command.
// An error means that the command was not taken and may be sent again as it
// should have been.
func (c *Client) handle(ctx context.Context, site Site, from string, r wire.Request, auth string, body []byte, answer func(_ wire.Result, repeated bool)) error {
	cmd, sig, err := c.check(r, auth, body)
	if err != nil {
		return c.refuse(ctx, from, cmd, body, err)
	}
	if !c.ledger.enter(cmd.ID) {
		return errRunning
	}
	defer c.answered()
	defer c.ledger.leave(cmd.ID)
	result, known, err := c.known(ctx, cmd.ID, hashOf(body))
	if err != nil {
		return c.refuse(ctx, from, cmd, body, err)
	}
	if !known {
		if err := c.fresh(ctx, cmd.ID, sig); err != nil {
			return c.refuse(ctx, from, cmd, body, err)
		}
		if result, err = c.execute(ctx, site, from, cmd, sig, body); err != nil {
			return err
		}
	}
	answer(result, known)
	return nil
}

// check verifies the signature and reads the command. The command is given as
// far as it could be read.
func (c *Client) check(r wire.Request, auth string, body []byte) (wire.Command, wire.Signature, error) {
	var cmd wire.Command
	if len(body) > maxCommand {
		return cmd, wire.Signature{}, wire.Refuse("command_too_long", "指令超过 64 KiB", "a command has at most 64 KiB")
	}
	badForm := json.Unmarshal(body, &cmd)
	sig, err := wire.ParseSignature(auth)
	if err != nil {
		return cmd, sig, err
	}
	id := c.identity.Load()
	if id == nil {
		return cmd, sig, notEnrolled
	}
	r.BodyHash = wire.BodyHash(sig.Algorithm, body)
	i := slices.IndexFunc(id.Down, func(k wire.Key) bool { return k.ID == sig.KeyID })
	if i < 0 {
		return cmd, sig, wire.Refuse("unknown_key", "不认识的平台密钥 "+sig.KeyID, "no such key of the platform: "+sig.KeyID)
	}
	if err := sig.Verify(id.Down[i], r); err != nil {
		return cmd, sig, err
	}
	switch {
	case badForm != nil:
		return cmd, sig, wire.Refuse("bad_command", "指令不是有效的 JSON："+badForm.Error(), "the command is not valid JSON: "+badForm.Error())
	case !messageIDForm.MatchString(cmd.ID):
		return cmd, sig, devices.Invalid("id", "bad_id", "指令编号格式不符", "the command's id is malformed")
	case cmd.Gateway != id.Gateway:
		return cmd, sig, devices.Invalid("gateway", "wrong_gateway", "该指令发给另一台网关", "this command is for another gateway")
	}
	return cmd, sig, nil
}

// known looks a command up in the ledger. One that was taken and has no result
// was broken off by a restart; it gets a result that says so.
func (c *Client) known(ctx context.Context, id, bodyHash string) (wire.Result, bool, error) {
	r, ok, err := c.store.command(ctx, id)
	if err != nil || !ok {
		return wire.Result{}, false, err
	}
	if !hmac.Equal([]byte(r.BodyHash), []byte(bodyHash)) {
		return wire.Result{}, false, &devices.Problem{
			Kind: devices.ErrConflict, Code: "command_id_reused", Field: "id",
			ZH: "该指令编号已用于内容不同的指令", EN: "this command id was used for a command of other content",
		}
	}
	if r.Result == nil {
		result, err := c.interrupted(ctx, id)
		return result, true, err
	}
	var result wire.Result
	err = json.Unmarshal(r.Result, &result)
	return result, true, err
}

// interrupted stores the result of a command that a restart broke off: it is
// not executed again.
func (c *Client) interrupted(ctx context.Context, id string) (wire.Result, error) {
	now := wire.At(c.cfg.Now())
	result := wire.Result{Command: id, Status: wire.ResultStatusFailed, StartedAt: now, FinishedAt: now, Problem: *wire.Body(&devices.Problem{
		Code: "interrupted", ZH: "执行中网关重启，结果未知；如需要请以新编号重发", EN: "the gateway restarted during execution and its outcome is not known; send it under a new id if it is still wanted",
	}, http.StatusServiceUnavailable)}
	raw, err := json.Marshal(result)
	if err != nil {
		return wire.Result{}, err
	}
	e := Entry{At: now.Time, Who: "gateway", Act: "command.interrupted", What: "gateway", Result: string(result.Status), Detail: id}
	return result, c.store.db.Update(ctx, func(tx *sql.Tx) error {
		if err := setResult(ctx, tx, id, raw, nil); err != nil {
			return err
		}
		return c.cfg.Auditor.Audit(ctx, tx, e)
	})
}

// fresh refuses old commands and replayed nonces.
func (c *Client) fresh(ctx context.Context, id string, sig wire.Signature) error {
	if err := sig.Fresh(c.corrected()); err != nil {
		return err
	}
	used, err := c.store.nonceUse(ctx, sig.Nonce)
	if err == nil && used != "" && used != id {
		return nonceReplayed
	}
	return err
}

var nonceReplayed = &devices.Problem{Kind: devices.ErrConflict, Code: "nonce_replayed", ZH: "随机数已被另一条指令使用，疑似重放，已拒绝", EN: "the nonce came with another command before; this looks like a replay and is refused"}

// refuse audits and reports a command that is not taken, and gives err.
func (c *Client) refuse(ctx context.Context, from string, cmd wire.Command, body []byte, err error) error {
	p := devices.AllProblems(err)[0]
	if errors.Is(p, devices.ErrUnavailable) { // our own trouble, not the command's
		return p
	}
	unlisted, listed := c.refusals.list()
	if !listed { // whoever floods us with forged commands shall not flood the audit
		return p
	}
	e := c.entry(from, cmd, body, "refused", p.Code)
	e.Act = "command.refused"
	if unlisted > 0 {
		e.Detail += fmt.Sprintf(" (and %d more)", unlisted)
	}
	c.cfg.Log.WarnContext(ctx, "command refused", "event", clip(cmd.ID, 128), "err", p)
	if err := c.store.db.Update(ctx, func(tx *sql.Tx) error { return c.cfg.Auditor.Audit(ctx, tx, e) }); err != nil {
		c.cfg.Log.ErrorContext(ctx, "refused command was not audited", "err", err)
	}
	c.cfg.Report(Report{Part: PartSecurity, At: c.cfg.Now(), Problem: p})
	return p
}

func (c *Client) entry(from string, cmd wire.Command, body []byte, result, code string) Entry {
	detail := clip(cmd.ID, 128)
	if code != "" {
		detail += " " + code
	}
	who := "platform"
	if cmd.Officer.ID != "" {
		who = "platform: " + clip(cmd.Officer.Name, 64) + " (" + clip(cmd.Officer.ID, 64) + ")"
	}
	return Entry{
		At: c.cfg.Now(), Who: who, From: from, Act: clip(string(cmd.Type), 64), What: subject(cmd),
		Purpose: clip(cmd.Purpose, 512), Result: result, Detail: detail, Hash: hashOf(body),
	}
}

// clip shortens what an unknown sender wrote and drops its control characters.
func clip(s string, max int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > max {
		return string(runes[:max])
	}
	return s
}

// subject is what a command looks at: camera/cam-1, point/a.b.
func subject(cmd wire.Command) string {
	var args struct {
		Camera string   `json:"camera"`
		Points []string `json:"points"`
		Stream string   `json:"stream"`
	}
	_ = json.Unmarshal(cmd.Args, &args) // arguments of another form name no subject
	switch {
	case args.Camera != "":
		return "camera/" + clip(args.Camera, 64)
	case args.Stream != "":
		return "stream/" + clip(args.Stream, 128)
	case len(args.Points) == 1:
		return "point/" + clip(args.Points[0], 130)
	case len(args.Points) > 1:
		return fmt.Sprintf("point/%s and %d more", clip(args.Points[0], 130), len(args.Points)-1)
	default:
		return "gateway"
	}
}

// execute takes a command into the ledger, carries it out and stores what came
// of it. It goes on to the end when the caller goes away.
func (c *Client) execute(ctx context.Context, site Site, from string, cmd wire.Command, sig wire.Signature, body []byte) (wire.Result, error) {
	started := c.cfg.Now()
	taken := false
	err := c.store.db.Update(ctx, func(tx *sql.Tx) (err error) {
		if taken, err = insertCommand(ctx, tx, cmd.ID, hashOf(body), sig.Nonce, started); err != nil || !taken {
			return err
		}
		return c.cfg.Auditor.Audit(ctx, tx, c.entry(from, cmd, body, "taken", ""))
	})
	if err != nil {
		return wire.Result{}, fmt.Errorf("take command %s: %w", cmd.ID, err)
	}
	if !taken {
		return wire.Result{}, c.refuse(ctx, from, cmd, body, nonceReplayed)
	}
	ctx = context.WithoutCancel(ctx)
	result := c.outcome(ctx, site, cmd)
	result.Command, result.StartedAt, result.FinishedAt = cmd.ID, wire.At(started), wire.At(c.cfg.Now())
	act := c.act(cmd, result)
	raw, err := json.Marshal(result)
	if err != nil {
		return wire.Result{}, fmt.Errorf("result of command %s: %w", cmd.ID, err)
	}
	err = c.store.db.Update(ctx, func(tx *sql.Tx) error {
		if err := setResult(ctx, tx, cmd.ID, raw, act); err != nil {
			return err
		}
		return c.cfg.Auditor.Audit(ctx, tx, c.entry(from, cmd, body, string(result.Status), result.Problem.Code))
	})
	if err != nil {
		return wire.Result{}, fmt.Errorf("store result of command %s: %w", cmd.ID, err)
	}
	return result, nil
}

// outcome carries cmd out, whatever comes of it.
func (c *Client) outcome(ctx context.Context, site Site, cmd wire.Command) wire.Result {
	refused := func(p *devices.Problem) wire.Result {
		return wire.Result{Status: wire.ResultStatusRefused, Problem: *wire.Body(p, http.StatusForbidden)}
	}
	switch {
	case cmd.Officer.ID == "" || cmd.Officer.Name == "":
		return refused(devices.Invalid("officer", "officer_missing", "指令须写明执法人员姓名和证号", "a command names its officer and the officer's licence"))
	case strings.TrimSpace(cmd.Purpose) == "":
		return refused(devices.Invalid("purpose", "purpose_missing", "指令须写明事由", "a command states its purpose"))
	case !slices.Contains(c.cfg.Allow, cmd.Type):
		return refused(devices.Invalid("type", "not_allowed", "网关不允许指令 "+clip(string(cmd.Type), 64), "the gateway does not allow "+clip(string(cmd.Type), 64)))
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Command)
	defer cancel()
	var result wire.Result
	var err error
	switch cmd.Type {
	case wire.CommandTypeResourcesSync:
		result, err = c.syncResources(ctx, site)
	case wire.CommandTypeSubscriptionSet:
		result, err = c.subscribe(ctx, cmd)
	default:
		result, err = site.Execute(ctx, cmd)
	}
	if err != nil {
		p := devices.AllProblems(err)[0]
		c.cfg.Log.WarnContext(ctx, "command failed", "event", cmd.ID, "err", err)
		return wire.Result{Status: wire.ResultStatusFailed, Problem: *wire.Body(p, statusOf(p))}
	}
	return wire.Result{Status: wire.ResultStatusDone, Data: result.Data, Blobs: result.Blobs}
}

func statusOf(p *devices.Problem) int {
	switch {
	case errors.Is(p, devices.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(p, devices.ErrConflict):
		return http.StatusConflict
	case errors.Is(p, devices.ErrUnavailable):
		return http.StatusServiceUnavailable
	default:
		return http.StatusUnprocessableEntity
	}
}

// act is the record 监管行为 of what an officer saw, nil for commands by which
// nobody looks at anything.
func (c *Client) act(cmd wire.Command, result wire.Result) []byte {
	kinds := map[wire.CommandType]wire.ActKind{
		wire.CommandTypeSnapshotTake: wire.ActKindRemoteView, wire.CommandTypeStreamOpen: wire.ActKindRemoteView, wire.CommandTypeRecordingExport: wire.ActKindRemoteView,
		wire.CommandTypePTZMove: wire.ActKindRemoteView, wire.CommandTypeReadingRead: wire.ActKindRemoteCheck,
	}
	kind, ok := kinds[cmd.Type]
	if !ok || cmd.Officer.ID == "" || cmd.Officer.Name == "" {
		return nil
	}
	raw, err := json.Marshal(wire.Act{
		ID: "act:" + cmd.ID[:min(len(cmd.ID), 120)], Kind: kind, At: result.StartedAt, Officer: cmd.Officer, Purpose: cmd.Purpose,
		What: subject(cmd), Result: wire.ActResult(result.Status), Command: cmd.ID, Blobs: result.Blobs,
	})
	if err != nil {
		return nil
	}
	return raw
}

// done is the Result of a command that gave data.
func done(data any) (wire.Result, error) {
	raw, err := json.Marshal(data)
	return wire.Result{Data: raw}, err
}
