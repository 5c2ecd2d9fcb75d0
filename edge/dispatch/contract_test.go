package dispatch_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/getkin/kin-openapi/openapi3"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
)

func document(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(dispatch.Contract())
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func TestContractIsValid(t *testing.T) {
	if err := document(t).Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestContractHasTheWholeOfTheDesign holds the document to the paths and
// commands that were agreed, and says which of them are in use.
func TestContractHasTheWholeOfTheDesign(t *testing.T) {
	doc := document(t)
	inUse := map[string]bool{
		"POST /v1/enrolments": true, "PUT /v1/gateways/{id}": true, "POST /v1/gateways/{id}/keys": true,
		"GET /v1/gateways/{id}/commands": true, "POST /v1/commands/{id}/result": true, "POST /v1/resources": true,
		"POST /v1/readings": true, "PUT /v1/blobs/{sha256}": true, "POST /v1/events": true, "POST /v1/acts": true, "POST /v1/streams": true,
		"POST /api/v1/dispatch/commands": true,
		"POST /v1/clues/{id}/actions":    false, "POST /v1/aggregates": false, "GET /v1/reconcile": false,
	}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			name := method + " " + path
			use, known := inUse[name]
			if !known {
				t.Errorf("%s is not in the design", name)
			}
			if later := op.Extensions["x-status"] == "later"; later == use {
				t.Errorf("%s: later %v", name, later)
			}
			if !bilingual(op.Summary) {
				t.Errorf("%s: summary is not in both languages: %q", name, op.Summary)
			}
			hasKey := slices.ContainsFunc(op.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == "Idempotency-Key" })
			if wants := method != "GET" && path != dispatch.CommandPath; wants != hasKey {
				t.Errorf("%s: idempotency key %v", name, hasKey)
			}
			delete(inUse, name)
		}
	}
	for name := range inUse {
		t.Errorf("%s is missing", name)
	}
	commandsAreDescribed(t, doc)
}

func commandsAreDescribed(t *testing.T, doc *openapi3.T) {
	t.Helper()
	kinds := doc.Components.Schemas["CommandType"].Value
	described, ok := kinds.Extensions["x-commands"].(map[string]any)
	if !ok || len(described) != len(kinds.Enum) {
		t.Fatalf("%d commands, %d described", len(kinds.Enum), len(described))
	}
	var now []string
	for _, kind := range dispatch.InUse() {
		now = append(now, string(kind))
	}
	for _, kind := range kinds.Enum {
		name := kind.(string)
		entry, ok := described[name].(map[string]any)
		if !ok {
			t.Errorf("%s is not described", name)
			continue
		}
		if later := entry["x-status"] == "later"; later == slices.Contains(now, name) {
			t.Errorf("%s: later %v", name, later)
		}
		for _, part := range []string{"args", "result"} {
			ref, given := entry[part].(string)
			if given && doc.Components.Schemas[strings.TrimPrefix(ref, "#/components/schemas/")] == nil {
				t.Errorf("%s: %s is not a schema", name, ref)
			}
		}
	}
}

func bilingual(s string) bool {
	han, latin := false, false
	for _, r := range s {
		han = han || unicode.Is(unicode.Han, r)
		latin = latin || unicode.Is(unicode.Latin, r)
	}
	return han && latin
}

func TestTimeIsWrittenInBeijing(t *testing.T) {
	at := time.Date(2026, 2, 28, 16, 0, 0, 123_456_789, time.UTC)
	raw, err := json.Marshal(wire.At(at))
	if err != nil || string(raw) != `"2026-03-01T00:00:00.123+08:00"` {
		t.Errorf("%s %v", raw, err)
	}
	var back wire.Time
	if err := json.Unmarshal(raw, &back); err != nil || !back.Equal(at.Truncate(time.Millisecond)) {
		t.Errorf("%v %v", back, err)
	}
	raw, err = json.Marshal(wire.Evidence{State: wire.EvidenceStatePending})
	if err != nil || string(raw) != `{"state":"pending"}` {
		t.Errorf("%s %v", raw, err)
	}
}
