package state

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	sqlite3 "modernc.org/sqlite/lib"

	"offsite/devices"
)

// oldestSQLite is the first release without the WAL-reset fault that could
// damage a database with several connections.
var oldestSQLite = [3]int{3, 51, 3}

// lockDirectory takes the lock of dir, or names the process that holds it.
func lockDirectory(dir string) (*os.File, error) {
	path := filepath.Join(dir, "offsite.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskProblem(path, err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		text, _ := io.ReadAll(io.LimitReader(f, 32))
		return nil, errors.Join(locked(dir, strings.TrimSpace(string(text))), f.Close())
	}
	if err == nil {
		err = errors.Join(f.Truncate(0), writePID(f))
	}
	if err != nil {
		return nil, errors.Join(diskProblem(path, err), f.Close())
	}
	return f, nil
}

func writePID(f *os.File) error {
	_, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

func locked(dir, pid string) *devices.Problem {
	if pid == "" {
		pid = "?"
	}
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "state_locked", Field: "state",
		ZH: fmt.Sprintf("数据目录 %s 正由另一个网关进程（进程号 %s）使用；请先停止它，或另选目录", dir, pid),
		EN: fmt.Sprintf("the state directory %s is in use by another gateway process (pid %s); stop it first, or choose another directory", dir, pid),
	}
}

// prepareFile makes the database file readable by its owner alone, unless there
// is none where there was one before: then it says so.
func (db *DB) prepareFile() (gone *Restored, err error) {
	if info, err := os.Stat(db.path()); err == nil && info.Size() > 0 {
		return nil, nil
	}
	if gone, err := db.lost(); gone != nil || err != nil {
		return gone, err
	}
	f, err := os.OpenFile(db.path(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, diskProblem(db.path(), err)
	}
	if err := errors.Join(f.Close(), syncDirectory(db.cfg.Dir)); err != nil {
		return nil, diskProblem(db.path(), err)
	}
	return nil, nil
}

// check refuses an SQLite that is too old and a database that is damaged.
func (db *DB) check(ctx context.Context) error {
	var version string
	if err := db.writer.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return storageProblem(err)
	}
	if olderThan(version, oldestSQLite) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "sqlite_too_old",
			ZH: fmt.Sprintf("SQLite %s 过旧，须为 3.51.3 或更新；请使用官方发布的程序", version),
			EN: fmt.Sprintf("SQLite %s is too old, want 3.51.3 or newer; use the released program", version),
		}
	}
	return quickCheck(ctx, db.writer)
}

// quickCheck refuses a database that is damaged.
func quickCheck(ctx context.Context, one *sql.DB) error {
	var answer string
	if err := one.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&answer); err != nil {
		return storageProblem(err)
	}
	if answer != "ok" {
		return &devices.Problem{Kind: devices.ErrUnavailable, Code: "state_damaged", Cause: errors.New(answer), ZH: "数据库文件已损坏", EN: "the database file is damaged"}
	}
	return nil
}

func olderThan(version string, want [3]int) bool {
	parts := strings.Split(version, ".")
	for i, w := range want {
		if i >= len(parts) {
			return w > 0
		}
		got, err := strconv.Atoi(parts[i])
		if err != nil || got != w {
			return err != nil || got < w
		}
	}
	return false
}

// moveIfDamaged moves the database aside when err says that it is damaged, and
// says where to; nil if it is not.
func (db *DB) moveIfDamaged(err error) *Restored {
	var p *devices.Problem
	if !errors.As(err, &p) || p.Code != "state_damaged" {
		if code := primaryCode(err); code != sqlite3.SQLITE_CORRUPT && code != sqlite3.SQLITE_NOTADB {
			return nil
		}
	}
	aside, moving := db.moveAside(damagedMark)
	db.cfg.Log.Error("the database is damaged and was moved aside", "err", errors.Join(moving, err))
	return &Restored{Aside: aside, Cause: err.Error()}
}

// What files that were moved aside have behind their names, before the time.
const (
	damagedMark = ".damaged-"
	lostMark    = ".lost-" // what is left of a database that is gone
	asideTime   = "20060102T150405"
)

// moveAside closes the database, moves what there is of its files aside, and says
// where to. A log that stays must not meet another database.
func (db *DB) moveAside(mark string) (aside string, err error) {
	aside = db.path() + mark + time.Now().UTC().Format(asideTime)
	errs := []error{db.closePools()}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		errs = append(errs, ignoreMissing(os.Rename(db.path()+suffix, aside+suffix)))
	}
	return aside, errors.Join(append(errs, syncDirectory(db.cfg.Dir))...)
}

func movedAside(path string, cause error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "state_damaged", Cause: cause,
		ZH: fmt.Sprintf("数据库已损坏并移至 %s，且没有可用的自动备份；请将您自己的备份放回为 %s 后启动；若要从头开始，请先移走整个数据目录", path, databaseName),
		EN: fmt.Sprintf("the database is damaged and was moved to %s, and no backup of its own can take its place: put one of yours in place as %s, or, to begin anew, move the whole state directory away", path, databaseName),
	}
}

// syncDirectory makes the names in dir durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
