-- +goose Up
CREATE TABLE scene_references_of_places (
    camera  TEXT    NOT NULL,
    place   TEXT    NOT NULL,
    night   INTEGER NOT NULL CHECK (night IN (0, 1)),
    made_at INTEGER NOT NULL,
    set_by  TEXT    NOT NULL,
    edges   BLOB    NOT NULL,
    still   BLOB    NOT NULL,
    sha256  TEXT    NOT NULL,
    PRIMARY KEY (camera, place, night)
) STRICT, WITHOUT ROWID;
INSERT INTO scene_references_of_places SELECT camera, '', night, made_at, set_by, edges, still, sha256 FROM scene_references;
DROP TABLE scene_references;
ALTER TABLE scene_references_of_places RENAME TO scene_references;

-- +goose Down
DELETE FROM scene_references WHERE place <> '';
CREATE TABLE scene_references_of_cameras (
    camera  TEXT    NOT NULL,
    night   INTEGER NOT NULL CHECK (night IN (0, 1)),
    made_at INTEGER NOT NULL,
    set_by  TEXT    NOT NULL,
    edges   BLOB    NOT NULL,
    still   BLOB    NOT NULL,
    sha256  TEXT    NOT NULL,
    PRIMARY KEY (camera, night)
) STRICT, WITHOUT ROWID;
INSERT INTO scene_references_of_cameras SELECT camera, night, made_at, set_by, edges, still, sha256 FROM scene_references;
DROP TABLE scene_references;
ALTER TABLE scene_references_of_cameras RENAME TO scene_references;
