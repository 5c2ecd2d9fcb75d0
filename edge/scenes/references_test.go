package scenes

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/state"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string) (*References, *state.DB) {
	t.Helper()
	db, err := state.Open(context.Background(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return r, db
}

// TestReferences does one thing after the other, with a restart before each.
func TestReferences(t *testing.T) {
	dir := t.TempDir()
	learn := func(night bool, at time.Time, still string) func(*References, *state.DB) error {
		return func(r *References, _ *state.DB) error {
			return r.Learn(t.Context(), Reference{Camera: "eye", Night: night, MadeAt: at, Edges: []byte("edges"), Still: []byte(still)})
		}
	}
	steps := []struct {
		name string
		do   func(r *References, db *state.DB) error
		want []string
		set  time.Time
	}{
		{"the day is learnt", learn(false, noon, "day"), []string{"day edges"}, time.Time{}},
		{"it is not learnt twice", learn(false, noon, "other"), []string{"day edges"}, time.Time{}},
		{"the night is learnt", learn(true, noon, "night"), []string{"day edges", "night edges"}, time.Time{}},
		{"seasons pass", func(r *References, _ *state.DB) error {
			return r.Follow(t.Context(), Reference{Camera: "eye", MadeAt: noon, Edges: []byte("autumn")})
		}, []string{"day autumn", "night edges"}, time.Time{}},
		{"a person sets the day", func(r *References, db *state.DB) error {
			return db.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := r.Set(t.Context(), tx, Reference{Camera: "eye", MadeAt: noon.Add(time.Hour), SetBy: "li", Edges: []byte("set"), Still: []byte("set")})
				return err
			})
		}, []string{"set set li"}, noon.Add(time.Hour)},
		{"what was learnt before is late", func(r *References, _ *state.DB) error {
			return r.Follow(t.Context(), Reference{Camera: "eye", MadeAt: noon, Edges: []byte("winter")})
		}, []string{"set set li"}, noon.Add(time.Hour)},
		{"a preset is learnt", func(r *References, _ *state.DB) error {
			return r.Learn(t.Context(), Reference{Camera: "eye", Place: "3", MadeAt: noon, Edges: []byte("edges"), Still: []byte("gate")})
		}, []string{"set set li", "3: gate edges"}, noon.Add(time.Hour)},
		{"a person sets that of the preset", func(r *References, db *state.DB) error {
			return db.Update(t.Context(), func(tx *sql.Tx) error {
				_, err := r.Set(t.Context(), tx, Reference{Camera: "eye", Place: "3", MadeAt: noon.Add(2 * time.Hour), SetBy: "li", Edges: []byte("edges"), Still: []byte("other")})
				return err
			})
		}, []string{"set set li", "3: other edges li"}, noon.Add(2 * time.Hour)},
		{"the preset is another view", func(r *References, _ *state.DB) error { return r.Void(t.Context(), "eye", "3") }, []string{"set set li"}, noon.Add(time.Hour)},
		{"it is forgotten", func(r *References, _ *state.DB) error { return r.Forget(t.Context(), "eye") }, nil, time.Time{}},
	}
	for _, step := range steps {
		r, db := open(t, dir)
		if err := step.do(r, db); err != nil {
			t.Fatal(step.name, err)
		}
		list, err := r.Of(t.Context(), "eye")
		if err != nil {
			t.Fatal(step.name, err)
		}
		var got []string
		for _, ref := range list {
			line := string(ref.Still) + " " + string(ref.Edges)
			if ref.Place != "" {
				line = ref.Place + ": " + line
			}
			if ref.SetBy != "" {
				line += " " + ref.SetBy
			}
			got = append(got, line)
			if still, err := r.Still(t.Context(), "eye", ref.Place, ref.Night); err != nil || still.SHA256 != ref.SHA256 || len(ref.SHA256) != 64 {
				t.Error(step.name, err)
			}
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s: %s", step.name, diff)
		}
		set, err := r.Cameras(t.Context())
		if at, has := set["eye"]; err != nil || has != (step.want != nil) || !at.Equal(step.set) {
			t.Errorf("%s: set %v, %v", step.name, set, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAStillThatIsDamagedIsNotShown(t *testing.T) {
	r, db := open(t, t.TempDir())
	defer func() { _ = db.Close() }()
	if _, err := r.Still(t.Context(), "eye", "", false); !errors.Is(err, devices.ErrNotFound) {
		t.Error(err)
	}
	if err := r.Learn(t.Context(), Reference{Camera: "eye", MadeAt: noon, Edges: []byte("edges"), Still: []byte("day")}); err != nil {
		t.Fatal(err)
	}
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE scene_references SET still = ?`, []byte("altered"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Still(t.Context(), "eye", "", false); !errors.Is(err, devices.ErrUnavailable) {
		t.Error(err)
	}
}
