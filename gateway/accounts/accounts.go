package accounts

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
	"golang.org/x/sync/semaphore"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/audit"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Kinds of error besides those of package devices.
var (
	ErrUnknown   = errors.New("not signed in")
	ErrForbidden = errors.New("not allowed")
	ErrLocked    = errors.New("locked out")
)

// Config sets the rules. Zero fields mean the defaults.
type Config struct {
	Idle       time.Duration // a session ends after this long without a request; 15 min
	Lifetime   time.Duration // a session ends at the latest; 12 h
	Tries      int           // wrong passwords before an account is locked; 5
	HostTries  int           // wrong passwords from one address before it is locked; 20
	Lock       time.Duration // how long; 15 min
	TicketLife time.Duration // 60 s
	Log        *slog.Logger
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&c.Idle, 15*time.Minute)
	def(&c.Lifetime, 12*time.Hour)
	def(&c.Lock, 15*time.Minute)
	def(&c.TicketLife, time.Minute)
	if c.Tries == 0 {
		c.Tries = 5
	}
	if c.HostTries == 0 {
		c.HostTries = 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// auditor writes the trail inside the transaction that it tells of.
type auditor interface {
	Append(ctx context.Context, tx *sql.Tx, e audit.Entry) error
}

// By says who asks and from where, for the audit trail.
type By struct {
	Who  string // person, "token:" and its id, "gateway"
	From string // address
}

// Accounts keeps people, tokens and sessions.
type Accounts struct {
	db       *state.DB
	audit    auditor
	cfg      Config
	sessions *scs.SessionManager
	store    *sessionStore
	tickets  *tickets
	setup    string // the set-up token made at this start, empty if somebody exists
	hashing  *semaphore.Weighted

	reload sync.Mutex // one reload at a time, so that the newest wins
	book   atomic.Pointer[book]
}

// Open reads the accounts. While nobody exists it makes a new set-up token,
// which [Accounts.SetupToken] tells and which replaces any older one.
func Open(ctx context.Context, db *state.DB, log auditor, cfg Config) (*Accounts, error) {
	cfg.setDefaults()
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, "accounts", sub); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	store, err := openSessions(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	a := &Accounts{
		db: db, audit: log, cfg: cfg, store: store,
		tickets: newTickets(),
		hashing: semaphore.NewWeighted(2), // each hash takes 19 MiB
		// Not scs.New: it starts a goroutine that nothing ends.
		sessions: &scs.SessionManager{
			Store: store, Codec: sessionCodec{}, HashTokenInStore: true,
			IdleTimeout: cfg.Idle, Lifetime: cfg.Lifetime,
		},
	}
	if err := a.refresh(ctx); err != nil {
		return nil, fmt.Errorf("open accounts: %w", err)
	}
	if len(a.book.Load().people) == 0 {
		if err := a.makeSetupToken(ctx); err != nil {
			return nil, fmt.Errorf("make set-up token: %w", err)
		}
	}
	return a, nil
}

// SetupToken is the token that makes the first person, to be shown once; empty
// when somebody existed at the start.
func (a *Accounts) SetupToken() string { return a.setup }

// SetupNeeded says that nobody can sign in yet.
func (a *Accounts) SetupNeeded() bool { return len(a.book.Load().people) == 0 }

// Idle is how long a session lives without a request.
func (a *Accounts) Idle() time.Duration { return a.cfg.Idle }

func (a *Accounts) makeSetupToken(ctx context.Context) error {
	token := newSecret("")
	err := a.db.Update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, putSetup, hashOf(token))
		return err
	})
	if err == nil {
		a.setup = token
	}
	return err
}

// Run keeps house until ctx ends: expired sessions and old attempts go, and
// the last use of tokens is written.
func (a *Accounts) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := a.keepHouse(ctx); err != nil && ctx.Err() == nil {
			a.cfg.Log.WarnContext(ctx, "accounts not tidied", "err", err)
		}
	}
}

func (a *Accounts) keepHouse(ctx context.Context) error {
	now := time.Now()
	a.store.forgetExpired(now)
	a.tickets.forgetExpired(now)
	used := a.book.Load().takeUsed()
	return a.db.Update(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, deleteExpiredSessions, now.UnixMilli()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, deleteOldAttempts, now.Add(-24*time.Hour).UnixMilli(), now.UnixMilli()); err != nil {
			return err
		}
		for id, at := range used {
			if _, err := tx.ExecContext(ctx, setTokenUsed, at.UnixMilli(), id); err != nil {
				return err
			}
		}
		return nil
	})
}

// change commits fn with its audit row, then shows the new state to everybody.
func (a *Accounts) change(ctx context.Context, e audit.Entry, fn func(tx *sql.Tx) error) error {
	e.At = time.Now().UTC()
	if e.Result == "" {
		e.Result = "ok"
	}
	err := a.db.Update(ctx, func(tx *sql.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return a.audit.Append(ctx, tx, e)
	})
	// Also after an error: it does not mean "not stored".
	if again := a.refresh(ctx); err == nil && again != nil {
		err = again
	}
	return err
}

// newSecret makes 256 random bits in URL-safe base64 behind a prefix.
func newSecret(prefix string) string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return prefix + base64.RawURLEncoding.EncodeToString(b)
}

// hashOf needs no salt and no slowness: secrets have 256 random bits.
func hashOf(secret string) []byte {
	h := sha256.Sum256([]byte(secret))
	return h[:]
}

func unknown(code, zh, en string) *devices.Problem {
	return &devices.Problem{Kind: ErrUnknown, Code: code, ZH: zh, EN: en}
}
