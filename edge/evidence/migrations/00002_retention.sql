-- +goose Up
ALTER TABLE evidence ADD COLUMN deleted_at INTEGER;
ALTER TABLE evidence ADD COLUMN deleted_why TEXT NOT NULL DEFAULT '' CHECK (deleted_why IN ('', 'age', 'disk'));

CREATE TABLE evidence_hold (
    event  TEXT PRIMARY KEY,
    who    TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    reason TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE evidence_hold;
ALTER TABLE evidence DROP COLUMN deleted_why;
ALTER TABLE evidence DROP COLUMN deleted_at;
