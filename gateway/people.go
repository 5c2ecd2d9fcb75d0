package gateway

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// people shows package accounts as the API asks for it.
type people struct{ accounts *accounts.Accounts }

func principal(id accounts.Identity, from string) request.Principal {
	return request.Principal{
		ID: id.ID, Person: id.Person, Name: id.Name, Role: contract.Role(id.Role), Sites: id.Sites, Cameras: id.Cameras, MustChange: id.MustChange,
		Cookie: id.Cookie, Ticket: id.Ticket, From: from, Key: id,
	}
}

// identity is the reverse of principal.
func identity(who request.Principal) accounts.Identity {
	id, _ := who.Key.(accounts.Identity)
	return id
}

func by(who request.Principal) accounts.By { return accounts.By{Who: who.ID, From: who.From} }

func (p people) SetupNeeded() bool { return p.accounts.SetupNeeded() }

func (p people) SetUp(ctx context.Context, from string, r contract.SetupRequest) (contract.Me, string, error) {
	_, err := p.accounts.SetUp(ctx, from, r.Token, accounts.NewPerson{ID: r.ID, Name: r.Name, Password: r.Password})
	if err != nil {
		return contract.Me{}, "", err
	}
	return p.SignIn(ctx, from, r.ID, r.Password)
}

func (p people) SignIn(ctx context.Context, from, id, password string) (contract.Me, string, error) {
	person, session, err := p.accounts.SignIn(ctx, from, id, password)
	if err != nil {
		return contract.Me{}, "", err
	}
	return p.me(person), session, nil
}

func (p people) SignInByLink(ctx context.Context, from, link string) (contract.Me, string, error) {
	person, session, err := p.accounts.SignInByLink(ctx, from, link)
	if err != nil {
		return contract.Me{}, "", err
	}
	return p.me(person), session, nil
}

func (p people) SignOut(ctx context.Context, who request.Principal, session string) error {
	return p.accounts.SignOut(ctx, by(who), session)
}

func (p people) me(person accounts.Person) contract.Me {
	return contract.Me{
		ID: person.ID, Name: person.Name, Role: contract.Role(person.Role), Sites: listed(person.Sites),
		MustChangePassword: person.MustChange, IdleTimeout: devices.Duration(p.accounts.Idle()),
	}
}

func (p people) Me(who request.Principal) contract.Me {
	me := contract.Me{ID: who.ID, Name: who.Name, Role: who.Role, Sites: listed(who.Sites), MustChangePassword: who.MustChange}
	if who.Cookie {
		me.IdleTimeout = devices.Duration(p.accounts.Idle())
		me.ExpiresAt = identity(who).Until
	}
	return me
}

func (p people) ChangePassword(ctx context.Context, who request.Principal, old, fresh string) (contract.Me, error) {
	person, err := p.accounts.ChangePassword(ctx, by(who), identity(who), old, fresh)
	if err != nil {
		return contract.Me{}, err
	}
	return p.me(person), nil
}

func (p people) Ticket(who request.Principal, purpose, target string) (string, time.Time, error) {
	return p.accounts.Ticket(identity(who), purpose, target)
}

func (p people) Preference(ctx context.Context, who request.Principal, name string) ([]byte, int64, error) {
	return p.accounts.Preference(ctx, who.ID, name)
}

func (p people) Prefer(ctx context.Context, who request.Principal, name string, version int64, data []byte) error {
	return p.accounts.Prefer(ctx, who.ID, name, version, data)
}

func (p people) People() []contract.Person {
	list := []contract.Person{}
	for _, person := range p.accounts.People() {
		list = append(list, shownPerson(person))
	}
	return list
}

func shownPerson(p accounts.Person) contract.Person {
	return contract.Person{
		ID: p.ID, Name: p.Name, Role: contract.Role(p.Role), Sites: listed(p.Sites), MustChangePassword: p.MustChange,
		LockedUntil: p.Locked, LastSignIn: p.SignedIn, Version: p.Version, CreatedAt: p.Created, UpdatedAt: p.Updated,
	}
}

func (p people) Person(id string) (contract.Person, error) { return shown(p.accounts.Person(id)) }

func shown(p accounts.Person, err error) (contract.Person, error) {
	if err != nil {
		return contract.Person{}, err
	}
	return shownPerson(p), nil
}

func (p people) CreatePerson(ctx context.Context, who request.Principal, n contract.PersonCreate) (contract.Person, error) {
	return shown(p.accounts.Create(ctx, by(who), accounts.NewPerson{
		ID: n.ID, Name: n.Name, Role: accounts.Role(n.Role), Sites: n.Sites, Password: n.Password,
	}))
}

func (p people) ReplacePerson(ctx context.Context, who request.Principal, id string, version int64, n contract.PersonReplace) (contract.Person, error) {
	return shown(p.accounts.Replace(ctx, by(who), id, version, n.Name, accounts.Role(n.Role), n.Sites))
}

func (p people) RetirePerson(ctx context.Context, who request.Principal, id string) error {
	return p.accounts.Retire(ctx, by(who), id)
}

func (p people) ResetPassword(ctx context.Context, who request.Principal, id, password string) (contract.Person, error) {
	return shown(p.accounts.Reset(ctx, by(who), id, password))
}

func (p people) Tokens() []contract.Token {
	list := []contract.Token{}
	for _, t := range p.accounts.Tokens() {
		list = append(list, shownToken(t))
	}
	return list
}

func shownToken(t *accounts.Token) contract.Token {
	return contract.Token{
		ID: t.ID, Name: t.Name, Role: contract.Role(t.Role), Sites: listed(t.Sites), Cameras: listed(t.Cameras),
		CreatedAt: t.Created, CreatedBy: t.CreatedBy, ExpiresAt: t.Expires, LastUsed: t.Used,
	}
}

func (p people) CreateToken(ctx context.Context, who request.Principal, n contract.TokenCreate) (contract.TokenSecret, error) {
	t, secret, err := p.accounts.IssueToken(ctx, by(who), accounts.NewToken{
		Name: n.Name, Role: accounts.Role(n.Role), Sites: n.Sites, Cameras: n.Cameras, Expires: n.ExpiresAt,
	})
	if err != nil {
		return contract.TokenSecret{}, err
	}
	return contract.TokenSecret{Token: shownToken(t), Secret: secret}, nil
}

func (p people) RetireToken(ctx context.Context, who request.Principal, id string) error {
	return p.accounts.Revoke(ctx, by(who), id)
}

// listed makes an empty list of none: JSON readers want [], not null.
func listed(sites []string) []string {
	if sites == nil {
		return []string{}
	}
	return sites
}
