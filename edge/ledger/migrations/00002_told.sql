-- +goose Up
ALTER TABLE losses ADD COLUMN told TEXT NOT NULL DEFAULT ''; -- how the row stood when the platform took it: count, to_ms and open
ALTER TABLE losses ADD COLUMN told_ms INTEGER NOT NULL DEFAULT 0; -- when that was
CREATE INDEX losses_untold ON losses (told_ms, id) WHERE told <> count || ' ' || to_ms || ' ' || open;

-- +goose Down
DROP INDEX losses_untold;
ALTER TABLE losses DROP COLUMN told_ms;
ALTER TABLE losses DROP COLUMN told;
