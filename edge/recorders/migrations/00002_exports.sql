-- +goose Up
CREATE TABLE recorder_exports (
	sha256  TEXT    PRIMARY KEY, -- of the clip's bytes
	fetch   TEXT    NOT NULL REFERENCES recorder_fetches (id) ON DELETE CASCADE,
	from_ms INTEGER NOT NULL, -- of the clip, by the recorder's clock less the shift_ms of its fetch
	to_ms   INTEGER NOT NULL
) STRICT;

-- +goose Down
DROP TABLE recorder_exports;
