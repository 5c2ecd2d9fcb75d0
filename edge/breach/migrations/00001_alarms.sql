-- +goose Up
CREATE TABLE events (
    id              TEXT PRIMARY KEY,
    revision        INTEGER NOT NULL,
    site            TEXT    NOT NULL,
    point           TEXT    NOT NULL,
    limit_id        TEXT    NOT NULL,
    started_at      INTEGER NOT NULL,
    value           REAL    NOT NULL,
    original        REAL,
    peak            REAL    NOT NULL,
    peak_at         INTEGER NOT NULL,
    ended_at        INTEGER,
    end_reason      TEXT    NOT NULL DEFAULT '',
    acknowledged_at INTEGER,
    acknowledged_by TEXT    NOT NULL DEFAULT '',
    note            TEXT    NOT NULL DEFAULT '',
    evidence        TEXT    NOT NULL,
    frozen          TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX events_newest ON events (started_at, id);
CREATE INDEX events_of_site ON events (site, started_at, id);
CREATE INDEX events_of_point ON events (point, started_at, id);
CREATE INDEX events_open ON events (started_at, id) WHERE ended_at IS NULL;
CREATE INDEX events_unacknowledged ON events (started_at, id) WHERE acknowledged_at IS NULL;

CREATE TABLE alarm_states (
    limit_id   TEXT    NOT NULL,
    point      TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    state      TEXT    NOT NULL CHECK (state IN ('normal', 'unacknowledged', 'acknowledged', 'returned_unacknowledged', 'shelved', 'out_of_service')),
    judged_at  INTEGER NOT NULL,
    judged_seq INTEGER NOT NULL,
    since      INTEGER,
    told       REAL    NOT NULL,
    event      TEXT,
    PRIMARY KEY (limit_id, point)
) WITHOUT ROWID;
CREATE INDEX alarm_states_of_event ON alarm_states (event) WHERE event IS NOT NULL;

CREATE TABLE judging_cursor (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
);
INSERT INTO judging_cursor (id, seq) VALUES (1, 0);

-- +goose Down
DROP TABLE judging_cursor;
DROP TABLE alarm_states;
DROP TABLE events;
