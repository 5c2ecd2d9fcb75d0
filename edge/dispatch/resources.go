package dispatch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// resourceBatch is how many resources go in one message.
const resourceBatch = 500

// resources sends the directory whole where that is wanted, and then changes
// in order of revision until there are none.
func (c *Client) resources(site Site) step {
	return func(ctx context.Context) (time.Duration, Answer) {
		wanted, due, err := c.store.resync(ctx)
		if err != nil {
			return 0, local(err)
		}
		if due {
			if a := c.sendDirectory(ctx, site, wanted); a.Class != Done {
				return 0, a
			}
		}
		for {
			more, a := c.sendChanges(ctx, site)
			if a.Class == Refused { // the platform does not know where we stand
				if err := c.store.wantResync(ctx); err != nil {
					return 0, local(err)
				}
			}
			if a.Class != Done || !more {
				return -1, a
			}
		}
	}
}

func (c *Client) sendDirectory(ctx context.Context, site Site, wanted int64) Answer {
	revision, all, err := site.Directory(ctx)
	if err != nil {
		return local(err)
	}
	sync := wire.NewNonce()
	for n := 0; ; n++ {
		part := all[:min(resourceBatch, len(all))]
		all = all[len(part):]
		b := wire.ResourceBatch{Mode: wire.ResourceBatchModeFull, Revision: revision, Sync: sync, Last: len(all) == 0, Resources: part}
		if a := c.sendResources(ctx, b, "resources:"+sync+":"+strconv.Itoa(n)); a.Class != Done {
			return a
		}
		if b.Last {
			break
		}
	}
	if err := c.store.setSynced(ctx, wanted, revision); err != nil {
		return local(err)
	}
	return Answer{Class: Done}
}

func (c *Client) sendChanges(ctx context.Context, site Site) (more bool, a Answer) {
	since, err := c.store.number(ctx, valueRevision)
	if err != nil {
		return false, local(err)
	}
	changes, err := site.Changes(ctx, since, resourceBatch)
	if err != nil {
		return false, local(err)
	}
	if len(changes) == 0 {
		return false, Answer{Class: Done}
	}
	revision := changes[len(changes)-1].Revision
	send := make([]wire.Resource, 0, len(changes))
	for _, r := range changes {
		if directoryHas(r.Kind) { // others only move the revision on
			send = append(send, r)
		}
	}
	if len(send) > 0 {
		b := wire.ResourceBatch{Mode: wire.ResourceBatchModeChanges, Revision: revision, Resources: send}
		if a := c.sendResources(ctx, b, "resources:"+wire.NewNonce()); a.Class != Done {
			return false, a
		}
	}
	if err := c.store.set(ctx, valueRevision, strconv.FormatInt(revision, 10)); err != nil {
		return false, local(err)
	}
	return len(changes) == resourceBatch, Answer{Class: Done}
}

// withheld are the fields of a thing that stay at the gateway: where and how it
// reaches its devices.
var withheld = []string{"endpoint", "username", "password", "url", "sub_url", "still_url", "onvif", "replay_url", "replay_zone", "transport", "modbus", "mqtt", "hj212", "period", "timeout"}

// DataOf gives a registered thing as the platform's directory holds it: its API
// form without addresses and secrets, times in Beijing time. Its error is nil
// for the things of package devices.
func DataOf(t devices.Thing) (json.RawMessage, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("write %s %s: %w", t.Kind(), t.Key(), err)
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("write %s %s: %w", t.Kind(), t.Key(), err)
	}
	for _, name := range withheld {
		delete(fields, name)
	}
	life := t.Life()
	fields["created_at"], fields["updated_at"] = wire.At(life.Created), wire.At(life.Updated)
	if life.Retired != nil {
		fields["retired_at"] = wire.At(*life.Retired)
	}
	return json.Marshal(fields)
}

// directoryHas says whether the platform keeps a directory of this kind.
func directoryHas(k wire.ResourceKind) bool {
	switch k {
	case wire.ResourceKindEntity, wire.ResourceKindSite, wire.ResourceKindOutlet, wire.ResourceKindPoint, wire.ResourceKindDevice, wire.ResourceKindCamera:
		return true
	default:
		return false
	}
}

func (c *Client) sendResources(ctx context.Context, b wire.ResourceBatch, key string) Answer {
	if b.Resources == nil {
		b.Resources = []wire.Resource{}
	}
	body, err := json.Marshal(b)
	if err != nil {
		return local(err)
	}
	var receipt wire.Receipt
	a := c.call(ctx, c.identity.Load(), call{method: http.MethodPost, path: "/v1/resources", key: key, body: body, into: &receipt})
	for _, r := range receipt.Refusals {
		if r.Index < len(b.Resources) {
			c.cfg.Log.WarnContext(ctx, "resource refused by the platform", "event", string(b.Resources[r.Index].Kind)+"/"+b.Resources[r.Index].ID, "err", r.Code+": "+r.Reason)
		}
	}
	return a
}

// syncResources carries out resources.sync.
func (c *Client) syncResources(ctx context.Context, site Site) (wire.Result, error) {
	revision, all, err := site.Directory(ctx)
	if err != nil {
		return wire.Result{}, err
	}
	if err := c.store.wantResync(ctx); err != nil {
		return wire.Result{}, err
	}
	poke(c.wakeResources)
	return done(wire.SyncData{Revision: revision, Resources: len(all)})
}
