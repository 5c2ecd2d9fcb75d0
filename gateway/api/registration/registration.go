// Package registration keeps what is registered: the eight collections of things, by
// hand, by tables, by templates of devices and from what was found, and the labels
// that are stuck on devices. Whatever it changes stands in the audit trail in the same
// transaction.
package registration

import (
	"github.com/labstack/echo/v4"

	"offsite/devices/template"
	"offsite/gateway/api/request"
)

// Backend is what this part is served from.
type Backend struct {
	Templates *template.Catalog
}

// API serves the operations of this part.
type API struct {
	Backend
	desk   *request.Desk
	tables chan struct{} // has room for the imports that may be under way
}

// New makes the part at d.
func New(d *request.Desk, b Backend) *API {
	return &API{Backend: b, desk: d, tables: make(chan struct{}, importsAtAll)}
}

// Handlers names the handler of each operation.
func (a *API) Handlers() map[string]echo.HandlerFunc {
	m := map[string]echo.HandlerFunc{
		"listTemplates": a.listTemplates, "getTemplate": a.getTemplate, "renderTemplate": a.renderTemplate, "registerTemplate": a.registerTemplate,
		"importThings": a.importThings, "exportThings": a.exportThings,
		"adoptDevice": a.adoptDevice, "adoptCameras": a.adoptCameras,
		"getLabel": a.getLabel,
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
