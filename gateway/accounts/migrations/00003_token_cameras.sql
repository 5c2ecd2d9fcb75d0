-- +goose Up
ALTER TABLE tokens ADD COLUMN cameras TEXT NOT NULL DEFAULT '[]';

-- +goose Down
ALTER TABLE tokens DROP COLUMN cameras;
