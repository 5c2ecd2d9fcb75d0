package platformtest

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"offsite/edge/dispatch/wire"
)

// received is all that the platform accepted.
type received struct {
	codes        map[string]bool // activation codes; true while unused
	gateways     []string
	heartbeats   map[string]Gateway
	losses       map[string]Loss
	directories  map[string]bool // gateways that sent their directory whole
	resources    map[string]Resource
	readings     map[string]Reading
	readingCount int
	blobs        map[string][]byte
	events       []Event
	revisions    map[string]int // newest revision by event
	effects      map[string]int
	acts         []wire.Act
	streams      []wire.StreamEnd
	violations   []string
	askResync    bool
	askRotation  bool
}

func newReceived() received {
	return received{
		codes: make(map[string]bool), heartbeats: make(map[string]Gateway), losses: make(map[string]Loss), directories: make(map[string]bool),
		resources: make(map[string]Resource), readings: make(map[string]Reading), blobs: make(map[string][]byte),
		revisions: make(map[string]int), effects: make(map[string]int),
	}
}

// Event is an accepted event message.
type Event struct {
	wire.Event
	Gateway    string    `json:"gateway"`
	Key        string    `json:"key"` // idempotency key
	ReceivedAt wire.Time `json:"received_at"`
}

// Resource is one entry of the directory.
type Resource struct {
	wire.Resource
	Gateway string `json:"gateway"`
	sync    string
}

// Reading is the newest value of a point.
type Reading struct {
	wire.Reading
	Gateway    string    `json:"gateway"`
	ReceivedAt wire.Time `json:"received_at"`
}

// Gateway is the last heartbeat of a gateway.
type Gateway struct {
	ID string `json:"id"`
	wire.Heartbeat
	ReceivedAt wire.Time `json:"received_at"`
}

// Loss is a row of a gateway's losses as it was told last.
type Loss struct {
	wire.Loss
	Gateway string `json:"gateway"`
}

// Losses gives what gateways have dropped or missed, sorted by gateway and row.
func (p *Platform) Losses() []Loss {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sortedValues(p.state.losses)
}

// Blob gives a blob, nil if it has not come.
func (p *Platform) Blob(sha256 string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.blobs[sha256]
}

// Blobs gives the hashes of all blobs, sorted.
func (p *Platform) Blobs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.state.blobs))
}

// Resources gives the directory, sorted by gateway, kind and id.
func (p *Platform) Resources() []Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sortedValues(p.state.resources)
}

// Readings gives the newest value of each point, sorted by gateway and point.
func (p *Platform) Readings() []Reading {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sortedValues(p.state.readings)
}

// ReadingCount is how many readings were accepted in all.
func (p *Platform) ReadingCount() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.readingCount
}

// Heartbeats gives the last heartbeat of each gateway, sorted by id.
func (p *Platform) Heartbeats() []Gateway {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sortedValues(p.state.heartbeats)
}

// Acts gives the accepted acts in order.
func (p *Platform) Acts() []wire.Act {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.acts)
}

// Streams gives how each stream went that is over, in order.
func (p *Platform) Streams() []wire.StreamEnd {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.streams)
}

// Violations gives every broken rule of the contract, in order.
func (p *Platform) Violations() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.violations)
}

// Effects says how often each event message (gateway:event:step:revision) took
// effect; anything but 1 is a fault.
func (p *Platform) Effects() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.state.effects)
}

func sortedValues[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[k])
	}
	return out
}

// serveReceived shows what was accepted, and takes commands by hand.
func (p *Platform) serveReceived(w http.ResponseWriter, r *http.Request, what string) {
	if what == "commands" && r.Method == http.MethodPost {
		p.issue(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		p.write(w, r, nil, refuse(http.StatusMethodNotAllowed, "method_not_allowed", "只能读取", "this can only be read"))
		return
	}
	if sum, found := strings.CutPrefix(what, "blobs/"); found {
		p.serveBlob(w, r, sum)
		return
	}
	shown := map[string]func() any{
		"events": func() any { return some(p.Events()) }, "resources": func() any { return p.Resources() },
		"readings": func() any { return p.Readings() }, "gateways": func() any { return p.Heartbeats() }, "losses": func() any { return p.Losses() },
		"acts": func() any { return some(p.Acts()) }, "streams": func() any { return some(p.Streams()) }, "violations": func() any { return some(p.Violations()) },
	}
	show, known := shown[what]
	if !known {
		p.write(w, r, nil, refuse(http.StatusNotFound, "no_such_path", "没有此接口", "there is no such path"))
		return
	}
	p.write(w, r, nil, ok(show()))
}

// some is list, and an empty list where it is nil.
func some[V any](list []V) []V {
	if list == nil {
		return []V{}
	}
	return list
}

func (p *Platform) serveBlob(w http.ResponseWriter, r *http.Request, sum string) {
	blob := p.Blob(sum)
	if blob == nil {
		p.write(w, r, nil, refuse(http.StatusNotFound, "no_such_blob", "没有此文件", "there is no such blob"))
		return
	}
	w.Header().Set("Content-Type", http.DetectContentType(blob))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(blob) // a client that is gone needs no answer
}

// issue sends a command written by hand and answers with its result, or 504
// when none has come within a minute.
func (p *Platform) issue(w http.ResponseWriter, r *http.Request) {
	var c wire.Command
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); err != nil {
		p.write(w, r, nil, refuse(http.StatusBadRequest, "bad_json", "正文不是有效的 JSON", "the body is not valid JSON"))
		return
	}
	if c.Officer.ID == "" {
		c.Officer = wire.Officer{ID: "000000", Name: "演示 Demo"}
	}
	if c.Purpose == "" {
		c.Purpose = "演示 demonstration"
	}
	ctx, cancel := withTimeout(r, time.Minute)
	defer cancel()
	result, err := p.Command(ctx, c)
	if err != nil {
		p.write(w, r, nil, refuse(http.StatusGatewayTimeout, "no_result", "指令没有结果", err.Error()))
		return
	}
	p.write(w, r, nil, ok(result))
}
