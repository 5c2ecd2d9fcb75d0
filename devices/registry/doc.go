// Package registry keeps what is registered: entities, sites, outlets, points,
// devices, bindings, cameras and limits. It checks what things refer to, hands
// out immutable snapshots that readers use without a lock, and tells of every
// change.
//
// # Ids
//
// An id is chosen at creation or, when left empty, made then from the thing's
// own words and four random characters ("pm10-h-7k2q"); a point's is always
// chosen. Ids are never changed and never used again, also after retirement.
//
// # Retiring
//
// A thing that live things refer to is not retired (code in_use). A device or
// point takes its bindings along: those in force end now. Retired things stay
// in the table; they are in no snapshot.
//
// # Tables
//
//	things   kind, id   what the API calls them
//	         version    1 at creation, one more at each replacement and at retirement
//	         created, updated, retired   Unix milliseconds
//	         body       the API's JSON without secrets and without what the columns above hold
//	         secrets    {"password": "…"} sealed for the row "kind/id"; NULL when there is none
//	changes  revision   counts every single change, in order of commit
//	         op         A created, U replaced, D retired
//	         kind, id   of the thing
//
// Both are only added to: a program may read the rows of an older one, never
// the reverse (package state refuses it).
package registry
