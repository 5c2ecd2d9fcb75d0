// Package ledger keeps what must be told although it is not there: what was
// dropped or missed, and what later data changed.
//
// Tables in offsite.db (goose table goose_ledger):
//
//	losses       kind, subject ("device/pm-1", "point/gate.pm10", "store/history",
//	             "gateway", "recording/cam-1" while it is not recorded), code, field, zh and en of the reason, detail, from and
//	             to, count, and whether it goes on. Losses of one kind, subject and
//	             code that follow each other share a row; the newest 100,000 are kept.
//	             told and told_ms: as the platform knows the row, and since when
//	corrections  a value of history that later data changed: point, at, log
//	             sequence, old and new value and quality, when it was found
//	alive        one row: when the gateway was last known to run, whether it
//	             stopped by itself, and which time a reading received then was
//	             given, which lies ahead after the clock was set back
//
// Times are Unix milliseconds. Compatibility: migrations only ever add.
package ledger
