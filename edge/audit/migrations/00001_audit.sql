-- +goose Up
CREATE TABLE audit (
  seq     INTEGER PRIMARY KEY,
  at      INTEGER NOT NULL,
  who     TEXT    NOT NULL,
  origin  TEXT    NOT NULL,
  act     TEXT    NOT NULL,
  what    TEXT    NOT NULL,
  purpose TEXT    NOT NULL,
  before  TEXT    NOT NULL,
  after   TEXT    NOT NULL,
  result  TEXT    NOT NULL,
  detail  TEXT    NOT NULL,
  mac     BLOB    NOT NULL
) STRICT;

CREATE TABLE audit_head (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  seq  INTEGER NOT NULL,
  last BLOB    NOT NULL,
  mac  BLOB    NOT NULL
) STRICT;

CREATE TABLE audit_key (
  one    INTEGER PRIMARY KEY CHECK (one = 1),
  sealed BLOB    NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN
  SELECT RAISE(ABORT, 'audit rows are never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN
  SELECT RAISE(ABORT, 'audit rows are never deleted');
END;
-- +goose StatementEnd
-- INSERT OR REPLACE deletes without the trigger above.
-- +goose StatementBegin
CREATE TRIGGER audit_append_only BEFORE INSERT ON audit WHEN NEW.seq <= (SELECT max(seq) FROM audit) BEGIN
  SELECT RAISE(ABORT, 'audit rows are appended, never put between or over others');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_head_forward BEFORE UPDATE ON audit_head WHEN NEW.seq <= OLD.seq BEGIN
  SELECT RAISE(ABORT, 'the audit head only moves forward');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_head_stays BEFORE DELETE ON audit_head BEGIN
  SELECT RAISE(ABORT, 'the audit head stays');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_key_no_update BEFORE UPDATE ON audit_key BEGIN
  SELECT RAISE(ABORT, 'the audit key stays');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER audit_key_no_delete BEFORE DELETE ON audit_key BEGIN
  SELECT RAISE(ABORT, 'the audit key stays');
END;
-- +goose StatementEnd
