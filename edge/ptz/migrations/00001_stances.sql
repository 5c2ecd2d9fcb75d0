-- +goose Up
CREATE TABLE ptz_stances (
    camera   TEXT    PRIMARY KEY,
    place    TEXT    NOT NULL,
    astray   INTEGER NOT NULL CHECK (astray IN (0, 1)),
    since_ms INTEGER NOT NULL,
    patrol   TEXT    NOT NULL,
    who      TEXT    NOT NULL,
    who_name TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE ptz_stances;
