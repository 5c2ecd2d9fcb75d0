package contract

import (
	"offsite/devices/template"
	"offsite/edge/breach"
	"offsite/edge/evidence"
)

// Detail is an event with its evidence.
type Detail struct {
	breach.Event
	Evident
}

// Evident is what there is of an event's evidence so far.
type Evident struct {
	Pictures []Picture `json:"pictures"`
	Manifest string    `json:"manifest,omitempty"` // SHA-256; empty before the evidence is complete, and where there is no file

	Hold *evidence.Hold `json:"hold,omitempty"` // keeps the files whatever their age; nil: nobody holds them
}

// templateRequest is what an engineer fills in, and how it is registered.
type templateRequest struct {
	template.Request
	TakeOver bool `json:"take_over,omitempty"` // end the present bindings of points that exist already
}
