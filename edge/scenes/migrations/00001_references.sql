-- +goose Up
CREATE TABLE scene_references (
    camera  TEXT    NOT NULL,
    night   INTEGER NOT NULL CHECK (night IN (0, 1)),
    made_at INTEGER NOT NULL,
    set_by  TEXT    NOT NULL,
    edges   BLOB    NOT NULL,
    still   BLOB    NOT NULL,
    sha256  TEXT    NOT NULL,
    PRIMARY KEY (camera, night)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE scene_references;
