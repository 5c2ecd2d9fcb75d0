package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
)

const (
	groupAge  = 5 * time.Millisecond // a group this old is committed even if more wait
	groupSize = 256                  // so is one of this many
	maxRuns   = 4                    // how often work is done when others break its group
)

// errAgain says that the group broke before its commit: nothing was stored.
var errAgain = errors.New("the transaction that this work shared was broken off")

// group is the transaction that stands open and those whose work is in it.
type group struct {
	tx    *sql.Tx
	began time.Time
	size  int           // callers whose work is in it
	after []func()      // called once it is committed
	done  chan struct{} // closed when err stands
	err   error
}

// Update runs fn in a transaction that it may share with other callers and
// returns after the commit is on disk.
//
// An error of fn undoes fn's work alone and is returned as it is, unless it is
// a storage error: then it becomes a Problem. fn must not end the transaction,
// must not call Update, and must leave no *sql.Rows open. It may be run again
// when another caller broke the group before its commit, and must be safe to
// run again after an error of kind ErrUnavailable, which does not mean that
// nothing was stored. Once fn has run, the end of ctx no longer stops the
// commit.
func (db *DB) Update(ctx context.Context, fn func(tx *sql.Tx) error) error {
	var err error
	for range maxRuns {
		if err = db.join(ctx, fn); !errors.Is(err, errAgain) {
			return err
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_busy", Cause: err,
		ZH: "数据库写入多次被打断，请稍后重试", EN: "writing to the database was broken off several times; try again shortly",
	}
}

// AfterCommit has then called once the transaction tx is committed, and not when
// the caller's work in it is undone. Only the fn of an [DB.Update] may call it,
// with the transaction it was given. then must not block: the next transaction
// waits for it.
func (db *DB) AfterCommit(tx *sql.Tx, then func()) {
	if g := db.group; g != nil && g.tx == tx {
		g.after = append(g.after, then)
	}
}

// join does fn's work in the open group, or in a new one, and waits for its
// commit. errAgain means that it may be done again at once.
func (db *DB) join(ctx context.Context, fn func(tx *sql.Tx) error) error {
	g, err := db.takeTurn(ctx, fn)
	if err != nil {
		return err
	}
	<-g.done
	return g.err
}

// takeTurn waits for the turn without regard to ctx: whoever let the group
// wait for us relies on us to commit it.
func (db *DB) takeTurn(ctx context.Context, fn func(tx *sql.Tx) error) (*group, error) {
	db.waiting.Add(1)
	db.turn.Lock()
	db.waiting.Add(-1)
	defer db.turn.Unlock()
	defer db.settle()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := db.begin(); err != nil {
		return nil, err
	}
	return db.work(fn)
}

// begin opens a transaction if none stands open.
func (db *DB) begin() error {
	if db.closed {
		return stateClosed()
	}
	if db.group != nil {
		return nil
	}
	if err := db.openWriter(context.Background()); err != nil {
		return err
	}
	tx, err := db.writer.BeginTx(context.Background(), nil)
	if err != nil {
		db.cfg.Log.Error("no transaction could be begun; opening the state again", "err", err)
		db.reopen()
		return storageProblem(err)
	}
	db.group = &group{tx: tx, began: time.Now(), done: make(chan struct{})}
	return nil
}

// work runs fn inside a savepoint. Should fn panic, its work is undone and the
// panic goes on in its own caller.
func (db *DB) work(fn func(tx *sql.Tx) error) (_ *group, err error) {
	g := db.group
	if _, err := g.tx.ExecContext(context.Background(), "SAVEPOINT work"); err != nil {
		db.breakOff(err)
		return nil, errAgain
	}
	kept, after := false, len(g.after)
	defer func() {
		if !kept {
			g.after = g.after[:after]
			db.undo(g)
		}
	}()
	if err := fn(g.tx); err != nil {
		return nil, storageProblem(err)
	}
	if _, err := g.tx.ExecContext(context.Background(), "RELEASE work"); err != nil {
		return nil, fmt.Errorf("state: the work ended its transaction or hid a storage error: %w", storageProblem(err))
	}
	kept = true
	g.size++
	return g, nil
}

// undo takes back the work of one caller, or of the whole group where SQLite
// has already done so (disk full, an interrupted statement).
func (db *DB) undo(g *group) {
	if _, err := g.tx.ExecContext(context.Background(), "ROLLBACK TO work; RELEASE work"); err != nil {
		db.breakOff(err)
	}
}

// breakOff gives up the open group before its commit; the others in it do
// their work again.
func (db *DB) breakOff(cause error) {
	g := db.group
	db.group = nil
	if err := g.tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) {
		cause = errors.Join(cause, err)
	}
	g.err = errAgain
	if errors.Is(cause, sql.ErrTxDone) { // somebody's work ended the transaction: part of it may stand
		g.err = notCommitted(cause)
	}
	close(g.done)
	db.cfg.Log.Warn("a transaction was broken off; opening the state again", "err", cause)
	db.reopen()
}

// settle commits the open group unless somebody waits to join it.
func (db *DB) settle() {
	g := db.group
	if g == nil {
		return
	}
	if db.waiting.Load() > 0 && g.size < groupSize && time.Since(g.began) < groupAge {
		return
	}
	db.commit()
}

// commit ends the open group, if there is one, and tells all who are in it.
func (db *DB) commit() {
	g := db.group
	if g == nil {
		return
	}
	db.group = nil
	var err error
	if g.size == 0 {
		err = g.tx.Rollback()
	} else {
		err = g.tx.Commit()
	}
	if err != nil {
		g.err = notCommitted(err)
		db.cfg.Log.Error("a commit was not confirmed; opening the state again", "err", err)
		db.reopen()
	}
	close(g.done)
	if g.err == nil {
		for _, then := range g.after {
			then()
		}
	}
}
