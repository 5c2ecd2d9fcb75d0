package accounts

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
)

func personSubject(id string) string {
	if devices.CheckID("", id) != nil { // of any length and content: keep the table tidy
		h := sha256.Sum256([]byte(id))
		id = "?" + hex.EncodeToString(h[:8])
	}
	return "person/" + id
}

func hostSubject(from string) string {
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	return "address/" + from
}

// SignIn compares the password and opens a session, whose token is for the
// cookie. Wrong name and wrong password are told alike.
func (a *Accounts) SignIn(ctx context.Context, from, id, password string) (Person, string, error) {
	if err := a.countAttempt(ctx, from, id); err != nil {
		return Person{}, "", err
	}
	phc := ""
	if p := a.book.Load().live(id); p != nil {
		phc = p.password
	}
	if err := a.compare(ctx, from, id, phc, password); err != nil {
		if errors.Is(err, errWrong) {
			err = unknown("sign_in_failed", "登录名或口令不对", "name or password is wrong")
		}
		return Person{}, "", err
	}
	return a.openSession(ctx, from, id, "")
}

var errWrong = errors.New("wrong password")

// compare returns errWrong, once that is in the trail, when password is not the one of phc.
func (a *Accounts) compare(ctx context.Context, from, id, phc, password string) error {
	ok, err := a.verify(ctx, phc, password)
	if err != nil || ok {
		return err
	}
	e := audit.Entry{At: time.Now().UTC(), Who: claimed(id), From: from, Act: "session.open", What: personSubject(id), Result: "sign_in_failed"}
	err = a.db.Update(ctx, func(tx *sql.Tx) error { return a.audit.Append(ctx, tx, e) })
	if err == nil {
		err = a.refresh(ctx) // a lock may have begun, which the list of people shows
	}
	if err != nil {
		return err
	}
	return errWrong
}

// countAttempt takes one try from the account and from the address before the
// password is looked at; a right password gives both back. Where a lock holds
// it returns a Problem of kind ErrLocked.
func (a *Accounts) countAttempt(ctx context.Context, from, id string) error {
	return a.count(ctx, from, id, a.hostLimit(from), limit{personSubject(id), a.cfg.Tries})
}

// admitHost counts a try of an address alone, for secrets without an account.
func (a *Accounts) admitHost(ctx context.Context, from string) error {
	return a.count(ctx, from, "", a.hostLimit(from))
}

// limit is how many wrong tries of subject come before a lock.
type limit struct {
	subject string
	most    int
}

func (a *Accounts) hostLimit(from string) limit { return limit{hostSubject(from), a.cfg.HostTries} }

func (a *Accounts) count(ctx context.Context, from, id string, limits ...limit) error {
	now := time.Now()
	var refused *devices.Problem
	err := a.db.Update(ctx, func(tx *sql.Tx) error {
		refused = nil
		for _, l := range limits {
			until, tell, err := a.countOne(ctx, tx, l, now)
			if err != nil {
				return err
			}
			if until.IsZero() {
				continue
			}
			refused = lockedUntil(until)
			if !tell {
				return nil
			}
			e := audit.Entry{At: now.UTC(), Who: claimed(id), From: from, Act: "session.open", What: l.subject, Result: "locked"}
			return a.audit.Append(ctx, tx, e)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	return nil
}

// countOne counts a try of a subject. It gives the end of the lock where one
// holds, and whether the trail is to hear of it: of a burst of tries it hears
// once a minute, lest an attacker fill the disk with it.
func (a *Accounts) countOne(ctx context.Context, tx *sql.Tx, l limit, now time.Time) (until time.Time, tell bool, err error) {
	var failures int
	var last, locked int64
	err = tx.QueryRowContext(ctx, selectAttempts, l.subject).Scan(&failures, &last, &locked)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, false, fmt.Errorf("read attempts: %w", err)
	}
	since := now.Sub(fromMilli(last))
	if u := fromMilli(locked); u.After(now) {
		until = u
		if tell = since >= time.Minute; !tell {
			return until, false, nil
		}
	} else {
		if locked != 0 || since > a.cfg.Lock {
			failures = 0
		}
		failures++
		locked = 0
		if failures >= l.most { // this try is still free, and a right one lifts the lock
			locked = now.Add(a.cfg.Lock).UnixMilli()
		}
	}
	if _, err = tx.ExecContext(ctx, putAttempts, l.subject, failures, now.UnixMilli(), locked); err != nil {
		return time.Time{}, false, fmt.Errorf("count attempt: %w", err)
	}
	return until, tell, nil
}

func lockedUntil(until time.Time) *devices.Problem {
	at := until.In(devices.Beijing).Format("15:04:05")
	return &devices.Problem{Kind: ErrLocked, Code: "locked", ZH: "错误次数过多，已锁定至 " + at + "（北京时间）", EN: "too many wrong attempts; locked until " + at + " (UTC+8)"}
}

// claimed is who somebody says to be, for the trail.
func claimed(id string) string {
	if id == "" {
		return "nobody"
	}
	return strings.ToValidUTF8(id[:min(len(id), 64)], "?")
}

// openSession makes a session of a person whose identity is shown, and forgives
// the tries. how names what opened it, for the trail.
func (a *Accounts) openSession(ctx context.Context, from, id, how string) (Person, string, error) {
	sctx, err := a.sessions.Load(ctx, "") // always a new token: nothing a browser brings lives on
	if err != nil {
		return Person{}, "", err
	}
	a.sessions.Put(sctx, personKey, id)
	var token string
	var expiry time.Time
	e := audit.Entry{Who: id, From: from, Act: "session.open", What: "person/" + id, Detail: how}
	err = a.change(ctx, e, func(tx *sql.Tx) error {
		if token, expiry, err = a.sessions.Commit(opening(sctx, tx)); err != nil {
			return fmt.Errorf("open session: %w", err)
		}
		for _, s := range []string{personSubject(id), hostSubject(from)} {
			if _, err := tx.ExecContext(ctx, deleteAttempts, s); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, setSignedIn, time.Now().UnixMilli(), id)
		return err
	})
	if err != nil {
		return Person{}, "", err
	}
	data, err := sessionCodec{}.Encode(a.sessions.Deadline(sctx), map[string]any{personKey: id})
	if err != nil {
		return Person{}, "", err
	}
	a.store.keep(sessionHash(token), id, data, expiry)
	p, err := a.Person(id)
	return p, token, err
}

// sessionHash is what scs calls a token in its store (HashTokenInStore).
func sessionHash(token string) string { return base64.RawURLEncoding.EncodeToString(hashOf(token)) }

// SignOut ends the session of token.
func (a *Accounts) SignOut(ctx context.Context, by By, token string) error {
	hash := sessionHash(token)
	err := a.change(ctx, audit.Entry{Who: by.Who, From: by.From, Act: "session.close", What: "person/" + by.Who}, func(tx *sql.Tx) error {
		return a.store.DeleteCtx(opening(ctx, tx), hash)
	})
	a.store.forget(hash) // whatever the disk says, this process honours it no more
	return err
}

// ChangePassword gives the person of an identity a new password. Every other
// session of the person ends.
func (a *Accounts) ChangePassword(ctx context.Context, by By, who Identity, old, fresh string) (Person, error) {
	p := a.book.Load().live(who.Person)
	if p == nil {
		return Person{}, &devices.Problem{Kind: ErrForbidden, Code: "people_only", ZH: "令牌没有口令", EN: "a token has no password"}
	}
	if err := a.countAttempt(ctx, by.From, p.ID); err != nil {
		return Person{}, err
	}
	if err := a.compare(ctx, by.From, p.ID, p.password, old); err != nil {
		if errors.Is(err, errWrong) {
			err = devices.Invalid("old", "wrong_password", "原口令不对", "this is not the present password")
		}
		return Person{}, err
	}
	if fresh == old {
		return Person{}, devices.Invalid("new", "password_same", "新口令须与原口令不同", "choose a password other than the present one")
	}
	return a.givePassword(ctx, by, p.ID, "new", fresh, who.session, "person.password", false)
}

// Reset gives a person a new first password, which must be changed at the next
// sign-in, lifts a lock-out and ends every session.
func (a *Accounts) Reset(ctx context.Context, by By, id, password string) (Person, error) {
	if _, err := a.Person(id); err != nil {
		return Person{}, err
	}
	return a.givePassword(ctx, by, id, "password", password, "", "person.reset", true)
}

func (a *Accounts) givePassword(ctx context.Context, by By, id, field, password, keep, act string, mustChange bool) (Person, error) {
	if p := checkPassword(field, password, id); p != nil {
		return Person{}, p
	}
	hash, err := a.hash(ctx, password)
	if err != nil {
		return Person{}, err
	}
	err = a.change(ctx, audit.Entry{Who: by.Who, From: by.From, Act: act, What: "person/" + id}, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, setPassword, hash, mustChange, time.Now().UnixMilli(), id))
		if err != nil || n == 0 {
			return first(err, noPerson(id))
		}
		for _, s := range []string{personSubject(id), hostSubject(by.From)} {
			if _, err := tx.ExecContext(ctx, deleteAttempts, s); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, deleteSessionsOf, id, keep)
		return err
	})
	if err != nil {
		return Person{}, err
	}
	a.store.forgetOf(id, keep)
	return a.Person(id)
}
