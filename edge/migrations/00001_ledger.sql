-- +goose Up
CREATE TABLE losses (
	id       INTEGER PRIMARY KEY,
	kind     TEXT    NOT NULL,
	subject  TEXT    NOT NULL,
	code     TEXT    NOT NULL,
	zh       TEXT    NOT NULL,
	en       TEXT    NOT NULL,
	detail   TEXT    NOT NULL DEFAULT '',
	from_ms  INTEGER NOT NULL,
	to_ms    INTEGER NOT NULL,
	count    INTEGER NOT NULL,
	open     INTEGER NOT NULL
) STRICT;
CREATE INDEX losses_by_subject ON losses (subject, kind, code, to_ms);

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

CREATE TABLE dead_letters (
	seq         INTEGER PRIMARY KEY,
	device      TEXT    NOT NULL,
	topic       TEXT    NOT NULL,
	payload     BLOB    NOT NULL,
	code        TEXT    NOT NULL,
	field       TEXT    NOT NULL,
	zh          TEXT    NOT NULL,
	en          TEXT    NOT NULL,
	received_ms INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE dead_letters;
DROP TABLE corrections;
DROP TABLE losses;
