-- +goose Up
CREATE TABLE evidence (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event       TEXT    NOT NULL,
    camera      TEXT    NOT NULL,
    kind        TEXT    NOT NULL CHECK (kind IN ('still', 'clip')),
    moment      INTEGER NOT NULL,
    breach_at   INTEGER NOT NULL,
    expected_at INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'attached', 'none')),
    sha256      TEXT    NOT NULL DEFAULT '',
    marked      TEXT    NOT NULL DEFAULT '',
    captured_at INTEGER,
    about       TEXT    NOT NULL DEFAULT '{}',
    reason      TEXT,
    UNIQUE (event, camera, kind, moment)
);
CREATE INDEX evidence_pending ON evidence (id) WHERE state = 'pending';
CREATE INDEX evidence_file ON evidence (sha256) WHERE sha256 <> '';
CREATE INDEX evidence_marked ON evidence (marked) WHERE marked <> '';

CREATE TABLE evidence_manifest (
    event   TEXT PRIMARY KEY,
    sha256  TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    made_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX evidence_manifest_file ON evidence_manifest (sha256) WHERE sha256 <> '';

-- +goose Down
DROP TABLE evidence_manifest;
DROP TABLE evidence;
