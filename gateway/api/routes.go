package api

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"offsite/gateway/api/contract"
)

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
	pattern, err := regexp.Compile("^" + regexp.QuoteMeta(contract.Base) + "(" + strings.Join(paths, "|") + ")$")
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
