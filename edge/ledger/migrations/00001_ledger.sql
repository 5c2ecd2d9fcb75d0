-- +goose Up
CREATE TABLE losses (
	id       INTEGER PRIMARY KEY,
	kind     TEXT    NOT NULL,
	subject  TEXT    NOT NULL,
	code     TEXT    NOT NULL,
	field    TEXT    NOT NULL DEFAULT '', -- what is wrong, as in a Problem
	zh       TEXT    NOT NULL,
	en       TEXT    NOT NULL,
	detail   TEXT    NOT NULL DEFAULT '',
	from_ms  INTEGER NOT NULL,
	to_ms    INTEGER NOT NULL,
	count    INTEGER NOT NULL,
	open     INTEGER NOT NULL
) STRICT;
CREATE INDEX losses_by_subject ON losses (subject, kind, code, to_ms);
CREATE INDEX losses_by_end ON losses (to_ms, id);

CREATE TABLE corrections (
	point       TEXT    NOT NULL,
	at_ms       INTEGER NOT NULL,
	seq         INTEGER NOT NULL,
	old_value   REAL    NOT NULL,
	old_quality INTEGER NOT NULL,
	new_value   REAL    NOT NULL,
	new_quality INTEGER NOT NULL,
	found_ms    INTEGER NOT NULL,
	PRIMARY KEY (point, at_ms, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE alive (
	id      INTEGER PRIMARY KEY CHECK (id = 1),
	at_ms   INTEGER NOT NULL, -- the gateway was last known to run
	stopped INTEGER NOT NULL  -- 1: it stopped by itself then
) STRICT;

-- +goose Down
DROP TABLE alive;
DROP TABLE corrections;
DROP TABLE losses;
