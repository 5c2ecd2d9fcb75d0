package platformtest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// record is one message that took effect, as the journal keeps it.
type record struct {
	At      wire.Time         `json:"at"`
	Op      string            `json:"op"`
	Path    map[string]string `json:"path,omitempty"`
	Gateway string            `json:"gateway,omitempty"`
	Key     string            `json:"key"`
	Hash    string            `json:"hash"`
	Status  int               `json:"status"`
	Body    []byte            `json:"body"` // of a blob: none in the journal
	Answer  json.RawMessage   `json:"answer"`
}

var nonceReplayed = &devices.Problem{Kind: devices.ErrConflict, Code: "nonce_replayed", ZH: "随机数已使用", EN: "the nonce was used before"}

func asProblem(err error) (*devices.Problem, bool) {
	var p *devices.Problem
	return p, errors.As(err, &p)
}

// handle decides about a message without taking effect. mu is held.
func (p *Platform) handle(rec *record) answer {
	switch rec.Op {
	case "enrol":
		return p.enrol(rec)
	case "heartbeat":
		return p.heartbeat()
	case "rotateKeys":
		return ok(p.newKeys())
	case "postResources":
		return p.resources(rec)
	case "postReadings":
		var b wire.ReadingBatch
		return decoded(rec.Body, &b, func() answer { return ok(wire.Receipt{Accepted: len(b.Readings)}) })
	case "putBlob":
		return p.blob(rec)
	case "postEvent":
		return p.event(rec)
	case "postStreamEnd":
		return p.streamEnd(rec)
	case "postAct", "postClueAction", "postAggregates":
		return ok(wire.Receipt{Accepted: 1})
	case "commandResult":
		return p.result(rec)
	default:
		return refuse(http.StatusNotFound, "not_served", "尚未提供", "this is not served yet")
	}
}

func decoded(body []byte, into any, then func() answer) answer {
	if err := json.Unmarshal(body, into); err != nil {
		return refuse(http.StatusBadRequest, "bad_json", "正文不是有效的 JSON", "the body is not valid JSON")
	}
	return then()
}

func (p *Platform) enrol(rec *record) answer {
	var e wire.Enrolment
	return decoded(rec.Body, &e, func() answer {
		switch unused, issued := p.state.codes[e.ActivationCode]; {
		case !issued:
			return refuse(http.StatusForbidden, "unknown_code", "激活码无效", "there is no such activation code")
		case !unused:
			return refuse(http.StatusForbidden, "code_used", "激活码已使用", "the activation code has been used")
		}
		keys := p.newKeys()
		return ok(wire.Enrolled{
			GatewayID: "gw-" + random(4), GatewayKey: keys.GatewayKey, PlatformKey: keys.PlatformKey,
			Time: wire.At(p.cfg.Now()), Subscription: *p.cfg.Subscription,
		})
	})
}

func (p *Platform) newKeys() wire.Keys {
	fresh := func(prefix string) wire.Key {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails since Go 1.24
		return wire.Key{ID: prefix + random(6), Algorithm: p.cfg.Algorithm, Secret: secret}
	}
	return wire.Keys{GatewayKey: fresh("k-"), PlatformKey: fresh("p-")}
}

func (p *Platform) heartbeat() answer {
	a := wire.HeartbeatAnswer{Time: wire.At(p.cfg.Now()), Resync: p.state.askResync, RotateKeys: p.state.askRotation}
	p.state.askResync, p.state.askRotation = false, false
	return ok(a)
}

func (p *Platform) resources(rec *record) answer {
	var b wire.ResourceBatch
	return decoded(rec.Body, &b, func() answer {
		receipt := wire.Receipt{}
		for i, r := range b.Resources {
			if r.Op != wire.ResourceOpD && len(r.Data) == 0 {
				receipt.Refusals = append(receipt.Refusals, wire.Refusal{Index: i, Code: "data_missing", Reason: "资源内容缺失 / a resource without its data"})
			}
		}
		if b.Mode == wire.ResourceBatchModeChanges && !p.state.directories[rec.Gateway] {
			return refuse(http.StatusUnprocessableEntity, "resync_required", "请先整目录报送", "send the whole directory first")
		}
		receipt.Accepted = len(b.Resources) - len(receipt.Refusals)
		return ok(receipt)
	})
}

func (p *Platform) blob(rec *record) answer {
	if rec.Hash != rec.Path["sha256"] {
		return refuse(http.StatusUnprocessableEntity, "hash_mismatch", "文件与散列不符", "the file is not the one its name says")
	}
	return ok(wire.BlobReceipt{SHA256: rec.Hash, Size: int64(len(rec.Body))})
}

// event holds messages of one event to their order.
func (p *Platform) event(rec *record) answer {
	var e wire.Event
	return decoded(rec.Body, &e, func() answer {
		last := p.state.revisions[rec.Gateway+" "+e.ID]
		early := func(format string, args ...any) answer {
			p.note(format, args...)
			return refuse(http.StatusTooEarly, "out_of_order", "前序消息尚未到达", "a message before this one has not come")
		}
		switch {
		case e.Step == wire.EventStepEvidence && last == 0:
			return early("event %s: evidence before opened", e.ID)
		case e.Step == wire.EventStepEvidence:
			return p.evidence(rec.Gateway, e)
		case e.Step == wire.EventStepOpened && e.Revision != 1:
			return early("event %s: opened with revision %d", e.ID, e.Revision)
		case e.Step != wire.EventStepOpened && last == 0:
			return early("event %s: %s before opened", e.ID, e.Step)
		case e.Revision <= last:
			p.note("event %s: revision %d again under key %s", e.ID, e.Revision, rec.Key)
			return refuse(http.StatusUnprocessableEntity, "revision_used", "修订号已使用", "the revision was used before under another key")
		case e.Revision != last+1:
			return early("event %s: revision %d after %d", e.ID, e.Revision, last)
		case e.Step == wire.EventStepOpened && len(e.Evidence.Items) > 0:
			p.note("event %s: opened names blobs", e.ID)
		}
		return ok(wire.Receipt{Accepted: 1})
	})
}

// evidence holds a message of evidence to its blobs and to those before it.
func (p *Platform) evidence(gateway string, e wire.Event) answer {
	names := evidenceBlobs(e.Evidence)
	for _, sum := range names {
		if p.state.blobs[sum] == nil {
			p.note("event %s: evidence names blob %s, which is not there", e.ID, sum)
			return refuse(http.StatusTooEarly, "blob_missing", "证据文件尚未上传", "a blob that it names has not come")
		}
	}
	for i := range p.state.events {
		before := &p.state.events[i]
		if before.Gateway != gateway || before.ID != e.ID || before.Step != wire.EventStepEvidence {
			continue
		}
		if before.Evidence.Complete != nil && *before.Evidence.Complete {
			p.note("event %s: evidence after it was complete", e.ID)
		}
		for _, sum := range evidenceBlobs(before.Evidence) {
			if !slices.Contains(names, sum) {
				p.note("event %s: evidence no longer names blob %s", e.ID, sum)
			}
		}
	}
	if complete := e.Evidence.Complete != nil && *e.Evidence.Complete; complete && len(names) > 0 {
		p.checkManifest(e)
	}
	return ok(wire.Receipt{Accepted: 1})
}

// evidenceBlobs gives the hashes that a message of evidence names.
func evidenceBlobs(e wire.Evidence) []string {
	names := []string{e.Manifest}
	for _, item := range e.Items {
		names = append(names, item.SHA256, item.MarkedSHA256)
	}
	return slices.DeleteFunc(names, func(sum string) bool { return sum == "" })
}

// checkManifest notes what a manifest and the message that names it do not agree on.
func (p *Platform) checkManifest(e wire.Event) {
	var m struct {
		Format string `json:"format"`
		Event  struct {
			ID string `json:"id"`
		} `json:"event"`
		Pieces []struct {
			SHA256 string `json:"sha256"`
			Size   int64  `json:"size"`
		} `json:"pieces"`
	}
	if err := json.Unmarshal(p.state.blobs[e.Evidence.Manifest], &m); err != nil || m.Format != "offsite-evidence/1" || m.Event.ID != e.ID || len(m.Pieces) != len(e.Evidence.Items) {
		p.note("event %s: manifest of %d pieces, message of %d: %v", e.ID, len(m.Pieces), len(e.Evidence.Items), err)
		return
	}
	for i, piece := range m.Pieces {
		if item := e.Evidence.Items[i]; item.SHA256 == "" && item.Reason != "" {
			continue // this platform would not have it; what it was stands in the manifest
		}
		if piece.SHA256 != e.Evidence.Items[i].SHA256 || piece.Size != int64(len(p.state.blobs[piece.SHA256])) {
			p.note("event %s: piece %d of the manifest is not that of the message", e.ID, i)
		}
	}
}

// streamEnd takes the end of a stream that was opened by command, once.
func (p *Platform) streamEnd(rec *record) answer {
	var e wire.StreamEnd
	return decoded(rec.Body, &e, func() answer {
		for _, before := range p.state.streams {
			if before.Stream == e.Stream {
				p.note("stream %s: ended twice", e.Stream)
			}
		}
		return ok(wire.Receipt{Accepted: 1})
	})
}

func (p *Platform) result(rec *record) answer {
	var r wire.Result
	return decoded(rec.Body, &r, func() answer {
		id := rec.Path["id"]
		c := p.queue(rec.Gateway).find(id)
		switch {
		case r.Command != id:
			p.note("result of %s posted to %s", r.Command, id)
			return refuse(http.StatusUnprocessableEntity, "wrong_command", "结果与指令不符", "the result is for another command")
		case c == nil:
			return refuse(http.StatusNotFound, "unknown_command", "没有此指令", "there is no such command")
		}
		if err := p.resultObeys(c, r); err != nil {
			p.note("result of %s: %v", id, err)
			return refuse(http.StatusUnprocessableEntity, "contract_broken", "结果不符合接口契约", "the result breaks the contract")
		}
		for _, sum := range r.Blobs {
			if p.state.blobs[sum] == nil {
				p.note("result of %s names blob %s, which is not there", id, sum)
				return refuse(http.StatusTooEarly, "blob_missing", "结果引用的文件尚未上传", "a blob that it names has not come")
			}
		}
		return ok(wire.Receipt{Accepted: 1})
	})
}

// resultObeys validates the data of a finished command against the schema that
// x-commands names for its type.
func (p *Platform) resultObeys(c *command, r wire.Result) error {
	if r.Status != wire.ResultStatusDone {
		return nil
	}
	var asked wire.Command
	if err := json.Unmarshal(c.body, &asked); err != nil {
		return err
	}
	commands, _ := p.doc.Components.Schemas["CommandType"].Value.Extensions["x-commands"].(map[string]any)
	entry, _ := commands[string(asked.Type)].(map[string]any)
	ref, _ := entry["result"].(string)
	schema := p.doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")]
	if schema == nil {
		return fmt.Errorf("the contract has no result for %s", asked.Type)
	}
	var data any
	if err := json.Unmarshal(r.Data, &data); err != nil {
		return fmt.Errorf("data: %w", err)
	}
	return schema.Value.VisitJSON(data)
}

// apply lets a message take effect. mu is held; what it decodes was decoded
// before.
func (p *Platform) apply(rec record) *Event {
	if rec.Op != "heartbeat" {
		p.answers[rec.Op+" "+rec.Gateway+" "+rec.Key] = record{At: rec.At, Hash: rec.Hash, Status: rec.Status, Answer: rec.Answer}
	}
	switch rec.Op {
	case "enrol":
		p.applyEnrolment(rec)
	case "rotateKeys":
		var keys wire.Keys
		_ = json.Unmarshal(rec.Answer, &keys)
		p.addKeys(rec.Gateway, keys)
	case "heartbeat":
		var h wire.Heartbeat
		_ = json.Unmarshal(rec.Body, &h)
		p.state.heartbeats[rec.Gateway] = Gateway{ID: rec.Gateway, Heartbeat: h, ReceivedAt: rec.At}
		for _, l := range h.Losses {
			p.state.losses[fmt.Sprintf("%s %020d", rec.Gateway, l.ID)] = Loss{Loss: l, Gateway: rec.Gateway}
		}
	case "postResources":
		p.applyResources(rec)
	case "postReadings":
		p.applyReadings(rec)
	case "putBlob":
		p.state.blobs[rec.Hash] = rec.Body
	case "postEvent":
		return p.applyEvent(rec)
	case "postAct":
		var a wire.Act
		_ = json.Unmarshal(rec.Body, &a)
		p.state.acts = append(p.state.acts, a)
	case "postStreamEnd":
		var e wire.StreamEnd
		_ = json.Unmarshal(rec.Body, &e)
		p.state.streams = append(p.state.streams, e)
	case "commandResult":
		var r wire.Result
		_ = json.Unmarshal(rec.Body, &r)
		p.queue(rec.Gateway).answer(r)
	}
	return nil
}

func (p *Platform) applyEnrolment(rec record) {
	var asked wire.Enrolment
	var given wire.Enrolled
	_ = json.Unmarshal(rec.Body, &asked)
	_ = json.Unmarshal(rec.Answer, &given)
	p.state.codes[asked.ActivationCode] = false
	p.state.gateways = append(p.state.gateways, given.GatewayID)
	p.addKeys(given.GatewayID, wire.Keys{GatewayKey: given.GatewayKey, PlatformKey: given.PlatformKey})
}

func (p *Platform) addKeys(gateway string, keys wire.Keys) {
	p.keys[keys.GatewayKey.ID] = &signer{gateway: gateway, key: keys.GatewayKey}
	p.queue(gateway).key = keys.PlatformKey
}

func (p *Platform) applyResources(rec record) {
	var b wire.ResourceBatch
	_ = json.Unmarshal(rec.Body, &b)
	for _, r := range b.Resources {
		id := rec.Gateway + " " + string(r.Kind) + " " + r.ID
		if old, have := p.state.resources[id]; have && old.Revision > r.Revision && b.Mode == wire.ResourceBatchModeChanges {
			continue
		}
		if r.Op == wire.ResourceOpD {
			delete(p.state.resources, id)
		} else if len(r.Data) > 0 {
			p.state.resources[id] = Resource{Resource: r, Gateway: rec.Gateway, sync: b.Sync}
		}
	}
	if b.Mode != wire.ResourceBatchModeFull || !b.Last {
		return
	}
	p.state.directories[rec.Gateway] = true
	for id, r := range p.state.resources {
		if r.Gateway == rec.Gateway && r.sync != b.Sync {
			delete(p.state.resources, id)
		}
	}
}

func (p *Platform) applyReadings(rec record) {
	var b wire.ReadingBatch
	_ = json.Unmarshal(rec.Body, &b)
	p.state.readingCount += len(b.Readings)
	for _, r := range b.Readings {
		id := rec.Gateway + " " + r.Point
		if old, have := p.state.readings[id]; b.Kind == wire.ReadingBatchKindRealtime && (!have || !old.At.After(r.At.Time)) {
			p.state.readings[id] = Reading{Reading: r, Gateway: rec.Gateway, ReceivedAt: rec.At}
		}
	}
}

func (p *Platform) applyEvent(rec record) *Event {
	e := Event{Gateway: rec.Gateway, Key: rec.Key, ReceivedAt: rec.At}
	_ = json.Unmarshal(rec.Body, &e.Event)
	if e.Step != wire.EventStepEvidence {
		p.state.revisions[rec.Gateway+" "+e.ID] = e.Revision
	}
	p.state.events = append(p.state.events, e)
	p.state.effects[fmt.Sprintf("%s:%s:%s:%d", rec.Gateway, e.ID, e.Step, e.Revision)]++
	return &e
}

// Events gives every accepted event message, in order of acceptance.
func (p *Platform) Events() []Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.events)
}
