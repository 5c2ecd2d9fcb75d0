-- +goose Up
CREATE TABLE alive (
	id      INTEGER PRIMARY KEY CHECK (id = 1),
	at_ms   INTEGER NOT NULL, -- the gateway was last known to run
	stopped INTEGER NOT NULL  -- 1: it stopped by itself then
) STRICT;
CREATE INDEX losses_by_end ON losses (to_ms, id);

-- +goose Down
DROP INDEX losses_by_end;
DROP TABLE alive;
