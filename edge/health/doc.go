// Package health knows how the field fares: what came and what failed, how long
// answers took, which points have fallen silent, and for how long each device was
// online.
//
// Table health in offsite.db (goose table goose_health), so that counts survive a
// restart: one row a device, whose counts are deflated JSON: "device" and by id
// "points" are tallies, "took" are the microseconds of its last 256 answers and
// "next" is the place of the oldest. A tally is {"short_at", "short", "long_at",
// "long"}: [succeeded, failed] for 12 slots of 5 minutes and 24 of an hour, slot n
// of Unix time at place n modulo 12 or 24, and the numbers of the last slots.
// Rows are written every five minutes and at the end; what is counted between the
// last writing and a power cut is lost. A row that cannot be read counts from
// nothing. Compatibility: migrations only ever add, unknown fields are ignored.
package health
