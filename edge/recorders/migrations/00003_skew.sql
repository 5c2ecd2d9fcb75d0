-- +goose Up
ALTER TABLE recorder_fetches ADD COLUMN clock_ms INTEGER; -- when offset_ms was asked for, by the gateway's clock; NULL: not known
ALTER TABLE recorder_fetches ADD COLUMN shift_ms INTEGER NOT NULL DEFAULT 0; -- that all times of the row and its clips are less than by the recorder's clock; 0: they are its own

UPDATE recorder_fetches SET clock_ms = fetched_ms WHERE offset_ms IS NOT NULL; -- it was asked for at most ten minutes before

-- +goose Down
ALTER TABLE recorder_fetches DROP COLUMN clock_ms;
ALTER TABLE recorder_fetches DROP COLUMN shift_ms;
