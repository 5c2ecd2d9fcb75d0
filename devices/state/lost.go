package state

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// Restored tells that the database was damaged or gone and that the last backup
// took its place.
type Restored struct {
	Aside string    // where the damaged one lies; empty if there was none
	Trace string    // what in the directory tells that there had been one, if there was none
	Of    time.Time // when the backup was made: what was written since is gone
	Cause string    // what was wrong; empty where a former start had moved it aside
}

// Restored tells whether the last backup had to be put in place, at this Open or at
// one before, until [DB.Told]; nil if not.
func (db *DB) Restored() *Restored { return db.restored }

// Told has the transaction end what Restored tells.
func (db *DB) Told(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM state_meta WHERE name = 'restored'")
	return err
}

// note remembers in the database what took its place, until it is told.
func (db *DB) note(ctx context.Context, r *Restored) error {
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("note what was restored: %w", err)
	}
	_, err = db.writer.ExecContext(ctx, "INSERT INTO state_meta (name, value) VALUES ('restored', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", text)
	return storageProblem(err)
}

// recall reads what is still to be told.
func (db *DB) recall(ctx context.Context) error {
	var text []byte
	err := db.writer.QueryRowContext(ctx, "SELECT value FROM state_meta WHERE name = 'restored'").Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return storageProblem(err)
	}
	return json.Unmarshal(text, &db.restored)
}

// lost tells that there was a database where now there is no file of one, or an
// empty one; nil if there never was. What is left of its log is moved aside: SQLite
// would delete it, or read it into the backup.
func (db *DB) lost() (*Restored, error) { return db.missed(keyName, databaseName+"-wal") }

// lostWithin tells that a database which holds nothing was not begun just now, but
// lost what it held; nil if it is new or in use.
func (db *DB) lostWithin(ctx context.Context) (*Restored, error) {
	var begun bool
	err := db.writer.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE name = 'state_meta'").Scan(&begun)
	if begun {
		err = db.writer.QueryRowContext(ctx, "SELECT count(*) FROM state_meta WHERE name = 'key_check'").Scan(&begun)
	}
	if begun || err != nil {
		return nil, storageProblem(err)
	}
	return db.missed() // a first start that was cut off leaves a key, too
}

// missed looks in the directory for what only a database that was in use leaves
// behind, or those files. If there is any it moves what is in the database's place
// aside.
func (db *DB) missed(files ...string) (*Restored, error) {
	entries, err := os.ReadDir(db.cfg.Dir)
	if err != nil {
		return nil, diskProblem(db.cfg.Dir, err)
	}
	files = append(files, filepath.Base(db.backupPath()))
	var gone Restored
	for _, e := range entries {
		name := e.Name()
		path := filepath.Join(db.cfg.Dir, name)
		switch {
		case db.unmended(name): // the last is the newest
			gone.Aside = strings.TrimSuffix(strings.TrimSuffix(path, "-wal"), "-shm")
		case slices.Contains(files, name), slices.Contains(db.cfg.Remains, name) && filled(path),
			strings.HasPrefix(name, databaseName+damagedMark), strings.HasPrefix(name, databaseName+lostMark):
			gone.Trace = path
		}
	}
	if gone.Aside == "" && gone.Trace == "" {
		return nil, nil
	}
	if _, err := db.moveAside(lostMark); err != nil {
		return nil, diskProblem(db.path(), err)
	}
	db.cfg.Log.Error("the database is gone", "trace", cmp.Or(gone.Aside, gone.Trace))
	return &gone, nil
}

// unmended says whether a file is what was moved aside of a damaged database in whose
// place none has come since: the last backup is not of a later time.
func (db *DB) unmended(name string) bool {
	when, ok := strings.CutPrefix(name, databaseName+damagedMark)
	if !ok || len(when) < len(asideTime) {
		return false
	}
	at, err := time.Parse(asideTime, when[:len(asideTime)])
	return err == nil && !db.BackedUp().After(at.Add(time.Second))
}

// filled says whether a directory holds something, besides what a fresh file system does.
func filled(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "lost+found" })
}

// forGood is the problem of a database in whose place nothing can be put; backup
// says what is wrong with the last one, nil if there is none.
func (r *Restored) forGood(backup error) *devices.Problem {
	if r.Cause != "" {
		backup = errors.Join(errors.New(r.Cause), backup)
	}
	if r.Aside != "" {
		return movedAside(r.Aside, backup)
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_lost", Field: "state", Cause: backup,
		ZH: fmt.Sprintf("数据库 %s 不见了，而 %s 表明此数据目录曾在使用，且没有可用的自动备份；网关不会自行以空库启动，以免他人借初始化令牌建立首个账户。请将您自己的备份放回为 %[1]s（连同 offsite.key）后启动；若要从头开始，请先移走整个数据目录", databaseName, r.Trace),
		EN: fmt.Sprintf("the database %s is gone although %s shows that this state directory was in use, and no backup of its own can take its place; the gateway does not begin anew by itself, or whoever sees the set-up token could make the first account: put a backup of yours in place as %[1]s, with its offsite.key, or, to begin anew, move the whole state directory away", databaseName, r.Trace),
	}
}
