-- +goose Up
ALTER TABLE dead_letters ADD COLUMN replayed_ms INTEGER; -- when it was understood after all; such a row is kept because its seq says what has been buried
CREATE INDEX dead_letters_waiting ON dead_letters (device, seq) WHERE replayed_ms IS NULL;

-- +goose Down
DROP INDEX dead_letters_waiting;
ALTER TABLE dead_letters DROP COLUMN replayed_ms;
