package platformtest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
)

// maxBody bounds what is read of a request.
const maxBody = 256 << 20

// enrolmentReplay is how long the answer to an enrolment can be had again.
const enrolmentReplay = 10 * time.Minute

// request is one request that obeys the document and is rightly signed.
type request struct {
	op      string // operationId
	path    map[string]string
	gateway string // who signed it; empty for an enrolment
	key     string // idempotency key; empty for a poll
	body    []byte
	sig     wire.Signature
	http    *http.Request
}

// answer is what a request gets.
type answer struct {
	status int
	body   any
	header http.Header
}

func refuse(status int, code, zh, en string) answer {
	return answer{status: status, body: &wire.ProblemBody{Type: "about:blank", Status: status, Code: code, TitleZh: zh, Title: en}}
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// ServeHTTP answers one request, or misbehaves as it was told to.
func (p *Platform) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if rest, found := strings.CutPrefix(r.URL.Path, "/received/"); found {
		p.serveReceived(w, r, rest)
		return
	}
	route, path, err := p.router.FindRoute(r)
	if err != nil || route.Path == dispatch.CommandPath {
		p.write(w, r, nil, refuse(http.StatusNotFound, "no_such_path", "没有此接口", "there is no such path"))
		return
	}
	fault := p.takeFault(route.Operation.OperationID, r.ContentLength)
	if p.misbehaveBefore(w, r, fault) {
		return
	}
	a, readBody := p.serve(r, route, path)
	if p.misbehaveAfter(w, r, fault, a) {
		return
	}
	if !readBody {
		w.Header().Set("Connection", "close")
	}
	p.write(w, r, &openapi3filter.RequestValidationInput{Request: r, PathParams: path, Route: route}, a)
}

// serve checks the request and has it handled.
func (p *Platform) serve(r *http.Request, route *routers.Route, path map[string]string) (_ answer, readBody bool) {
	q := request{op: route.Operation.OperationID, path: path, key: r.Header.Get("Idempotency-Key"), http: r}
	if a := p.authenticate(&q); a != nil {
		return *a, false
	}
	if q.op == "putBlob" {
		if blob := p.Blob(path["sha256"]); blob != nil {
			return ok(wire.BlobReceipt{SHA256: path["sha256"], Size: int64(len(blob))}), false
		}
	}
	var err error
	if q.body, err = io.ReadAll(io.LimitReader(r.Body, maxBody)); err != nil {
		return refuse(http.StatusBadRequest, "body_broken", "正文不完整", "the body is cut short"), true
	}
	if q.op != "enrol" && wire.BodyHash(q.sig.Algorithm, q.body) != q.sig.BodyHash {
		return refuse(http.StatusUnauthorized, "body_changed", "正文与签名不符", "the body is not the one that was signed"), true
	}
	if a := p.obeys(&q, route); a != nil {
		return *a, true
	}
	if q.op == "pollCommands" {
		return p.poll(r.Context(), q), true
	}
	a, event := p.once(q)
	if event != nil {
		p.cfg.OnEvent(*event)
	}
	return a, true
}

// obeys validates the request against the document.
func (p *Platform) obeys(q *request, route *routers.Route) *answer {
	q.http.Body = io.NopCloser(bytes.NewReader(q.body))
	err := openapi3filter.ValidateRequest(q.http.Context(), &openapi3filter.RequestValidationInput{
		Request: q.http, PathParams: q.path, Route: route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody: q.op == "putBlob", // of any bytes
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	})
	if err == nil {
		return nil
	}
	p.violate("%s: %v", q.op, err)
	a := refuse(http.StatusUnprocessableEntity, "contract_broken", "报文不符合接口契约", "the message breaks the contract")
	a.body.(*wire.ProblemBody).Detail = clip(err.Error())
	return &a
}

// authenticate checks the signature, apart from the body's hash, and fills in
// who signed.
func (p *Platform) authenticate(q *request) *answer {
	if q.op == "enrol" {
		return nil
	}
	fail := func(err error) *answer {
		code, zh, en := "bad_signature", "签名不符", err.Error()
		if problem, is := asProblem(err); is {
			code, zh, en = problem.Code, problem.ZH, problem.EN
		}
		p.violate("%s: %v", q.op, err)
		a := refuse(http.StatusUnauthorized, code, zh, en)
		return &a
	}
	sig, err := wire.ParseSignature(q.http.Header.Get("Authorization"))
	if err != nil {
		return fail(err)
	}
	now := p.cfg.Now()
	p.mu.Lock()
	s, known := p.keys[sig.KeyID]
	known = known && (s.ends.IsZero() || now.Before(s.ends))
	p.mu.Unlock()
	if !known {
		a := refuse(http.StatusUnauthorized, "unknown_key", "不认识的密钥", "there is no such key")
		return &a
	}
	r := wire.Request{
		Method: q.http.Method, Path: q.http.URL.EscapedPath(), Query: q.http.URL.RawQuery,
		Idempotency: q.key, BodyHash: sig.BodyHash,
	}
	if err := sig.Verify(s.key, r); err != nil {
		return fail(err)
	}
	if err := sig.Fresh(now); err != nil {
		return fail(err)
	}
	if id, named := q.path["id"]; named && strings.HasPrefix(q.http.URL.Path, "/v1/gateways/") && id != s.gateway {
		a := refuse(http.StatusForbidden, "another_gateway", "不得代表其他网关", "this key speaks for another gateway")
		return &a
	}
	q.gateway, q.sig = s.gateway, sig
	return p.spend(s, sig, now, fail)
}

// spend notes the nonce and the first use of a key.
func (p *Platform) spend(s *signer, sig wire.Signature, now time.Time, fail func(error) *answer) *answer {
	p.mu.Lock()
	_, seen := p.nonces[sig.Nonce]
	p.nonces[sig.Nonce] = now
	if len(p.nonces) > 100_000 {
		for nonce, at := range p.nonces {
			if now.Sub(at) > 2*wire.Window {
				delete(p.nonces, nonce)
			}
		}
	}
	if !s.used {
		s.used = true
		for id, other := range p.keys {
			if id != sig.KeyID && other.gateway == s.gateway && other.ends.IsZero() && other.used {
				other.ends = now.Add(time.Hour)
			}
		}
	}
	p.mu.Unlock()
	if seen {
		return fail(nonceReplayed)
	}
	return nil
}

// once handles a message whose key has not been seen, and repeats the first
// answer to one whose key has.
func (p *Platform) once(q request) (answer, *Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	hash := wire.BodyHash(wire.AlgorithmHMACSHA256, q.body)
	slot := q.op + " " + q.gateway + " " + q.key
	if before, seen := p.answers[slot]; seen && (q.op != "enrol" || p.cfg.Now().Sub(before.At.Time) < enrolmentReplay) {
		return p.repeat(q, before, hash), nil
	}
	rec := record{At: wire.At(p.cfg.Now()), Op: q.op, Path: q.path, Gateway: q.gateway, Key: q.key, Hash: hash, Body: q.body}
	a := p.handle(&rec)
	if a.status >= 300 {
		return a, nil
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		return refuse(http.StatusInternalServerError, "internal", "内部错误", err.Error()), nil
	}
	rec.Status, rec.Answer = a.status, raw
	if err := p.keep(rec); err != nil {
		return refuse(http.StatusInternalServerError, "internal", "内部错误", err.Error()), nil
	}
	return a, p.apply(rec)
}

func (p *Platform) repeat(q request, before record, hash string) answer {
	if before.Hash != hash {
		p.note("%s: key %s was used for another body", q.op, q.key)
		return refuse(http.StatusUnprocessableEntity, "key_reused", "幂等键已用于内容不同的消息", "the idempotency key was used for another body")
	}
	if p.cfg.Conflict && q.op != "enrol" && q.op != "rotateKeys" && q.op != "heartbeat" {
		return refuse(http.StatusConflict, "duplicate", "已接收过", "it was accepted before")
	}
	return answer{status: before.Status, body: before.Answer, header: http.Header{"Idempotency-Replayed": {"true"}}}
}

// write sends a, validated against the document where a route was found.
func (p *Platform) write(w http.ResponseWriter, r *http.Request, in *openapi3filter.RequestValidationInput, a answer) {
	raw, err := json.Marshal(a.body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	header := w.Header()
	for name, values := range a.header {
		header[name] = values
	}
	header.Set("Content-Type", "application/json")
	if a.status >= 400 {
		header.Set("Content-Type", "application/problem+json")
	}
	header.Set("Cache-Control", "no-store")
	if in != nil {
		p.obeysToo(r.Context(), in, a.status, header, raw)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(raw) // a client that is gone needs no answer
}

// obeysToo holds the platform itself to the document.
func (p *Platform) obeysToo(ctx context.Context, in *openapi3filter.RequestValidationInput, status int, header http.Header, raw []byte) {
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: status, Header: header}
	out.SetBodyBytes(raw)
	if err := openapi3filter.ValidateResponse(ctx, out); err != nil {
		p.violate("platform's own answer to %s: %v", in.Route.Operation.OperationID, err)
	}
}

// violate notes a broken rule.
func (p *Platform) violate(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note(format, args...)
}

// note is violate for who holds mu.
func (p *Platform) note(format string, args ...any) {
	if len(p.state.violations) < 10_000 {
		p.state.violations = append(p.state.violations, clip(fmt.Sprintf(format, args...)))
	}
}

func clip(s string) string {
	if len(s) > 2000 {
		return strings.ToValidUTF8(s[:2000], "")
	}
	return s
}
