-- +goose Up
CREATE TABLE maintenance (
	id      INTEGER PRIMARY KEY,
	subject TEXT    NOT NULL, -- device/<id> or point/<id>
	reason  TEXT    NOT NULL,
	who     TEXT    NOT NULL,
	from_ms INTEGER NOT NULL,
	to_ms   INTEGER NOT NULL, -- agreed end; that of now where it was ended earlier
	ended   INTEGER NOT NULL  -- 1: its end is in the audit trail
) STRICT;
CREATE INDEX maintenance_by_end ON maintenance (ended, to_ms);

-- +goose Down
DROP TABLE maintenance;
