package gateway_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

type walls struct {
	Version int64            `json:"version"`
	Walls   []map[string]any `json:"walls"`
}

func wall(name string, cameras ...string) map[string]any {
	return map[string]any{"name": name, "layout": "1+5", "pages": []any{map[string]any{"cameras": slices.Concat([]string{""}, cameras)}}}
}

// TestWallsFollowTheirOwner keeps walls at one desk and finds them at another,
// and tells a desk that has not seen the last change.
func TestWallsFollowTheirOwner(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.call("POST", "/api/v1/setup", nil, map[string]string{"token": b.accounts.SetupToken(), "id": "root", "name": "管理员", "password": password}).want(201)
	_, err := b.accounts.CreateReady(t.Context(), accounts.By{Who: "root"}, accounts.NewPerson{ID: "li", Name: "李", Role: accounts.Viewer, Password: password})
	must(t, err)
	desk, other := header{"Cookie": b.signIn("li")}, header{"Cookie": b.signIn("li")}
	var got walls
	b.call("GET", "/api/v1/me/walls", desk, nil).want(200).into(&got)
	if diff := cmp.Diff(walls{Walls: []map[string]any{}}, got); diff != "" {
		t.Error("at first:", diff)
	}
	before, err := b.log.List(t.Context(), 0, 1000)
	must(t, err)
	first := wall("厂区", "cam-a", "cam-gone")
	first["dwell"], first["alarm_first"] = "20s", true
	b.call("PUT", "/api/v1/me/walls", desk, map[string]any{"version": 0, "walls": []any{first}}).want(200).into(&got)
	b.call("GET", "/api/v1/me/walls", other, nil).want(200).into(&got)
	if diff := cmp.Diff(1, int(got.Version)); diff != "" || len(got.Walls) != 1 || got.Walls[0]["name"] != "厂区" || got.Walls[0]["dwell"] != "20s" {
		t.Errorf("at the other desk: %+v", got)
	}
	b.call("PUT", "/api/v1/me/walls", other, map[string]any{"version": 1, "walls": []any{first, wall("罐区")}}).want(200)
	b.call("PUT", "/api/v1/me/walls", desk, map[string]any{"version": 1, "walls": []any{}}).problem(409, "version_changed")
	b.call("PUT", "/api/v1/me/walls", desk, map[string]any{"version": 0, "walls": []any{}}).problem(409, "version_changed")
	if after, err := b.log.List(t.Context(), 0, 1000); err != nil || len(after) != len(before) {
		t.Errorf("choosing walls wrote %d rows into the trail, %v", len(after)-len(before), err)
	}
	b.call("GET", "/api/v1/me/walls", header{"Cookie": b.signIn("root")}, nil).want(200).into(&got)
	if len(got.Walls) != 0 {
		t.Errorf("somebody else's walls are shown: %+v", got)
	}
	must(t, b.accounts.Retire(t.Context(), accounts.By{Who: "root"}, "li"))
	if data, version, err := b.accounts.Preference(t.Context(), "li", "walls"); data != nil || version != 0 || err != nil {
		t.Errorf("what a retired person chose: %s %d %v", data, version, err)
	}
}

func TestWallsAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t)
	me := bearer(b.token(accounts.Viewer))
	with := func(key string, v any) map[string]any {
		w := wall("x", "cam-a")
		w[key] = v
		return w
	}
	many := make([]any, 17)
	for i := range many {
		many[i] = wall(strings.Repeat("x", i+1))
	}
	pages := make([]any, 17)
	for i := range pages {
		pages[i] = map[string]any{"cameras": []string{}}
	}
	for _, tt := range []struct {
		name, field, code string
		walls             []any
	}{
		{"too many", "walls", "too_many", many},
		{"no name", "walls[0].name", "bad_name", []any{with("name", "")}},
		{"blanks around", "walls[0].name", "bad_name", []any{with("name", " x")}},
		{"long name", "walls[0].name", "bad_name", []any{with("name", strings.Repeat("墙", 41))}},
		{"one name twice", "walls[1].name", "name_used", []any{wall("x"), wall("x")}},
		{"layout", "walls[0].layout", "not_one_of", []any{with("layout", "2")}},
		{"short dwell", "walls[0].dwell", "out_of_range", []any{with("dwell", "1s")}},
		{"long dwell", "walls[0].dwell", "out_of_range", []any{with("dwell", "2h")}},
		{"no pages", "walls[0].pages", "out_of_range", []any{with("pages", []any{})}},
		{"many pages", "walls[0].pages", "out_of_range", []any{with("pages", pages)}},
		{"many places", "walls[0].pages[0].cameras", "too_many", []any{wall("x", make([]string, 16)...)}},
		{"no id", "walls[0].pages[0].cameras[1]", "bad_id", []any{wall("x", "Not an id")}},
		{"unknown field", "walls[0].colour", "unknown_field", []any{with("colour", "red")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := *b
			b.t = t
			a := b.call("PUT", "/api/v1/me/walls", me, map[string]any{"version": 0, "walls": tt.walls}).want(400)
			var p contract.Problem
			a.into(&p)
			if len(p.Errors) != 1 || p.Errors[0].Field != tt.field || p.Errors[0].Code != tt.code {
				t.Errorf("want %s of %s: %s", tt.code, tt.field, a.body)
			}
		})
	}
	b.call("PUT", "/api/v1/me/walls", me, map[string]any{"version": 0}).problem(400, "missing")
}
