-- +goose Up
ALTER TABLE losses ADD COLUMN field TEXT NOT NULL DEFAULT ''; -- what is wrong, as in a Problem
