-- +goose Up
CREATE TABLE preferences (
	owner         TEXT    NOT NULL,
	name          TEXT    NOT NULL,
	data          BLOB    NOT NULL,
	version       INTEGER NOT NULL,
	updated_ms    INTEGER NOT NULL,
	PRIMARY KEY (owner, name)
) STRICT;

-- +goose Down
DROP TABLE preferences;
