-- +goose Up
CREATE TABLE footage_exports (
	id       TEXT    PRIMARY KEY,
	camera   TEXT    NOT NULL,
	sha256   TEXT    NOT NULL, -- of manifest
	manifest BLOB    NOT NULL, -- JSON
	until_ms INTEGER NOT NULL  -- its parts are held until then
) STRICT;
CREATE INDEX footage_exports_sha256 ON footage_exports (sha256);

-- +goose Down
DROP TABLE footage_exports;
