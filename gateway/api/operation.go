package api

import (
	"context"
	_ "embed" // openapi.yaml
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"offsite/gateway/api/contract"
	"offsite/gateway/api/request"
)

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

// Who may use an operation besides the roles.
const (
	Public       = "public"   // nobody needs to sign in
	FromPlatform = "platform" // signed by the supervision platform; the handler checks it
	FromPlayback = "playback" // whoever holds the address of a playback; the handler checks it
)

// Operation is one method on one path.
type Operation struct {
	ID       string
	Method   string
	Path     string // as in the document, "/points/{id}/last"
	Roles    []string
	AllSites bool   // not for those who are limited to some sites
	Cameras  bool   // also for tokens that are bound to cameras; below /cameras/{id} to those cameras
	Ticket   string // purpose of the tickets that it takes; empty: none
	Act      string // in the audit trail; empty: none
	Command  bool   // it moves something in the field: who is refused is audited too
	Handler  echo.HandlerFunc
}

// Allows says whether a role may use the operation.
func (o *Operation) Allows(role contract.Role) bool { return slices.Contains(o.Roles, string(role)) }

// Reaches says whether who comes as far as what the request names: a token that is
// bound to cameras reaches nothing but them.
func (o *Operation) Reaches(who request.Principal, c echo.Context) bool {
	if len(who.Cameras) == 0 {
		return true
	}
	return o.Cameras && (!strings.HasPrefix(o.Path, "/cameras/{id}") || who.Reaches(c.Param("id")))
}

// Open says whether the operation needs nobody to be signed in.
func (o *Operation) Open() bool {
	return slices.ContainsFunc(o.Roles, func(r string) bool { return r == Public || r == FromPlatform || r == FromPlayback })
}

// Target is what a ticket for this operation must name: the id in the path.
func (o *Operation) Target(c echo.Context) string {
	if names := c.ParamNames(); len(names) == 1 {
		return c.Param(names[0])
	}
	return ""
}

// Subject is the thing that a command is about, "point/gate.pm10".
func (o *Operation) Subject(c echo.Context) string {
	kinds, _, _ := strings.Cut(strings.TrimPrefix(o.Path, "/"), "/")
	return strings.TrimSuffix(kinds, "s") + "/" + c.Param("id")
}

// route is the operation's path as echo writes it, and the verb behind a colon.
func (o *Operation) route() (path, verb string) {
	path, verb, _ = strings.Cut(o.Path, "}:")
	if verb != "" {
		path += "}"
	}
	return strings.NewReplacer("{", ":", "}", "", ":", `\:`).Replace(path), verb
}

// described is what openapi.yaml says: it is read once, since that takes longer
// than all else at a start.
var described = sync.OnceValues(func() ([]Operation, error) { return operations(document) })

// Allows says whether a role may use the operation of this id, for those that reach
// the same by another protocol.
func Allows(operation string, role contract.Role) bool {
	list, err := described()
	i := slices.IndexFunc(list, func(o Operation) bool { return o.ID == operation })
	return err == nil && i >= 0 && list[i].Allows(role)
}

// Operations gives those of the document. All its faults are told at once.
func (a *API) Operations() ([]*Operation, error) {
	list, err := described()
	bound, missing := bind(list, a.handlers())
	return bound, errors.Join(err, missing)
}

// bind gives copies of the operations with their handlers.
func bind(list []Operation, handlers map[string]echo.HandlerFunc) ([]*Operation, error) {
	var bound []*Operation
	var faults []error
	for _, o := range list {
		if o.Handler = handlers[o.ID]; o.Handler == nil {
			faults = append(faults, fmt.Errorf("openapi.yaml: %s %s: no handler for %q", o.Method, o.Path, o.ID))
		}
		bound = append(bound, &o)
	}
	return bound, errors.Join(faults...)
}

func operations(document []byte) ([]Operation, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	var list []Operation
	var faults []error
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			o, err := operation(method, path, op)
			faults = append(faults, err)
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(x, y Operation) int { return strings.Compare(x.Path+" "+x.Method, y.Path+" "+y.Method) })
	return list, errors.Join(faults...)
}

func operation(method, path string, op *openapi3.Operation) (Operation, error) {
	o := Operation{ID: op.OperationID, Method: method, Path: path}
	roles, _ := op.Extensions["x-roles"].([]any)
	for _, r := range roles {
		role, _ := r.(string)
		if !slices.Contains([]string{"administrator", "field_engineer", "staff", "viewer", "integrator", Public, FromPlatform, FromPlayback}, role) {
			return o, fmt.Errorf("openapi.yaml: %s %s: unknown role %v", method, path, r)
		}
		o.Roles = append(o.Roles, role)
	}
	o.AllSites, _ = op.Extensions["x-all-sites"].(bool)
	o.Cameras, _ = op.Extensions["x-cameras"].(bool)
	o.Ticket, _ = op.Extensions["x-ticket"].(string)
	o.Act, _ = op.Extensions["x-audit"].(string)
	o.Command, _ = op.Extensions["x-command"].(bool)
	if len(o.Roles) == 0 {
		return o, fmt.Errorf("openapi.yaml: %s %s: no x-roles", method, path)
	}
	return o, nil
}
