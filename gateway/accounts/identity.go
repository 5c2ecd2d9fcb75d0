package accounts

import (
	"context"
	"slices"
	"strings"
	"time"

	"offsite/devices"
)

// Identity is who asks, as shown by a session, a token or a ticket.
type Identity struct {
	ID         string // the person's id, or "token:" and the token's id
	Person     string // the person's id; empty for tokens
	Name       string
	Role       Role
	Sites      []string  // empty means every site
	Cameras    []string  // all that a token reaches; empty: it is not bound to cameras
	MustChange bool      // the password, before anything else
	Cookie     bool      // shown by a cookie: beware of other sites' pages
	Ticket     bool      // shown by a ticket
	Until      time.Time // when the session ends at the latest; zero without one

	session string // hash
	token   string // hash
}

// Sees says whether things of site may be shown.
func (i Identity) Sees(site string) bool {
	return len(i.Sites) == 0 || slices.Contains(i.Sites, site)
}

// BySession gives the person of a session and counts the request as activity.
func (a *Accounts) BySession(ctx context.Context, token string) (Identity, error) {
	sctx, err := a.sessions.Load(ctx, token)
	if err != nil {
		return Identity{}, err
	}
	id := a.sessions.GetString(sctx, personKey)
	p := a.book.Load().live(id)
	if p == nil {
		return Identity{}, unknown("session_ended", "登录已失效，请重新登录", "the session has ended; sign in again")
	}
	if _, _, err := a.sessions.Commit(sctx); err != nil {
		// The session lives on in memory; on disk it ends up to a minute early.
		a.cfg.Log.DebugContext(ctx, "session not extended on disk", "err", err)
	}
	who := personIdentity(p)
	who.Cookie, who.session, who.Until = true, sessionHash(token), a.sessions.Deadline(sctx).UTC()
	return who, nil
}

func personIdentity(p *Person) Identity {
	return Identity{ID: p.ID, Person: p.ID, Name: p.Name, Role: p.Role, Sites: p.Sites, MustChange: p.MustChange}
}

// ByBearer gives the identity of a token's secret.
func (a *Accounts) ByBearer(secret string) (Identity, error) {
	hash := string(hashOf(secret))
	t := a.book.Load().tokens[hash]
	now := time.Now()
	if t == nil || (!t.Expires.IsZero() && !now.Before(t.Expires)) {
		return Identity{}, unknown("bad_token", "令牌无效、已吊销或已到期", "the token is unknown, revoked or expired")
	}
	t.used.Store(now.UnixMilli())
	return tokenIdentity(t, hash), nil
}

func tokenIdentity(t *Token, hash string) Identity {
	return Identity{ID: "token:" + t.ID, Name: t.Name, Role: t.Role, Sites: t.Sites, Cameras: t.Cameras, token: hash}
}

// Holds says whether who may still do what it could when it was shown: the
// session goes on, the token is not revoked, the rights are the same. Streams
// ask it from time to time.
func (a *Accounts) Holds(who Identity) bool {
	now, err := a.again(who)
	return err == nil && now.Role == who.Role && slices.Equal(now.Sites, who.Sites) && slices.Equal(now.Cameras, who.Cameras)
}

// again looks an identity up as it stands now.
func (a *Accounts) again(who Identity) (Identity, error) {
	ended := unknown("session_ended", "登录已失效，请重新登录", "the session has ended; sign in again")
	b := a.book.Load()
	if who.token != "" {
		t := b.tokens[who.token]
		if t == nil || (!t.Expires.IsZero() && !time.Now().Before(t.Expires)) {
			return Identity{}, ended
		}
		return tokenIdentity(t, who.token), nil
	}
	p := b.live(who.Person)
	if p == nil || !a.store.alive(who.session) {
		return Identity{}, ended
	}
	now := personIdentity(p)
	now.session = who.session
	return now, nil
}

// Ticket makes a secret that opens one target once, as who, within a minute.
func (a *Accounts) Ticket(who Identity, purpose, target string) (secret string, expires time.Time, err error) {
	expires = time.Now().Add(a.cfg.TicketLife).UTC()
	secret = newSecret("")
	if !a.tickets.put(secret, ticket{who: who, purpose: purpose, target: target, expires: expires}) {
		return "", time.Time{}, &devices.Problem{Kind: devices.ErrUnavailable, Code: "too_many_tickets", ZH: "未使用的票据过多，请稍后再试", EN: "too many tickets wait to be used; try again in a minute"}
	}
	return secret, expires, nil
}

// ByTicket takes a ticket for its one use.
func (a *Accounts) ByTicket(secret, purpose, target string) (Identity, error) {
	bad := unknown("bad_ticket", "票据无效、已使用或已过期，请重新申请", "the ticket is unknown, used or expired; ask for a new one")
	t, ok := a.tickets.take(secret)
	if !ok || t.purpose != purpose || t.target != target {
		return Identity{}, bad
	}
	who, err := a.again(t.who)
	if err != nil {
		return Identity{}, bad
	}
	who.Ticket = true
	return who, nil
}

// linkPurpose marks the tickets that sign a person in.
const linkPurpose = "sign-in"

// Link makes a secret that signs a person in once, within life, without a
// password. It is for the program that set the gateway up, not for the API.
func (a *Accounts) Link(person string, life time.Duration) (string, error) {
	if _, err := a.Person(person); err != nil {
		return "", err
	}
	secret := newSecret("")
	a.tickets.put(secret, ticket{who: Identity{Person: person}, purpose: linkPurpose, expires: time.Now().Add(life)})
	return secret, nil
}

// SignInByLink opens a session with a secret of [Accounts.Link].
func (a *Accounts) SignInByLink(ctx context.Context, from, secret string) (Person, string, error) {
	if err := a.admitHost(ctx, from); err != nil {
		return Person{}, "", err
	}
	t, ok := a.tickets.take(strings.TrimSpace(secret))
	if !ok || t.purpose != linkPurpose || a.book.Load().live(t.who.Person) == nil {
		return Person{}, "", unknown("bad_link", "登录链接无效、已使用或已过期", "the sign-in link is unknown, used or expired")
	}
	return a.openSession(ctx, from, t.who.Person, "link")
}
