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
//
// # CSV
//
// A table file holds things of one kind, a row each, RFC 4180 with commas or
// semicolons, in UTF-8 with or without its mark or in GB18030. The first line
// names the columns: the paths of the API's JSON ("modbus.unit"), in any order;
// columns of somebody's own notes begin with "#". A row makes the thing of its
// id or replaces it; what has no column stays as it is, an empty cell empties
// its field, but an empty secret stays. Lists stand in one cell: items apart by
// "|", the fields of an item by ":", a backslash before these two and itself,
// `\-` for an empty text. Times are RFC 3339 or Beijing time without a zone.
// Secrets are read and never written. Text that a spreadsheet would run as a
// formula is written with an apostrophe before it, which is taken away again;
// numbers are not.
package registry
