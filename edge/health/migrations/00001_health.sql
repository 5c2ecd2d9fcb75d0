-- +goose Up
CREATE TABLE health (
	device TEXT PRIMARY KEY,
	counts BLOB NOT NULL -- JSON, deflated
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE health;
