package gateway_test

import (
	"testing"

	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

func TestDeadLettersAndTheirReplay(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	engineer, stranger := bearer(b.token(accounts.FieldEngineer, "a")), bearer(b.token(accounts.FieldEngineer, "b"))
	list := func(h header, query string) int {
		t.Helper()
		var body contract.DeadLetterList
		b.call("GET", "/api/v1/dead-letters"+query, h, nil).want(200).into(&body)
		return len(body.Items)
	}
	if n := list(engineer, ""); n != 1 {
		t.Errorf("an engineer of the site sees %d", n)
	}
	if n := list(stranger, ""); n != 0 {
		t.Errorf("an engineer of another site sees %d", n)
	}
	if n := list(engineer, "?device=dust-b") + list(engineer, "?before=7"); n != 0 {
		t.Errorf("filters give %d", n)
	}
	b.call("GET", "/api/v1/dead-letters?max=0", engineer, nil).problem(400, "out_of_range")
	b.call("GET", "/api/v1/dead-letters", bearer(b.token(accounts.Viewer)), nil).want(403)
	var done contract.ReplayResult
	b.call("POST", "/api/v1/dead-letters:replay", engineer, map[string]string{"device": "dust-a"}).want(200).into(&done)
	if done.Understood != 1 || done.Readings != 2 {
		t.Errorf("replay %+v", done)
	}
	b.call("POST", "/api/v1/dead-letters:replay", stranger, map[string][]int{"ids": {7}}).want(404)
	b.call("POST", "/api/v1/dead-letters:replay", engineer, map[string][]int{"ids": {8}}).want(404)
	b.call("POST", "/api/v1/dead-letters:replay", engineer, map[string]any{}).problem(400, "missing")
	b.call("POST", "/api/v1/dead-letters:replay", engineer, map[string]any{"ids": make([]int, 1001)}).problem(400, "too_many")
	b.call("POST", "/api/v1/dead-letters:replay", bearer(b.token(accounts.Staff)), map[string][]int{"ids": {7}}).want(403)
	if n := len(b.acts("dead_letter.replay")); n != 1 {
		t.Errorf("%d rows in the trail", n)
	}
}
