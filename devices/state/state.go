package state

import (
	"context"
	"crypto/cipher"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"; the one blank import that database/sql asks for
)

// What lies inside Config.Dir.
const (
	databaseName = "offsite.db"
	keyName      = "offsite.key"
)

// readers is the size of the read pool.
const readers = 8

// Config says where the state lies.
type Config struct {
	Dir     string       // directory of the database; made when absent
	KeyFile string       // key that seals secrets; empty means Dir/offsite.key; made at first start
	Log     *slog.Logger // nil means silence
	// Remains are the directories in Dir that are filled only once the database has
	// been opened: where one of them holds something, a database that holds nothing
	// is not new but lost.
	Remains []string
}

func (c *Config) setDefaults() {
	if c.KeyFile == "" {
		c.KeyFile = filepath.Join(c.Dir, keyName)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// DB is the open state. Its methods may be called from many goroutines.
type DB struct {
	cfg  Config
	lock *os.File
	aead cipher.AEAD
	read *sql.DB

	restored *Restored  // nil: the database is the one that was left
	copying  sync.Mutex // one backup at a time

	waiting atomic.Int64 // callers that are about to take turn

	turn   sync.Mutex // the right to use what stands below
	writer *sql.DB    // one connection; nil after a failed commit, until it could be opened again
	group  *group     // nil when no transaction stands open
	closed bool
}

// Open locks the directory, checks the database and opens it, making it where there
// never was one and restoring what is damaged or lost from the last backup. It starts no
// goroutine. Problems have the codes state_locked, state_damaged, state_lost,
// state_key_wrong, state_key_missing, disk_full, disk_error.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg.setDefaults()
	if cfg.Dir == "" {
		return nil, noDirectory()
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	cfg.Dir = dir
	db := &DB{cfg: cfg}
	if err := db.open(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (db *DB) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(db.cfg.Dir, 0o700); err != nil {
		return diskProblem(db.cfg.Dir, err)
	}
	if db.lock, err = lockDirectory(db.cfg.Dir); err != nil {
		return err
	}
	if err := db.openDatabase(ctx); err != nil {
		return err
	}
	if err := db.openKey(ctx); err != nil {
		return err
	}
	return db.recall(ctx)
}

// openDatabase opens the database, or the last backup where it is damaged or gone.
func (db *DB) openDatabase(ctx context.Context) error {
	gone, err := db.prepareFile()
	if err == nil && gone == nil {
		if err = db.openWhole(ctx); err == nil {
			gone, err = db.lostWithin(ctx)
		} else {
			gone = db.moveIfDamaged(err)
		}
	}
	if gone == nil {
		return err
	}
	if err := db.restore(ctx, gone); err != nil {
		return err
	}
	if err := db.openWhole(ctx); err != nil {
		return err
	}
	return db.note(ctx, gone)
}

// openWhole opens a database that is not damaged.
func (db *DB) openWhole(ctx context.Context) error {
	if err := db.openPools(ctx); err != nil {
		return err
	}
	return db.check(ctx)
}

// Read gives the pool for reading. Its connections refuse to write. What
// Update has returned from is visible to every query begun after it.
func (db *DB) Read() *sql.DB { return db.read }

// Close waits for the work under way, closes the database and gives up the
// lock. Later calls of Update tell ErrUnavailable.
func (db *DB) Close() error {
	db.turn.Lock()
	defer db.turn.Unlock()
	if db.closed {
		return nil
	}
	db.closed = true
	db.commit()
	errs := []error{db.closePools()}
	if db.lock != nil {
		errs = append(errs, db.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// openPools opens the read pool and the write connection.
func (db *DB) openPools(ctx context.Context) error {
	read, err := sql.Open("sqlite", db.source("_pragma=query_only(1)"))
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	db.read = read
	return db.openWriter(ctx)
}

// openWriter opens the write connection if it is not open.
func (db *DB) openWriter(ctx context.Context) error {
	if db.writer != nil {
		return nil
	}
	writer, err := sql.Open("sqlite", db.source("_txlock=immediate"))
	if err != nil {
		return fmt.Errorf("open state: %w", err)
	}
	writer.SetMaxOpenConns(1)
	writer.SetMaxIdleConns(1)
	writer.SetConnMaxIdleTime(0)
	if err := writer.PingContext(ctx); err != nil {
		return errors.Join(storageProblem(err), writer.Close())
	}
	db.writer = writer
	return nil
}

// closePools closes every connection.
func (db *DB) closePools() error {
	err := db.closeWriter()
	if db.read != nil {
		err = errors.Join(err, db.read.Close())
		db.read = nil
	}
	return err
}

func (db *DB) closeWriter() error {
	if db.writer == nil {
		return nil
	}
	err := db.writer.Close()
	db.writer = nil
	return err
}

// source is the data source name with the settings that the promises rest on.
func (db *DB) source(more string) string {
	const pragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(ON)" +
		"&_pragma=journal_size_limit(67108864)&_pragma=cell_size_check(ON)&_pragma=trusted_schema(OFF)&_pragma=mmap_size(0)"
	u := url.URL{Scheme: "file", Path: db.path(), RawQuery: pragmas + "&" + more}
	return u.String()
}

func (db *DB) path() string { return filepath.Join(db.cfg.Dir, databaseName) }

// reopen closes every connection after a storage error, so that nothing that
// was cached before it is believed after it, and opens the writer anew. Readers
// in the middle of a query finish it on their old connection.
func (db *DB) reopen() {
	if err := db.closeWriter(); err != nil {
		db.cfg.Log.Warn("old connection did not close", "err", err)
	}
	db.read.SetMaxIdleConns(0)
	db.read.SetMaxIdleConns(readers)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := db.openWriter(ctx); err != nil {
		db.cfg.Log.Warn("state stays closed until the next write", "err", err)
	}
}
