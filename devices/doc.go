// Package devices is the vocabulary of the trade: who is supervised
// ([Entity], [Site]), where it is measured ([Outlet], [Point]), with what
// ([Device], [Binding], [Camera]), against what ([Limit]), and what was
// measured ([Reading], [Delivery]). It also holds the one error that people
// read, [Problem], and what the rooms of the floor have in common: the contracts
// of every [Driver] and every [Prober], and the [Port] of those whose devices
// connect to the gateway. How a protocol is read is its room's own affair; what
// may be registered of a device that speaks it is checked here.
//
// The package imports nothing else of this module. All JSON here is the JSON
// of the gateway's own API; names are snake_case, times RFC 3339, durations
// Go duration strings such as "1m30s".
package devices
