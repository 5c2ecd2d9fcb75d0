package accounts

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"offsite/devices/state"
)

// personKey is the one value that a session holds.
const personKey = "person"

// sessionCodec writes a session as JSON, so that the row can be read by people.
type sessionCodec struct{}

type sessionData struct {
	Deadline time.Time `json:"deadline"`
	Person   string    `json:"person"`
}

func (sessionCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	person, _ := values[personKey].(string)
	return json.Marshal(sessionData{Deadline: deadline, Person: person})
}

func (sessionCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	var d sessionData
	if err := json.Unmarshal(b, &d); err != nil {
		return time.Time{}, nil, fmt.Errorf("decode session: %w", err)
	}
	return d.Deadline, map[string]any{personKey: d.Person}, nil
}

// sessionStore keeps sessions in SQLite under the hash of their token, and a
// copy in memory, so that a request costs no query. It is an scs.CtxStore.
//
// A session comes to be only through a context with a transaction (opening);
// any other Commit extends what exists. A request that is still under way at
// sign-out can therefore not bring its session back.
type sessionStore struct {
	db *state.DB

	mu   sync.Mutex
	open map[string]*session // by hash
}

type session struct {
	person string
	data   []byte
	expiry time.Time
	stored time.Time // expiry as it stands on disk
}

// coarse is how much longer a session may live in memory than on disk: an
// fsync for each request would be dear.
const coarse = time.Minute

type txKey struct{}

// opening lets the store write inside tx.
func opening(ctx context.Context, tx *sql.Tx) context.Context {
	return context.WithValue(ctx, txKey{}, tx)
}

func openSessions(ctx context.Context, db *state.DB) (*sessionStore, error) {
	s := &sessionStore{db: db, open: map[string]*session{}}
	rows, err := db.Read().QueryContext(ctx, selectSessions)
	if err != nil {
		return nil, fmt.Errorf("read sessions: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var hash string
		var e session
		var expires int64
		if err := rows.Scan(&hash, &e.person, &e.data, &expires); err != nil {
			return nil, fmt.Errorf("read sessions: %w", err)
		}
		e.expiry = fromMilli(expires)
		e.stored = e.expiry
		s.open[hash] = &e
	}
	return s, rows.Err()
}

// FindCtx gives a session that has not expired.
func (s *sessionStore) FindCtx(_ context.Context, hash string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[hash]
	if e == nil || !time.Now().Before(e.expiry) {
		return nil, false, nil
	}
	return e.data, true, nil
}

// CommitCtx opens a session inside the transaction of ctx, or extends one.
func (s *sessionStore) CommitCtx(ctx context.Context, hash string, data []byte, expiry time.Time) error {
	if tx, ok := ctx.Value(txKey{}).(*sql.Tx); ok {
		_, values, err := sessionCodec{}.Decode(data)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, insertSession, hash, values[personKey], data, expiry.UnixMilli())
		return err
	}
	s.mu.Lock()
	e := s.open[hash]
	if e == nil {
		s.mu.Unlock()
		return nil
	}
	e.expiry = expiry
	write := expiry.Sub(e.stored) >= coarse
	if write {
		e.stored = expiry
	}
	s.mu.Unlock()
	if !write {
		return nil
	}
	return s.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, extendSession, expiry.UnixMilli(), hash)
		return err
	})
}

// DeleteCtx removes the row inside the transaction of ctx; forget removes the copy.
func (s *sessionStore) DeleteCtx(ctx context.Context, hash string) error {
	tx, ok := ctx.Value(txKey{}).(*sql.Tx)
	if !ok {
		return s.db.Update(ctx, func(tx *sql.Tx) error { return s.DeleteCtx(opening(ctx, tx), hash) })
	}
	_, err := tx.ExecContext(ctx, deleteSession, hash)
	return err
}

// Find, Commit and Delete complete scs.Store; scs calls the others.
func (s *sessionStore) Find(hash string) ([]byte, bool, error) {
	return s.FindCtx(context.Background(), hash)
}

// Commit is CommitCtx without a transaction.
func (s *sessionStore) Commit(hash string, data []byte, expiry time.Time) error {
	return s.CommitCtx(context.Background(), hash, data, expiry)
}

// Delete is DeleteCtx without a transaction.
func (s *sessionStore) Delete(hash string) error { return s.DeleteCtx(context.Background(), hash) }

// keep shows a session that has been committed.
func (s *sessionStore) keep(hash, person string, data []byte, expiry time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[hash] = &session{person: person, data: data, expiry: expiry, stored: expiry}
}

func (s *sessionStore) forget(hash string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, hash)
}

// forgetOf ends the sessions of a person, besides the one of hash keep.
func (s *sessionStore) forgetOf(person, keep string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, e := range s.open {
		if e.person == person && hash != keep {
			delete(s.open, hash)
		}
	}
}

func (s *sessionStore) forgetExpired(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, e := range s.open {
		if !now.Before(e.expiry) {
			delete(s.open, hash)
		}
	}
}

// alive says whether the session has neither ended nor expired.
func (s *sessionStore) alive(hash string) bool {
	_, found, _ := s.FindCtx(context.Background(), hash)
	return found
}
