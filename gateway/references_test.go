package gateway_test

import (
	"context"
	"database/sql"
	"testing"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/ptz"
	"offsite/edge/scenes"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

// album keeps references of cameras, of which cam-a alone shows something.
type album struct {
	kept *scenes.References
	db   *state.DB
}

func newAlbum(t testing.TB, db *state.DB) album {
	t.Helper()
	r, err := scenes.Open(context.Background(), db)
	if err != nil {
		t.Fatal(err)
	}
	return album{r, db}
}

func (a album) References(ctx context.Context, camera string) ([]scenes.Reference, error) {
	return a.kept.Of(ctx, camera)
}

func (a album) ReferenceStill(ctx context.Context, camera, place string, night bool) (scenes.Reference, error) {
	return a.kept.Still(ctx, camera, place, night)
}

func (album) Stance(string) ptz.Stance { return ptz.Stance{Place: "3", Since: day} }

func (a album) SetReference(ctx context.Context, camera, who string, also func(context.Context, *sql.Tx) error) (ref scenes.Reference, err error) {
	if camera != "cam-a" {
		return ref, &devices.Problem{Kind: devices.ErrConflict, Code: "nothing_to_recognise", ZH: "画面内容太少", EN: "too little in it"}
	}
	err = a.db.Update(ctx, func(tx *sql.Tx) (err error) {
		ref, err = a.kept.Set(ctx, tx, scenes.Reference{Camera: camera, Place: "3", MadeAt: day, SetBy: who, Edges: []byte("edges"), Still: []byte("\xff\xd8\xffyard")})
		if err != nil {
			return err
		}
		return also(ctx, tx)
	})
	return ref, err
}

func TestReferencesOfCameras(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	staff, viewer := bearer(b.token(accounts.Staff, "a", "b")), bearer(b.token(accounts.Viewer, "a"))
	const camera = "/api/v1/cameras/cam-a"
	var list contract.CameraReferenceList
	b.call("GET", camera+"/references", viewer, nil).want(200).into(&list)
	if len(list.Items) != 0 {
		t.Errorf("%+v", list)
	}
	b.call("GET", camera+"/reference.jpg", viewer, nil).problem(404, "no_reference")
	b.call("POST", camera+":set-reference", viewer, nil).problem(403, "role_not_allowed")
	b.call("POST", "/api/v1/cameras/cam-b:set-reference", staff, nil).problem(409, "nothing_to_recognise")
	var set contract.CameraReference
	b.call("POST", camera+":set-reference", staff, nil).want(200).into(&set)
	if set.SetBy == "" || set.Night || !set.MadeAt.Equal(day) {
		t.Errorf("%+v", set)
	}
	b.call("GET", camera+"/references", viewer, nil).want(200).into(&list)
	if len(list.Items) != 1 || list.Items[0] != set || set.Place != "3" || list.Stance != (ptz.Stance{Place: "3", Since: day}) {
		t.Errorf("%+v", list)
	}
	a := b.call("GET", camera+"/reference.jpg?place=3", viewer, nil).want(200)
	if string(a.body) != "\xff\xd8\xffyard" || a.header.Get("ETag") != `"`+set.Sha256+`"` || a.header.Get("X-Captured-At") == "" {
		t.Errorf("%q %v", a.body, a.header)
	}
	b.call("GET", camera+"/reference.jpg?place=3&night=true", viewer, nil).problem(404, "no_reference")
	b.call("GET", "/api/v1/cameras/cam-b/reference.jpg", viewer, nil).problem(404, "not_found")
	for act, n := range map[string]int{"camera.set_reference": 1, "reference.view": 1} {
		if rows := b.acts(act); len(rows) != n || rows[0].What != "camera/cam-a" {
			t.Errorf("%s: %+v", act, rows)
		}
	}
}
