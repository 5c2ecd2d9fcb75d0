package request

import (
	"slices"

	"github.com/labstack/echo/v4"

	"offsite/gateway/api/contract"
)

// Principal is who asks. The guard of each operation sets it.
type Principal struct {
	ID         string // person, or "token:" and its id
	Person     string // empty for tokens
	Name       string
	Role       contract.Role
	Sites      []string // empty means every site
	Cameras    []string // all that a token reaches; empty: it is not bound to cameras
	MustChange bool     // the password, before anything else
	Cookie     bool     // known by a cookie: beware of other sites' pages
	Ticket     bool     // known by a ticket
	From       string   // address
	Holds      func() bool
	Key        any // of whoever knows principals
}

// CookieName is that of the session.
const CookieName = "offsite_session"

// whoKey is where the guard leaves the Principal.
const whoKey = "who"

// SetWho tells the handlers who asks.
func SetWho(c echo.Context, p Principal) { c.Set(whoKey, p) }

// Who is who asks; nobody on open operations.
func Who(c echo.Context) Principal {
	p, _ := c.Get(whoKey).(Principal)
	return p
}

// Sees says whether things of site may be shown.
func (p Principal) Sees(site string) bool { return len(p.Sites) == 0 || slices.Contains(p.Sites, site) }

// Reaches says whether p is not bound to other cameras than this one.
func (p Principal) Reaches(camera string) bool {
	return len(p.Cameras) == 0 || slices.Contains(p.Cameras, camera)
}
