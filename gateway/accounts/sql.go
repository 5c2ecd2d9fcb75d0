package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

const (
	putSetup    = `INSERT INTO setup (one, hash) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET hash = excluded.hash`
	takeSetup   = `DELETE FROM setup WHERE one = 1 AND hash = ?`
	countPeople = `SELECT count(*) FROM people`

	selectPeople = `SELECT id, name, role, sites, password, must_change, version, created_ms, updated_ms, signed_in_ms, retired_ms FROM people`
	insertPerson = `INSERT INTO people (id, name, role, sites, password, must_change, version, created_ms, updated_ms) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)
		ON CONFLICT (id) DO NOTHING`
	updatePerson = `UPDATE people SET name = ?, role = ?, sites = ?, version = version + 1, updated_ms = ? WHERE id = ? AND version = ? AND retired_ms = 0`
	setPassword  = `UPDATE people SET password = ?, must_change = ?, version = version + 1, updated_ms = ? WHERE id = ? AND retired_ms = 0`
	setSignedIn  = `UPDATE people SET signed_in_ms = ? WHERE id = ?`
	retirePerson = `UPDATE people SET retired_ms = ?, password = '' WHERE id = ? AND retired_ms = 0`

	otherAdministrators = `SELECT count(*) FROM people WHERE role = 'administrator' AND sites = '[]' AND retired_ms = 0 AND id <> ?`

	selectTokens = `SELECT id, name, role, sites, cameras, hash, created_ms, created_by, expires_ms, used_ms FROM tokens WHERE retired_ms = 0`
	insertToken  = `INSERT INTO tokens (id, name, role, sites, cameras, hash, created_ms, created_by, expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO NOTHING`
	setTokenUsed = `UPDATE tokens SET used_ms = max(used_ms, ?) WHERE id = ?`
	retireToken  = `UPDATE tokens SET retired_ms = ?, hash = randomblob(32) WHERE id = ? AND retired_ms = 0`

	selectSessions = `SELECT hash, person, data, expires_ms FROM sessions`
	insertSession  = `INSERT INTO sessions (hash, person, data, expires_ms) VALUES (?, ?, ?, ?)
		ON CONFLICT (hash) DO UPDATE SET data = excluded.data, expires_ms = excluded.expires_ms`
	extendSession         = `UPDATE sessions SET expires_ms = ? WHERE hash = ?`
	deleteSession         = `DELETE FROM sessions WHERE hash = ?`
	deleteSessionsOf      = `DELETE FROM sessions WHERE person = ? AND hash <> ?`
	deleteExpiredSessions = `DELETE FROM sessions WHERE expires_ms < ?`

	selectAttempts = `SELECT failures, last_ms, locked_ms FROM attempts WHERE subject = ?`
	selectLocks    = `SELECT subject, locked_ms FROM attempts WHERE locked_ms > 0`
	putAttempts    = `INSERT INTO attempts (subject, failures, last_ms, locked_ms) VALUES (?, ?, ?, ?)
		ON CONFLICT (subject) DO UPDATE SET failures = excluded.failures, last_ms = excluded.last_ms, locked_ms = excluded.locked_ms`
	deleteAttempts    = `DELETE FROM attempts WHERE subject = ?`
	deleteOldAttempts = `DELETE FROM attempts WHERE last_ms < ? AND locked_ms < ?`

	selectPreference    = `SELECT data, version FROM preferences WHERE owner = ? AND name = ?`
	insertPreference    = `INSERT INTO preferences (owner, name, data, version, updated_ms) VALUES (?, ?, ?, 1, ?) ON CONFLICT (owner, name) DO NOTHING`
	updatePreference    = `UPDATE preferences SET data = ?, version = version + 1, updated_ms = ? WHERE owner = ? AND name = ? AND version = ?`
	deletePreferencesOf = `DELETE FROM preferences WHERE owner = ?`
)

func readPeople(ctx context.Context, db *sql.DB) (map[string]*Person, error) {
	rows, err := db.QueryContext(ctx, selectPeople)
	if err != nil {
		return nil, fmt.Errorf("read people: %w", err)
	}
	defer func() { _ = rows.Close() }()
	people := map[string]*Person{}
	for rows.Next() {
		p := &Person{}
		var sites string
		var created, updated, signedIn, retired int64
		if err := rows.Scan(&p.ID, &p.Name, &p.Role, &sites, &p.password, &p.MustChange, &p.Version, &created, &updated, &signedIn, &retired); err != nil {
			return nil, fmt.Errorf("read people: %w", err)
		}
		if err := json.Unmarshal([]byte(sites), &p.Sites); err != nil {
			return nil, fmt.Errorf("read sites of %s: %w", p.ID, err)
		}
		p.Created, p.Updated, p.SignedIn, p.Retired = fromMilli(created), fromMilli(updated), fromMilli(signedIn), fromMilli(retired)
		people[p.ID] = p
	}
	return people, rows.Err()
}

func readTokens(ctx context.Context, db *sql.DB) (map[string]*Token, error) {
	rows, err := db.QueryContext(ctx, selectTokens)
	if err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	defer func() { _ = rows.Close() }()
	tokens := map[string]*Token{}
	for rows.Next() {
		t := &Token{}
		var sites, cameras string
		var hash []byte
		var created, expires, used int64
		if err := rows.Scan(&t.ID, &t.Name, &t.Role, &sites, &cameras, &hash, &created, &t.CreatedBy, &expires, &used); err != nil {
			return nil, fmt.Errorf("read tokens: %w", err)
		}
		if err := json.Unmarshal([]byte(sites), &t.Sites); err != nil {
			return nil, fmt.Errorf("read sites of token %s: %w", t.ID, err)
		}
		// Without this list the token would reach everything.
		if err := json.Unmarshal([]byte(cameras), &t.Cameras); err != nil {
			return nil, fmt.Errorf("read cameras of token %s: %w", t.ID, err)
		}
		t.Created, t.Expires = fromMilli(created), fromMilli(expires)
		t.used.Store(used)
		tokens[string(hash)] = t
	}
	return tokens, rows.Err()
}

func readLocks(ctx context.Context, db *sql.DB) (map[string]time.Time, error) {
	rows, err := db.QueryContext(ctx, selectLocks)
	if err != nil {
		return nil, fmt.Errorf("read locks: %w", err)
	}
	defer func() { _ = rows.Close() }()
	locks := map[string]time.Time{}
	for rows.Next() {
		var subject string
		var until int64
		if err := rows.Scan(&subject, &until); err != nil {
			return nil, fmt.Errorf("read locks: %w", err)
		}
		locks[subject] = fromMilli(until)
	}
	return locks, rows.Err()
}

func fromMilli(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func asJSON(ids []string) string {
	if ids == nil {
		return "[]"
	}
	b, _ := json.Marshal(ids) // strings always marshal
	return string(b)
}
