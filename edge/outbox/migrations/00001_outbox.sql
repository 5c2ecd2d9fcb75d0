-- +goose Up
CREATE TABLE outbox (
    seq       INTEGER PRIMARY KEY AUTOINCREMENT,
    key       TEXT    NOT NULL UNIQUE,
    lane      TEXT    NOT NULL,
    after_key TEXT    NOT NULL,
    kind      TEXT    NOT NULL,
    event     TEXT    NOT NULL,
    body      BLOB    NOT NULL,
    blobs     TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    state     TEXT    NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'done', 'dead')),
    refusals  INTEGER NOT NULL DEFAULT 0,
    reason    TEXT,
    finished  INTEGER
);
CREATE INDEX outbox_waiting ON outbox (seq) WHERE state = 'waiting';
CREATE INDEX outbox_lane ON outbox (lane, seq) WHERE state = 'waiting';
CREATE INDEX outbox_done ON outbox (finished) WHERE state = 'done';
CREATE INDEX outbox_dead ON outbox (seq) WHERE state = 'dead';

-- +goose Down
DROP TABLE outbox;
