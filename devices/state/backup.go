package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

func (db *DB) backupPath() string { return db.path() + ".backup" }

// BackedUp tells when the last backup was made; zero if there is none.
func (db *DB) BackedUp() time.Time {
	info, err := os.Stat(db.backupPath())
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// Backup writes what is committed into the backup that a start with a damaged
// database takes, in place of the one before. Writers go on meanwhile. It
// returns a Problem of code disk_full where the disk has no room for three times
// the database: the backup must not bring about what it is made for.
func (db *DB) Backup(ctx context.Context) error {
	db.copying.Lock()
	defer db.copying.Unlock()
	info, err := os.Stat(db.path())
	if err != nil {
		return fmt.Errorf("back up the state: %w", diskProblem(db.path(), err))
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(db.cfg.Dir, &disk); err == nil && int64(disk.Bavail)*disk.Bsize < 3*info.Size() {
		return fmt.Errorf("back up the state: %w", diskFull(unix.ENOSPC))
	}
	fresh := db.backupPath() + ".new"
	if err := db.copyTo(ctx, fresh); err != nil {
		return errors.Join(fmt.Errorf("back up the state: %w", err), os.Remove(fresh))
	}
	if err := errors.Join(os.Rename(fresh, db.backupPath()), syncDirectory(db.cfg.Dir)); err != nil {
		return fmt.Errorf("back up the state: %w", diskProblem(db.backupPath(), err))
	}
	return nil
}

// copyTo writes what is committed into a new file, and that to the disk.
func (db *DB) copyTo(ctx context.Context, path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600) // before SQLite does, which would let others read it
	if err != nil {
		return diskProblem(path, err)
	}
	defer f.Close()
	from, err := sql.Open("sqlite", db.source("_pragma=temp_store(FILE)"))
	if err != nil {
		return err
	}
	_, err = from.ExecContext(ctx, `VACUUM INTO ?`, path)
	if err = errors.Join(err, from.Close()); err != nil {
		return storageProblem(err)
	}
	if err := f.Sync(); err != nil {
		return diskProblem(path, err)
	}
	return nil
}

// restore puts the last backup in the place of the database that is damaged or gone.
// The backup stays, for the next time.
func (db *DB) restore(ctx context.Context, gone *Restored) error {
	gone.Of = db.BackedUp()
	if gone.Of.IsZero() {
		return gone.forGood(nil)
	}
	fresh := db.path() + ".restoring"
	err := copyFile(db.backupPath(), fresh)
	if err == nil {
		err = whole(ctx, fresh)
	}
	if err == nil {
		err = errors.Join(os.Rename(fresh, db.path()), syncDirectory(db.cfg.Dir))
	}
	if err != nil {
		return errors.Join(gone.forGood(fmt.Errorf("the backup: %w", err)), ignoreMissing(os.Remove(fresh)))
	}
	db.cfg.Log.Error("the last backup is in the database's place", "of", gone.Of, "err", gone.Cause)
	return nil
}

// whole checks a database file that nobody has open.
func whole(ctx context.Context, path string) error {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro&immutable=1"}
	one, err := sql.Open("sqlite", u.String())
	if err != nil {
		return err
	}
	defer func() { _ = one.Close() }() // nothing was written
	return quickCheck(ctx, one)
}

// copyFile copies a file onto the disk.
func copyFile(from, to string) error {
	content, err := os.Open(from)
	if err != nil {
		return err
	}
	defer content.Close()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// backupEvery is how much of the state a damaged database may cost. A backup of
// 100 MB each six hours writes 0.4 GB a day, which flash bears for years.
const backupEvery = 6 * time.Hour

// KeepBackup keeps a backup that is not too old until ctx ends.
func (db *DB) KeepBackup(ctx context.Context) error {
	for {
		rest := backupDue(db.BackedUp(), time.Now())
		if rest == 0 {
			if err := db.Backup(ctx); err != nil {
				return err
			}
			continue
		}
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// backupDue says when the next backup is due. A clock that was set back leaves one of
// the future.
func backupDue(last, now time.Time) time.Duration {
	return min(max(backupEvery-now.Sub(last), 0), backupEvery)
}
