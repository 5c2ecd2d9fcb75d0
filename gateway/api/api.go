// Package api is the gateway's own HTTP API as openapi.yaml describes it. That
// document is the source: the Go types are made from it, the routes are
// registered by its operation ids, and each operation's `x-roles`,
// `x-all-sites`, `x-cameras`, `x-ticket`, `x-audit` and `x-command` are what the server enforces. A server whose document names an
// operation without roles or without a handler refuses to start.
//
// Bodies are JSON; faults are RFC 9457 problem bodies with a stable code and a
// sentence in Chinese and in English. Fields are only ever added within
// /api/v1; clients ignore those they do not know.
package api

import (
	"context"
	_ "embed" // openapi.yaml
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"offsite/devices"
)

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

// Base is where the API begins.
const Base = "/api/v1"

// Who may use an operation besides the roles.
const (
	Public       = "public"   // nobody needs to sign in
	FromPlatform = "platform" // signed by the supervision platform; the handler checks it
	FromPlayback = "playback" // whoever holds the address of a playback; the handler checks it
)

// API serves the operations of openapi.yaml.
type API struct {
	Backend
	log     *slog.Logger
	opened  time.Time
	probing chan struct{} // has room for those that may be under way
	tables  chan struct{} // the same for imports

	clips     *clips
	openings  *openings
	playbacks *playbacks
	viewings  *viewings // by WebRTC
	views     *viewings // by WebSocket
}

// New makes an API on b. Nothing runs before [API.Run].
func New(b Backend, log *slog.Logger) *API {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &API{
		Backend: b, log: log, opened: time.Now().UTC(), probing: make(chan struct{}, probesAtAll), tables: make(chan struct{}, importsAtAll),
		clips: newClips(), openings: newOpenings(), playbacks: newPlaybacks(), viewings: newViewings(), views: newViewings(),
	}
}

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
func (o *Operation) Allows(role Role) bool { return slices.Contains(o.Roles, string(role)) }

// Reaches says whether who comes as far as what the request names: a token that is
// bound to cameras reaches nothing but them.
func (o *Operation) Reaches(who Principal, c echo.Context) bool {
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
func Allows(operation string, role Role) bool {
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

// Register puts every operation under g, each behind the guard that it gets.
// known says whether a path is one of theirs, by whatever method.
func (a *API) Register(g *echo.Group, guard func(*Operation) echo.MiddlewareFunc) (known func(path string) bool, err error) {
	list, err := a.Operations()
	if err != nil {
		return nil, err
	}
	var paths []string
	forks := map[string]map[string]echo.HandlerFunc{} // by method and path, then by verb
	for _, o := range list {
		path, verb := o.route()
		fork := forks[o.Method+path]
		if fork == nil {
			fork = map[string]echo.HandlerFunc{}
			forks[o.Method+path] = fork
			g.Add(o.Method, path, unescaped(byVerb(fork)))
		}
		fork[verb] = guard(o)(o.Handler)
		paths = append(paths, parameter.ReplaceAllString(regexp.QuoteMeta(o.Path), "[^/]+"))
	}
	pattern, err := regexp.Compile("^" + regexp.QuoteMeta(Base) + "(" + strings.Join(paths, "|") + ")$")
	if err != nil {
		return nil, fmt.Errorf("paths of openapi.yaml: %w", err)
	}
	return pattern.MatchString, nil
}

// parameter is a quoted {name} in a path.
var parameter = regexp.MustCompile(`\\\{[^}]*\\\}`)

// unescaped decodes the path's parameters: echo leaves them as they came, and
// many clients write the colon of a verb as %3A.
func unescaped(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		values := slices.Clone(c.ParamValues())
		for i, v := range values {
			var err error
			if values[i], err = url.PathUnescape(v); err != nil {
				return echo.ErrNotFound
			}
		}
		c.SetParamValues(values...)
		return next(c)
	}
}

// byVerb takes ":verb" off the last path parameter, which echo cannot, and
// calls the handler of that verb; that of "" has none.
func byVerb(handlers map[string]echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if plain := handlers[""]; plain != nil {
			return plain(c)
		}
		values := c.ParamValues()
		last := len(values) - 1
		colon := strings.LastIndexByte(values[last], ':')
		handler := handlers[values[last][colon+1:]]
		if colon < 0 || handler == nil {
			return echo.ErrNotFound
		}
		values[last] = values[last][:colon]
		c.SetParamValues(values...)
		return handler(c)
	}
}

// handlers names the handler of each operation.
func (a *API) handlers() map[string]echo.HandlerFunc {
	m := map[string]echo.HandlerFunc{
		"discoverCameras": a.discoverCameras, "inspectCamera": a.inspectCamera, "adoptCameras": a.adoptCameras,
		"tellCameraEvent": a.tellCameraEvent,
		"getPTZ":          a.getPTZ, "movePTZ": a.movePTZ, "stopPTZ": a.stopPTZ, "lookPTZ": a.lookPTZ, "patrolPTZ": a.patrolPTZ, "rememberPTZ": a.rememberPTZ, "forgetPTZ": a.forgetPTZ,
		"getSetup": a.getSetup, "setUp": a.setUp, "signIn": a.signIn, "signInByLink": a.signInByLink, "signOut": a.signOut,
		"getMe": a.getMe, "changePassword": a.changePassword, "createTicket": a.createTicket,
		"getMyWalls": a.getMyWalls, "replaceMyWalls": a.replaceMyWalls,
		"getLast": a.getLast, "listLast": a.listLast, "listReadings": a.listReadings, "watchLive": a.watchLive,
		"listEvents": a.listEvents, "getEvent": a.getEvent, "acknowledgeEvent": a.acknowledgeEvent, "holdEvidence": a.holdEvidence, "releaseEvidence": a.releaseEvidence, "getBlob": a.getBlob,
		"verifyEvidence": a.verifyEvidence, "getEvidencePackage": a.getEvidencePackage,
		"getStill": a.getStill, "viewLive": a.viewLive, "openWHEP": a.openWHEP, "trickleWHEP": a.trickleWHEP, "closeWHEP": a.closeWHEP, "openHLS": a.openHLS, "getHLS": a.getHLS, "retryCamera": a.retryCamera,
		"listRecordings": a.listRecordings, "getClip": a.getClip, "exportRecording": a.exportRecording,
		"listReferences": a.listReferences, "getReference": a.getReference, "setReference": a.setReference,
		"listHealth": a.listHealth, "getDeviceHealth": a.getDeviceHealth,
		"maintainDevice": a.maintain(devices.KindDevice), "endDeviceMaintenance": a.endMaintenance(devices.KindDevice),
		"maintainPoint": a.maintain(devices.KindPoint), "endPointMaintenance": a.endMaintenance(devices.KindPoint),
		"writePoint": a.writePoint, "commandDevice": a.commandDevice, "listLoggerCommands": listLoggerCommands,
		"getStatus": a.getStatus, "listLosses": a.listLosses, "listDeadLetters": a.listLetters, "replayDeadLetters": a.replayLetters,
		"getPlatform": a.getPlatform, "enrolPlatform": a.enrolPlatform, "receiveCommand": a.receiveCommand,
		"listPeople": a.listPeople, "createPerson": a.createPerson, "getPerson": a.getPerson, "replacePerson": a.replacePerson,
		"retirePerson": a.retirePerson, "resetPassword": a.resetPassword,
		"listTokens": a.listTokens, "createToken": a.createToken, "retireToken": a.retireToken,
		"listTemplates": a.listTemplates, "getTemplate": a.getTemplate, "renderTemplate": a.renderTemplate, "registerTemplate": a.registerTemplate,
		"importThings": a.importThings, "exportThings": a.exportThings, "getLabel": a.getLabel,
		"probeDevice": a.probeDevice, "probeCamera": a.probeCamera, "scanDevices": a.scanDevices, "listenToDevices": a.listenToDevices, "adoptDevice": a.adoptDevice,
		"listAudit": a.listAudit, "getAuditChain": a.getAuditChain, "getOpenAPI": getOpenAPI,
	}
	for _, k := range kinds {
		m["list"+k.many] = a.listThings(k)
		m["create"+k.one] = a.createThing(k)
		m["get"+k.one] = a.getThing(k)
		m["replace"+k.one] = a.replaceThing(k)
		m["retire"+k.one] = a.retireThing(k)
	}
	return m
}

func getOpenAPI(c echo.Context) error { return c.Blob(http.StatusOK, "application/yaml", document) }
