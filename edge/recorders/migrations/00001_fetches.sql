-- +goose Up
CREATE TABLE recorder_fetches (
	id          TEXT    PRIMARY KEY,
	camera      TEXT    NOT NULL,
	host        TEXT    NOT NULL, -- of the recorder
	from_ms     INTEGER NOT NULL, -- of [from, to), which it holds all of; as all that follow by the recorder's clock less shift_ms
	to_ms       INTEGER NOT NULL,
	asked_ms    INTEGER NOT NULL, -- end that was asked for
	offset_ms   INTEGER,          -- that the recorder's clock was ahead when it was fetched; NULL: not known
	stamped     INTEGER NOT NULL, -- the recorder told when each picture was taken
	cut         TEXT    NOT NULL, -- JSON {"code","zh","en"}: why it ended early; empty: it did not
	fetched_ms  INTEGER NOT NULL, -- by the gateway's clock
	keep_ms     INTEGER NOT NULL  -- until when it is held; 0: it is not
) STRICT;

-- +goose Down
DROP TABLE recorder_fetches;
