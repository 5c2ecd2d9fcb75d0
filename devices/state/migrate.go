package state

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"

	"github.com/pressly/goose/v3"

	"offsite/devices"
)

var ownerPattern = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

// Migrate brings the tables of owner up to date. migrations holds goose SQL
// files at its root; owner, a lower-case word, names the version table
// goose_{owner}. A database that a newer program has already migrated is
// refused with code state_newer.
func (db *DB) Migrate(ctx context.Context, owner string, migrations fs.FS) error {
	if !ownerPattern.MatchString(owner) {
		return fmt.Errorf("migrate: %q does not name an owner", owner)
	}
	db.turn.Lock()
	defer db.turn.Unlock()
	defer db.settle()
	if db.closed {
		return stateClosed()
	}
	db.commit() // what stands open would hold the one connection
	if err := db.openWriter(ctx); err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.writer, migrations,
		goose.WithTableName("goose_"+owner), goose.WithDisableGlobalRegistry(true), goose.WithSlog(db.cfg.Log))
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, err)
	}
	have, want, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("migrations of %s: %w", owner, storageProblem(err))
	}
	if have > want {
		return &devices.Problem{
			Kind: devices.ErrConflict, Code: "state_newer",
			ZH: fmt.Sprintf("数据库由更新版本的网关写成（%s 第 %d 版，本程序只到第 %d 版）；请使用新版程序", owner, have, want),
			EN: fmt.Sprintf("a newer gateway wrote this database (%s version %d, this program knows %d); use the newer program", owner, have, want),
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate %s: %w", owner, storageProblem(err))
	}
	return nil
}
