package audit_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/audit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func openState(t testing.TB, dir string) *state.DB {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func open(t testing.TB, db *state.DB) *audit.Log {
	t.Helper()
	l, err := audit.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// raw opens the database behind the gateway's back.
func raw(t testing.TB, dir string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "offsite.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func record(t testing.TB, l *audit.Log, n int) {
	t.Helper()
	for i := range n {
		e := audit.Entry{Who: "王工", From: "10.0.0.9", Act: "camera.replace", What: fmt.Sprintf("camera/cam-%d", i), Before: audit.Hash(i), After: audit.Hash(i + 1), Result: "ok"}
		if err := l.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// field verifies the chain and gives the field of the Problem, "" when whole.
func field(t testing.TB, l *audit.Log) string {
	t.Helper()
	err := l.Verify(t.Context())
	if err == nil {
		return ""
	}
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != "audit_broken" || p.ZH == "" || p.EN == "" {
		t.Fatalf("not the Problem: %v", err)
	}
	return p.Field
}

// unprotected drops what protects the tables, does the statements and puts the
// protection back, as a careful intruder would.
func unprotected(t testing.TB, db *sql.DB, statements ...string) {
	t.Helper()
	rows, err := db.Query(`SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'audit%'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var drop, restore []string
	for rows.Next() {
		var name, text string
		if err := rows.Scan(&name, &text); err != nil {
			t.Fatal(err)
		}
		drop, restore = append(drop, "DROP TRIGGER "+name), append(restore, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, statement := range append(append(drop, statements...), restore...) {
		if _, err := db.Exec(statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func TestTamperingIsNamed(t *testing.T) {
	tests := []struct {
		name       string
		statements []string
		want       string // at once
		later      string // after one more entry
	}{
		{"nothing", nil, "", ""},
		{"a text changed", []string{`UPDATE audit SET who = '李工' WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"two texts exchanged", []string{`UPDATE audit SET before = after, after = before WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"text moved to the next column", []string{`UPDATE audit SET who = who || origin, origin = '' WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"the time changed", []string{`UPDATE audit SET at = at + 1 WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"the mac changed", []string{`UPDATE audit SET mac = zeroblob(32) WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"a row deleted", []string{`DELETE FROM audit WHERE seq = 5`}, "audit[5]", "audit[5]"},
		{"a row deleted and the gap closed", []string{`DELETE FROM audit WHERE seq = 5`, `UPDATE audit SET seq = seq - 1 WHERE seq > 5`}, "audit[5]", "audit[5]"},
		{"the first row deleted", []string{`DELETE FROM audit WHERE seq = 1`}, "audit[1]", "audit[1]"},
		{"rows exchanged", []string{`UPDATE audit SET seq = 100 WHERE seq = 5`, `UPDATE audit SET seq = 5 WHERE seq = 6`, `UPDATE audit SET seq = 6 WHERE seq = 100`}, "audit[5]", "audit[5]"},
		{"a row forged", []string{`INSERT INTO audit SELECT 12, at, who, origin, 'camera.read', what, purpose, before, after, result, detail, mac FROM audit WHERE seq = 11`}, "audit[12]", "audit[12]"},
		{"the end cut off", []string{`DELETE FROM audit WHERE seq > 8`}, "audit[9]", "audit[9]"},
		{"the end cut off and the head moved", []string{`DELETE FROM audit WHERE seq > 8`, `UPDATE audit_head SET seq = 8, last = (SELECT mac FROM audit WHERE seq = 8)`}, "audit[9]", "audit[9]"},
		{"the head deleted", []string{`DELETE FROM audit_head`}, "audit[12]", "audit[12]"},
		{"the head's mac changed", []string{`UPDATE audit_head SET mac = zeroblob(32)`}, "audit[12]", "audit[12]"},
		{"all deleted", []string{`DELETE FROM audit`, `DELETE FROM audit_head`}, "audit[1]", "audit[1]"},
		{"all rows deleted", []string{`DELETE FROM audit`}, "audit[1]", "audit[1]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			db := openState(t, dir)
			l := open(t, db)
			record(t, l, 10) // rows 2 to 11
			if got := field(t, l); got != "" {
				t.Fatalf("broken before: %s", got)
			}
			unprotected(t, raw(t, dir), tt.statements...)
			if got := field(t, l); got != tt.want {
				t.Errorf("found %q, want %q", got, tt.want)
			}
			record(t, l, 2) // the gateway goes on, and launders nothing
			if got := field(t, l); got != tt.later {
				t.Errorf("found %q after one more entry, want %q", got, tt.later)
			}
			if got := field(t, open(t, db)); got != tt.later {
				t.Errorf("found %q after opening again, want %q", got, tt.later)
			}
		})
	}
}

func TestTheTablesProtectThemselves(t *testing.T) {
	dir := t.TempDir()
	l := open(t, openState(t, dir))
	record(t, l, 3)
	db := raw(t, dir)
	for _, statement := range []string{
		`UPDATE audit SET who = 'x'`,
		`DELETE FROM audit`,
		`DELETE FROM audit WHERE seq = 4`,
		`INSERT OR REPLACE INTO audit SELECT * FROM audit WHERE seq = 2`,
		`INSERT INTO audit SELECT 0, at, who, origin, act, what, purpose, before, after, result, detail, mac FROM audit WHERE seq = 2`,
		`UPDATE audit_head SET seq = 2`,
		`UPDATE audit_head SET mac = zeroblob(32)`,
		`DELETE FROM audit_head`,
		`UPDATE audit_key SET sealed = zeroblob(61)`,
		`DELETE FROM audit_key`,
	} {
		if _, err := db.Exec(statement); err == nil {
			t.Errorf("done: %s", statement)
		}
	}
	if got := field(t, l); got != "" {
		t.Errorf("broken: %s", got)
	}
	if _, err := db.Exec(`DROP TRIGGER audit_no_delete`); err != nil {
		t.Fatal(err)
	}
	if got := field(t, l); got != "audit" {
		t.Errorf("a dropped trigger gives %q", got)
	}
}

func TestWithoutItsKeyTheLogDoesNotOpen(t *testing.T) {
	for name, statement := range map[string]string{
		"deleted":          `DELETE FROM audit_key`,
		"of another chain": `UPDATE audit_key SET sealed = zeroblob(61)`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			db := openState(t, dir)
			record(t, open(t, db), 1)
			unprotected(t, raw(t, dir), statement)
			_, err := audit.Open(t.Context(), db)
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != "audit_key_gone" || p.ZH == "" {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestListGoesBackwards(t *testing.T) {
	l := open(t, openState(t, t.TempDir()))
	at := time.Date(2026, 7, 1, 8, 0, 0, 123456789, time.FixedZone("", 8*3600))
	full := audit.Entry{At: at, Who: "w\x00", From: "f", Act: "a", What: "x\xff", Purpose: "p", Before: "b", After: "c", Result: "r", Detail: "d"}
	if err := l.Record(t.Context(), full); err != nil {
		t.Fatal(err)
	}
	record(t, l, 4)
	var seqs []int64
	var before int64
	for {
		rows, err := l.List(t.Context(), before, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			break
		}
		for _, r := range rows {
			seqs, before = append(seqs, r.Seq), r.Seq
			if r.Seq == 2 {
				want := full
				want.At, want.Who, want.What = at.Truncate(time.Millisecond).UTC(), "w\uFFFD", "x\uFFFD"
				if diff := cmp.Diff(want, r.Entry); diff != "" {
					t.Error(diff)
				}
			}
			if r.Seq == 1 && (r.Act != "audit.begin" || r.At.IsZero()) {
				t.Errorf("the first row: %+v", r)
			}
		}
	}
	if diff := cmp.Diff([]int64{6, 5, 4, 3, 2, 1}, seqs); diff != "" {
		t.Error(diff)
	}
	head, err := l.Head(t.Context())
	newest, _ := l.List(t.Context(), 0, 1)
	if err != nil || head.Seq != 6 || head.MAC != newest[0].MAC {
		t.Errorf("head %+v, %v", head, err)
	}
}

func TestAnEntryStandsAndFallsWithItsAct(t *testing.T) {
	db := openState(t, t.TempDir())
	l := open(t, db)
	errAct := errors.New("act")
	err := db.Update(t.Context(), func(tx *sql.Tx) error {
		return errors.Join(l.Append(t.Context(), tx, audit.Entry{Who: "w", Act: "a"}), errAct)
	})
	if !errors.Is(err, errAct) {
		t.Fatal(err)
	}
	if err := l.Record(t.Context(), audit.Entry{Who: "", Act: "a"}); err == nil || !strings.Contains(err.Error(), "who") {
		t.Errorf("nobody's act was taken: %v", err)
	}
	if rows, err := l.List(t.Context(), 0, 10); err != nil || len(rows) != 1 {
		t.Errorf("rows %v, %v", rows, err)
	}
	if got := field(t, l); got != "" {
		t.Errorf("broken: %s", got)
	}
}

func TestManyWritersMakeOneChain(t *testing.T) {
	db := openState(t, t.TempDir())
	l := open(t, db)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 25 {
				e := audit.Entry{Who: "w", Act: "a", What: fmt.Sprint(i, n)}
				err := db.Update(t.Context(), func(tx *sql.Tx) error {
					if err := l.Append(t.Context(), tx, e); err != nil {
						return err
					}
					if n%5 == 0 {
						return errors.New("undone")
					}
					return nil
				})
				if (err != nil) != (n%5 == 0) {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		if got := field(t, l); got != "" { // while it grows
			t.Errorf("broken: %s", got)
		}
	}
	wg.Wait()
	if got := field(t, l); got != "" {
		t.Errorf("broken: %s", got)
	}
	if head, err := l.Head(t.Context()); err != nil || head.Seq != 1+16*20 {
		t.Errorf("head %+v, %v", head, err)
	}
}

// BenchmarkRecord is 64 callers that share commits.
func BenchmarkRecord(b *testing.B) {
	l := open(b, openState(b, b.TempDir()))
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Record(b.Context(), audit.Entry{Who: "w", Act: "a", What: "camera/1", Result: "ok"}); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestSearchChooses(t *testing.T) {
	l := open(t, openState(t, t.TempDir()))
	day := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for i, e := range []audit.Entry{
		{Who: "li", Act: "camera.create", What: "camera/cam-1"},
		{Who: "li", Act: "cameras", What: "camera/cam-2"},
		{Who: "wang", Act: "camera.retire", What: "camera/cam-1"},
		{Who: "wang", Act: "site.create", What: "site/a"},
	} {
		e.At, e.Result = day.AddDate(0, 0, i), "ok"
		if err := l.Record(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name string
		f    audit.Filter
		want []int64 // row 1 begins the chain
	}{
		{"who", audit.Filter{Who: "li"}, []int64{3, 2}},
		{"one act", audit.Filter{Act: "cameras"}, []int64{3}},
		{"acts that begin so", audit.Filter{Act: "camera."}, []int64{4, 2}},
		{"one thing", audit.Filter{What: "camera/cam-1"}, []int64{4, 2}},
		{"things of a kind", audit.Filter{What: "camera/"}, []int64{4, 3, 2}},
		{"a percent sign is itself", audit.Filter{What: "%/"}, nil},
		{"a span of time", audit.Filter{From: day.AddDate(0, 0, 1), To: day.AddDate(0, 0, 3)}, []int64{4, 3}},
		{"all together", audit.Filter{Who: "wang", Act: "camera.", What: "camera/"}, []int64{4}},
		{"before", audit.Filter{Who: "li", Before: 3}, []int64{2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.f.Max = 10
			rows, err := l.Search(t.Context(), tt.f)
			if err != nil {
				t.Fatal(err)
			}
			var seqs []int64
			for _, r := range rows {
				seqs = append(seqs, r.Seq)
			}
			if diff := cmp.Diff(tt.want, seqs); diff != "" {
				t.Error(diff)
			}
		})
	}
}
