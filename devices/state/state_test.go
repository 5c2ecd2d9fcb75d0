package state_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"modernc.org/sqlite"

	"offsite/devices"
	"offsite/devices/state"
)

func TestMain(m *testing.M) {
	sqlite.MustRegisterScalarFunction("interrupted", 1, func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
		if cancel, ok := interrupts.Load(args[0]); ok {
			cancel.(context.CancelFunc)()
		}
		return "x", nil
	})
	goleak.VerifyTestMain(m)
}

// interrupts are what the SQL function interrupted(i) calls, by i.
var interrupts sync.Map

var notes = fstest.MapFS{"00001_notes.sql": {Data: []byte("-- +goose Up\nCREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);\n")}}

// open gives a database with the table notes, closed at the end of the test.
func open(t testing.TB, dir string) *state.DB {
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
	if err := db.Migrate(t.Context(), "notes", notes); err != nil {
		t.Fatal(err)
	}
	return db
}

func put(text string) func(tx *sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO notes (text) VALUES (?)", text)
		return err
	}
}

func count(t testing.TB, db *state.DB) (n int) {
	t.Helper()
	if err := db.Read().QueryRow("SELECT count(*) FROM notes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// problem gives the Problem in err, which must be there in both languages.
func problem(t testing.TB, err error) *devices.Problem {
	t.Helper()
	var p *devices.Problem
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a Problem", err)
	}
	if p.Code == "" || p.ZH == "" || p.EN == "" {
		t.Fatalf("incomplete problem %+v", p)
	}
	return p
}

func TestWhatUpdateReturnedFromIsVisible(t *testing.T) {
	db := open(t, t.TempDir())
	var wg sync.WaitGroup
	const writers, each = 20, 50
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				text := fmt.Sprintf("%d-%d", w, i)
				if err := db.Update(t.Context(), put(text)); err != nil {
					t.Error(err)
					return
				}
				var got string
				if err := db.Read().QueryRow("SELECT text FROM notes WHERE text = ?", text).Scan(&got); err != nil {
					t.Errorf("%s: %v", text, err)
				}
			}
		})
	}
	wg.Wait()
	if got := count(t, db); got != writers*each {
		t.Errorf("%d rows, want %d", got, writers*each)
	}
}

func TestAnErrorUndoesItsOwnWorkAlone(t *testing.T) {
	db := open(t, t.TempDir())
	errOwn := errors.New("own")
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			err := db.Update(t.Context(), func(tx *sql.Tx) error {
				if err := put("x")(tx); err != nil {
					return err
				}
				if i%4 == 0 {
					return errOwn
				}
				return nil
			})
			if want := i%4 == 0; errors.Is(err, errOwn) != want || (err != nil) != want {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := count(t, db); got != 30 {
		t.Errorf("%d rows, want 30", got)
	}
}

func TestAPanicStaysWithItsCaller(t *testing.T) {
	db := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			defer func() {
				if r := recover(); (r != nil) != (i == 7) {
					t.Errorf("%d recovered %v", i, r)
				}
			}()
			_ = db.Update(t.Context(), func(tx *sql.Tx) error {
				if err := put("x")(tx); err != nil {
					return err
				}
				if i == 7 {
					panic("seven")
				}
				return nil
			})
		})
	}
	wg.Wait()
	if got := count(t, db); got != 19 {
		t.Errorf("%d rows, want 19", got)
	}
}

func TestWorkThatEndsTheTransactionIsTold(t *testing.T) {
	db := open(t, t.TempDir())
	err := db.Update(t.Context(), func(tx *sql.Tx) error { return tx.Commit() })
	if !errors.Is(err, sql.ErrTxDone) {
		t.Errorf("got %v, want it told", err)
	}
	if err := db.Update(t.Context(), put("after")); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestCancelledCallersDoNotHoldUpTheGroup(t *testing.T) {
	db := open(t, t.TempDir())
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			ctx := t.Context()
			if i%2 == 1 {
				ctx = gone
			}
			if err := db.Update(ctx, put("x")); (err != nil) != (i%2 == 1) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := count(t, db); got != 50 {
		t.Errorf("%d rows, want 50", got)
	}
}

// An interrupted write makes SQLite roll back the whole transaction: the
// others in the group must be done again, the interrupted one must not.
func TestAnInterruptedWriteIsNotItsNeighboursLoss(t *testing.T) {
	db := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			err := db.Update(t.Context(), func(tx *sql.Tx) error {
				if i%10 != 3 {
					return put("x")(tx)
				}
				ctx, cancel := context.WithCancel(t.Context())
				interrupts.Store(int64(i), cancel) // the driver may miss one that comes before the statement runs
				_, err := tx.ExecContext(ctx, `INSERT INTO notes (text) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT interrupted(?) FROM n`, i)
				return err
			})
			if (err != nil) != (i%10 == 3) {
				t.Errorf("%d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if got := count(t, db); got != 27 {
		t.Errorf("%d rows, want 27", got)
	}
}

func TestSettingsAreThePromised(t *testing.T) {
	db := open(t, t.TempDir())
	settings := func(q func(string) *sql.Row) map[string]string {
		got := map[string]string{}
		for _, name := range []string{"journal_mode", "synchronous", "busy_timeout", "foreign_keys", "journal_size_limit", "cell_size_check", "trusted_schema", "mmap_size"} {
			var v string
			if err := q("PRAGMA " + name).Scan(&v); err != nil {
				v = err.Error()
			}
			got[name] = v
		}
		return got
	}
	want := map[string]string{
		"journal_mode": "wal", "synchronous": "2", "busy_timeout": "5000", "foreign_keys": "1",
		"journal_size_limit": "67108864", "cell_size_check": "1", "trusted_schema": "0", "mmap_size": "0",
	}
	if err := db.Update(t.Context(), func(tx *sql.Tx) error {
		if diff := cmp.Diff(want, settings(func(s string) *sql.Row { return tx.QueryRow(s) })); diff != "" {
			t.Errorf("writer:\n%s", diff)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, settings(func(s string) *sql.Row { return db.Read().QueryRow(s) })); diff != "" {
		t.Errorf("reader:\n%s", diff)
	}
	if _, err := db.Read().Exec("DELETE FROM notes"); err == nil {
		t.Error("the read pool writes")
	}
}

func TestAfterCloseNothingIsTaken(t *testing.T) {
	db := open(t, t.TempDir())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), put("x")); !errors.Is(err, devices.ErrUnavailable) || problem(t, err).Code != "state_closed" {
		t.Errorf("got %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

func TestAfterCommitFollowsTheCommitAndNothingElse(t *testing.T) {
	db := open(t, t.TempDir())
	var seen []int
	look := func() { seen = append(seen, count(t, db)) }
	undone := errors.New("thought better of it")
	for _, err := range []error{nil, undone, nil} {
		got := db.Update(t.Context(), func(tx *sql.Tx) error {
			db.AfterCommit(tx, look)
			return errors.Join(put("x")(tx), err)
		})
		if !errors.Is(got, err) {
			t.Fatal(got)
		}
	}
	if err := db.Update(t.Context(), func(*sql.Tx) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{1, 2}, seen); diff != "" {
		t.Errorf("rows seen after each commit: %s", diff)
	}
}
