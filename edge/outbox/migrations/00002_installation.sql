-- +goose Up
CREATE TABLE installation (
	id TEXT PRIMARY KEY
) STRICT;

-- +goose Down
DROP TABLE installation;
