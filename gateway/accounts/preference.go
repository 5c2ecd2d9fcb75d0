package accounts

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"offsite/devices"
)

// Preference is what owner, an [Identity]'s ID, has chosen under name, and its
// version; nothing and 0 where nothing was chosen. It is no act and stands in
// no trail: it changes only what its owner sees.
func (a *Accounts) Preference(ctx context.Context, owner, name string) (data []byte, version int64, err error) {
	err = a.db.Read().QueryRowContext(ctx, selectPreference, owner, name).Scan(&data, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read preference %s of %s: %w", name, owner, err)
	}
	return data, version, nil
}

// Prefer keeps data in place of version, 0 for the first. Whoever has changed
// it meanwhile, at another desk, is told by ErrConflict. The caller bounds data.
func (a *Accounts) Prefer(ctx context.Context, owner, name string, version int64, data []byte) error {
	err := a.db.Update(ctx, func(tx *sql.Tx) error {
		statement, args := updatePreference, []any{data, time.Now().UnixMilli(), owner, name, version}
		if version == 0 {
			statement, args = insertPreference, []any{owner, name, data, time.Now().UnixMilli()}
		}
		n, err := affected(tx.ExecContext(ctx, statement, args...))
		if err == nil && n == 0 {
			return &devices.Problem{Kind: devices.ErrConflict, Code: "version_changed", Field: "version", ZH: "您已在别处修改过，请重新读取后再改", EN: "you have changed this elsewhere meanwhile; read it again"}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("keep preference %s of %s: %w", name, owner, err)
	}
	return nil
}
