// Package api is the gateway's own HTTP API as openapi.yaml describes it. That
// document is the source: the Go types are made from it, the routes are
// registered by its operation ids, and each operation's `x-roles`, `x-ticket`
// and `x-audit` are what the server enforces. A server whose document names an
// operation without roles or without a handler refuses to start.
//
// Bodies are JSON; faults are RFC 9457 problem bodies with a stable code and a
// sentence in Chinese and in English. Fields are only ever added within
// /api/v1; clients ignore those they do not know.
package api

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml
