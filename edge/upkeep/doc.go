// Package upkeep keeps who works on what: maintenance 维护 of a device or a
// point, with its reason and its agreed end. Readings of that time are kept,
// marked, and not judged.
//
// Table maintenance in offsite.db (goose table goose_upkeep): subject
// ("device/pm-1", "point/gate.pm10"), reason, who, from and to (Unix
// milliseconds; to is the agreed end, or when it was ended before that), ended
// (its end is in the audit trail). Rows go 400 days after their end.
// Compatibility: migrations only ever add.
package upkeep
