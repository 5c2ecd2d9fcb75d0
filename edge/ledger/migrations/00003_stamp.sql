-- +goose Up
ALTER TABLE alive ADD COLUMN stamp_ms INTEGER NOT NULL DEFAULT 0; -- the time that a reading without one of its own was given then

-- +goose Down
ALTER TABLE alive DROP COLUMN stamp_ms;
