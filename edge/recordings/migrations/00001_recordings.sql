-- +goose Up
CREATE TABLE recording_holds (
	kind     TEXT    NOT NULL, -- event, often or export
	subject  TEXT    NOT NULL, -- id of the event, SHA-256 of the export
	camera   TEXT    NOT NULL,
	from_ms  INTEGER NOT NULL, -- segments that reach into [from, to) are kept
	to_ms    INTEGER NOT NULL,
	until_ms INTEGER NOT NULL, -- up to then
	PRIMARY KEY (kind, subject, camera)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE recording_holds;
