// Package edge runs the site: it acquires readings, records them, judges them
// and hands the breaches on.
//
// The one road of a reading: a driver calls [Pipeline.Accept]; the delivery goes
// to the log (timeseries/spool) and is acknowledged once it is on disk. Three
// followers read the log, each at its own pace: the Recorder writes history, the
// Judge finds breaches and commits {event, alarm state, outbox row, evidence
// wanted, audit row, cursor} in one transaction, and the live follower tells
// whoever watches. From the outbox, edge/dispatch hands events to the platform.
//
// [Box] composes all of it. [Agent] keeps one supervised task for each device
// and camera that the registry names, and [Supervise] alone restarts things.
//
// Tables of this package in offsite.db (migrations in migrations/, goose table
// goose_edge): losses (what was dropped or missed: kind, subject, from, to,
// count, why in two languages), corrections (a value of history that later data
// changed: point, at, log sequence, old and new), dead_letters (messages that
// could not be understood, whole, so that they can be replayed; the newest, up
// to 10,000 and 64 MiB of them),
// installation (one row: the id that begins every idempotency key), alive
// (one row: when the gateway was last known to run, and whether it stopped by
// itself) and maintenance (who works on a device or a point, why, from and to;
// ended: its end is in the audit trail; rows go 400 days after it).
// Compatibility: migrations only ever add.
//
// The Pebble store in the directory readings holds the log under "log/", the
// embedded history under "history/" and under "opened" when it was opened last
// (Unix milliseconds, big-endian). Locks that meet are taken in this order:
// Cameras, Board, Live.
package edge
