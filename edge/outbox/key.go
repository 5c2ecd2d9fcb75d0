package outbox

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"offsite/devices/state"
)

// installation gives the id of this state, made at its first start: it stands
// in every idempotency key, so that the keys of two gateways never meet, also
// those made before a platform has given the gateway a name.
func installation(ctx context.Context, db *state.DB) (id string, err error) {
	err = db.Update(ctx, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, `SELECT id FROM installation`).Scan(&id)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		id = "box-" + strings.ToLower(rand.Text()[:12])
		_, err = tx.ExecContext(ctx, `INSERT INTO installation (id) VALUES (?)`, id)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("installation id: %w", err)
	}
	return id, nil
}

// Key is the idempotency key of a message about subject. The same words give the
// same key, and no other gateway's state gives it.
func (o *Outbox) Key(subject, part string) string { return o.id + ":" + subject + ":" + part }
