package accounts

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
)

// tokenPrefix lets scanners of sources and logs know a leaked token.
const tokenPrefix = "offsite_"

// mostCameras bounds what each request of a token is compared with.
const mostCameras = 256

// Token opens the API to a program.
type Token struct {
	ID        string
	Name      string
	Role      Role
	Sites     []string // ids; empty means every site
	Cameras   []string // ids of all that it reaches; empty: it is not bound to cameras
	Created   time.Time
	CreatedBy string
	Expires   time.Time // zero for never
	Used      time.Time // last; zero if never

	used atomic.Int64 // Unix milliseconds
}

// NewToken is what makes a token.
type NewToken struct {
	Name    string
	Role    Role
	Sites   []string
	Cameras []string  // see Token
	Expires time.Time // zero means a year from now
}

func (t *Token) shown() *Token {
	return &Token{
		ID: t.ID, Name: t.Name, Role: t.Role, Sites: slices.Clone(t.Sites), Cameras: slices.Clone(t.Cameras),
		Created: t.Created, CreatedBy: t.CreatedBy, Expires: t.Expires, Used: fromMilli(t.used.Load()),
	}
}

// Tokens gives every token that is not revoked, by id.
func (a *Accounts) Tokens() []*Token {
	var list []*Token
	for _, t := range a.book.Load().tokens {
		list = append(list, t.shown())
	}
	slices.SortFunc(list, func(x, y *Token) int { return strings.Compare(x.ID, y.ID) })
	return list
}

// IssueToken makes a token and gives its secret, which is not kept.
func (a *Accounts) IssueToken(ctx context.Context, by By, n NewToken) (*Token, string, error) {
	if n.Expires.IsZero() {
		n.Expires = time.Now().AddDate(1, 0, 0)
	}
	var ps devices.Problems
	if n.Role != Integrator {
		ps = checkPerson(n.Name, n.Role, n.Sites)
	} else {
		ps = checkPerson(n.Name, Viewer, n.Sites)
	}
	for i, camera := range n.Cameras {
		ps.Add(devices.CheckID(fmt.Sprintf("cameras[%d]", i), camera))
	}
	if len(n.Cameras) > mostCameras {
		ps.Add(devices.Invalid("cameras", "too_many", "一个令牌最多绑定 256 台摄像机；更多请按场所授权", "a token is bound to at most 256 cameras; for more give it their sites"))
	}
	if !n.Expires.After(time.Now()) {
		ps.Add(devices.Invalid("expires_at", "past", "到期时间须在将来", "the token must expire in the future"))
	}
	if err := ps.Err(); err != nil {
		return nil, "", err
	}
	raw := make([]byte, 8)
	_, _ = rand.Read(raw) // never fails
	id, secret := hex.EncodeToString(raw), newSecret(tokenPrefix)
	now := time.Now().UTC()
	rights := &Token{ID: id, Name: n.Name, Role: n.Role, Sites: n.Sites, Cameras: n.Cameras}
	e := audit.Entry{Who: by.Who, From: by.From, Act: "token.create", What: "token/" + id, After: audit.Hash(rights)}
	err := a.change(ctx, e, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, insertToken, id, n.Name, n.Role, asJSON(n.Sites), asJSON(n.Cameras), hashOf(secret), now.UnixMilli(), by.Who, n.Expires.UnixMilli())
		if err != nil {
			return fmt.Errorf("insert token: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	t := a.book.Load().tokens[string(hashOf(secret))]
	if t == nil {
		return nil, "", noToken(id)
	}
	return t.shown(), secret, nil
}

// Revoke ends a token at once.
func (a *Accounts) Revoke(ctx context.Context, by By, id string) error {
	return a.change(ctx, audit.Entry{Who: by.Who, From: by.From, Act: "token.retire", What: "token/" + id}, func(tx *sql.Tx) error {
		n, err := affected(tx.ExecContext(ctx, retireToken, time.Now().UnixMilli(), id))
		if err != nil || n == 0 {
			return first(err, noToken(id))
		}
		_, err = tx.ExecContext(ctx, deletePreferencesOf, "token:"+id)
		return err
	})
}

func noToken(id string) *devices.Problem {
	return &devices.Problem{Kind: devices.ErrNotFound, Code: "not_found", ZH: "没有令牌 " + id, EN: "there is no token " + id}
}

// takeUsed gives when each token was used last, for writing down.
func (b *book) takeUsed() map[string]time.Time {
	used := map[string]time.Time{}
	for _, t := range b.tokens {
		if ms := t.used.Load(); ms != 0 {
			used[t.ID] = fromMilli(ms)
		}
	}
	return used
}
