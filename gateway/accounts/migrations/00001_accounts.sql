-- +goose Up
CREATE TABLE people (
	id            TEXT    PRIMARY KEY,
	name          TEXT    NOT NULL,
	role          TEXT    NOT NULL,
	sites         TEXT    NOT NULL,
	password      TEXT    NOT NULL,
	must_change   INTEGER NOT NULL,
	version       INTEGER NOT NULL,
	created_ms    INTEGER NOT NULL,
	updated_ms    INTEGER NOT NULL,
	signed_in_ms  INTEGER NOT NULL DEFAULT 0,
	retired_ms    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE tokens (
	id            TEXT    PRIMARY KEY,
	name          TEXT    NOT NULL,
	role          TEXT    NOT NULL,
	sites         TEXT    NOT NULL,
	hash          BLOB    NOT NULL UNIQUE,
	created_ms    INTEGER NOT NULL,
	created_by    TEXT    NOT NULL,
	expires_ms    INTEGER NOT NULL,
	used_ms       INTEGER NOT NULL DEFAULT 0,
	retired_ms    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE sessions (
	hash          TEXT    PRIMARY KEY,
	person        TEXT    NOT NULL,
	data          BLOB    NOT NULL,
	expires_ms    INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_by_person ON sessions (person);

CREATE TABLE attempts (
	subject       TEXT    PRIMARY KEY,
	failures      INTEGER NOT NULL,
	last_ms       INTEGER NOT NULL,
	locked_ms     INTEGER NOT NULL
) STRICT;

CREATE TABLE setup (
	one           INTEGER PRIMARY KEY CHECK (one = 1),
	hash          BLOB    NOT NULL
) STRICT;

-- +goose Down
DROP TABLE setup;
DROP TABLE attempts;
DROP TABLE sessions;
DROP TABLE tokens;
DROP TABLE people;
