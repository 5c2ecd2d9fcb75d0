// Package people serves those who use the gateway: signing in and out, the accounts
// and roles of people, the tokens of programs, and the single-use tickets by which a
// browser opens what takes no headers.
package people

import (
	"context"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

// Backend is what this part is served from.
type Backend struct {
	Accounts accounts
}

// accounts know who may do what. A session is the secret of a cookie.
type accounts interface {
	SetupNeeded() bool
	SetUp(ctx context.Context, from string, r contract.SetupRequest) (me contract.Me, session string, err error)
	SignIn(ctx context.Context, from, id, password string) (me contract.Me, session string, err error)
	SignInByLink(ctx context.Context, from, link string) (me contract.Me, session string, err error)
	SignOut(ctx context.Context, who request.Principal, session string) error
	Me(who request.Principal) contract.Me
	ChangePassword(ctx context.Context, who request.Principal, old, fresh string) (contract.Me, error)
	Ticket(who request.Principal, purpose, target string) (secret string, expires time.Time, err error)

	People() []contract.Person
	Person(id string) (contract.Person, error)
	CreatePerson(ctx context.Context, who request.Principal, p contract.PersonCreate) (contract.Person, error)
	ReplacePerson(ctx context.Context, who request.Principal, id string, version int64, p contract.PersonReplace) (contract.Person, error)
	RetirePerson(ctx context.Context, who request.Principal, id string) error
	ResetPassword(ctx context.Context, who request.Principal, id, password string) (contract.Person, error)

	Tokens() []contract.Token
	CreateToken(ctx context.Context, who request.Principal, t contract.TokenCreate) (contract.TokenSecret, error)
	RetireToken(ctx context.Context, who request.Principal, id string) error
}

// API serves the operations of this part.
type API struct {
	Backend
	desk *request.Desk
}

// New makes the part at d.
func New(d *request.Desk, b Backend) *API { return &API{Backend: b, desk: d} }

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	return map[string]echo.HandlerFunc{
		"getSetup": a.getSetup, "setUp": a.setUp, "signIn": a.signIn, "signInByLink": a.signInByLink, "signOut": a.signOut,
		"getMe": a.getMe, "changePassword": a.changePassword, "createTicket": a.createTicket,
		"listPeople": a.listPeople, "createPerson": a.createPerson, "getPerson": a.getPerson, "replacePerson": a.replacePerson,
		"retirePerson": a.retirePerson, "resetPassword": a.resetPassword,
		"listTokens": a.listTokens, "createToken": a.createToken, "retireToken": a.retireToken,
	}
}
