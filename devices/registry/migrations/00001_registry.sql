-- +goose Up
CREATE TABLE things (
  kind    TEXT    NOT NULL,
  id      TEXT    NOT NULL,
  version INTEGER NOT NULL,
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  retired INTEGER,
  body    TEXT    NOT NULL,
  secrets BLOB,
  PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
  revision INTEGER PRIMARY KEY AUTOINCREMENT,
  op       TEXT NOT NULL CHECK (op IN ('A', 'U', 'D')),
  kind     TEXT NOT NULL,
  id       TEXT NOT NULL
) STRICT;

-- Ids are never used twice, and what was changed stays told.
-- +goose StatementBegin
CREATE TRIGGER things_stay BEFORE DELETE ON things BEGIN
  SELECT RAISE(ABORT, 'a registered thing is retired, never deleted');
END;
-- +goose StatementEnd
