-- +goose Up
CREATE TABLE dead_letters (
	seq         INTEGER PRIMARY KEY,
	device      TEXT    NOT NULL,
	topic       TEXT    NOT NULL,
	payload     BLOB    NOT NULL,
	code        TEXT    NOT NULL,
	field       TEXT    NOT NULL,
	zh          TEXT    NOT NULL,
	en          TEXT    NOT NULL,
	received_ms INTEGER NOT NULL,
	replayed_ms INTEGER -- when it was understood after all; such a row is kept because its seq says what has been buried
) STRICT;
CREATE INDEX dead_letters_waiting ON dead_letters (device, seq) WHERE replayed_ms IS NULL;

-- +goose Down
DROP TABLE dead_letters;
