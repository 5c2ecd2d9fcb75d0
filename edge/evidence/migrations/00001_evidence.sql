-- +goose Up
CREATE TABLE evidence (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    event       TEXT    NOT NULL,
    camera      TEXT    NOT NULL,
    breach_at   INTEGER NOT NULL,
    expected_at INTEGER NOT NULL,
    state       TEXT    NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'attached', 'none')),
    sha256      TEXT    NOT NULL DEFAULT '',
    media_type  TEXT    NOT NULL DEFAULT '',
    captured_at INTEGER,
    step        TEXT    NOT NULL DEFAULT '',
    width       INTEGER NOT NULL DEFAULT 0,
    height      INTEGER NOT NULL DEFAULT 0,
    reason      TEXT,
    UNIQUE (event, camera)
);
CREATE INDEX evidence_pending ON evidence (id) WHERE state = 'pending';
CREATE INDEX evidence_file ON evidence (sha256) WHERE sha256 <> '';

-- +goose Down
DROP TABLE evidence;
