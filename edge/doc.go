// Package edge runs the site: it acquires readings, records them, judges them
// and hands the breaches on.
//
// The one road of a reading: a driver calls [intake.Pipeline.Accept]; the
// delivery goes to the log (timeseries/spool) and is acknowledged once it is on
// disk. Three followers read the log, each at its own pace: [history.Recorder]
// writes history, the judge finds breaches and commits {event, alarm state,
// outbox row, evidence wanted, audit row, cursor} in one transaction, and the live
// follower tells whoever watches. From the outbox, edge/dispatch hands events to
// the platform.
//
// [Box] composes all of it, [Supervise] alone restarts things. What the rooms
// know and keep: field (devices and how they fare), cameras (feeds), health
// (counts, stale points, online time), upkeep (maintenance), ledger (what was
// dropped or missed), letters (what could not be understood), notice (what people
// must know of the gateway itself), memory (who goes when it is short), audit, breach, evidence, scenes (what
// cameras ought to show), outbox and dispatch.
// Each makes its own tables in offsite.db and describes them.
//
// The Pebble store in the directory readings holds the log under "log/", the
// embedded history under "history/" and under "opened" when it was opened last
// (Unix milliseconds, big-endian). Locks that meet are taken in this order:
// Feeds or Board, then Clerk or Live.
package edge
