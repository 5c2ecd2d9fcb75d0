-- +goose Up
CREATE TABLE dispatch_value (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE dispatch_key (
	id        TEXT NOT NULL,
	direction TEXT NOT NULL CHECK (direction IN ('up', 'down')),
	algorithm TEXT NOT NULL,
	sealed    BLOB NOT NULL,
	added_at  INTEGER NOT NULL,
	ends_at   INTEGER,
	PRIMARY KEY (id, direction)
) STRICT;

CREATE TABLE dispatch_command (
	id          TEXT PRIMARY KEY,
	body_hash   TEXT NOT NULL,
	received_at INTEGER NOT NULL,
	result      BLOB,
	result_sent INTEGER NOT NULL DEFAULT 0,
	act         BLOB,
	act_sent    INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE INDEX dispatch_command_unsent ON dispatch_command (received_at) WHERE result_sent = 0 OR act_sent = 0;

CREATE TABLE dispatch_nonce (
	nonce   TEXT PRIMARY KEY,
	command TEXT NOT NULL,
	seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX dispatch_nonce_age ON dispatch_nonce (seen_at);

-- +goose Down
DROP TABLE dispatch_nonce;
DROP TABLE dispatch_command;
DROP TABLE dispatch_key;
DROP TABLE dispatch_value;
