// Package evidence keeps what belongs to an event: for now a still of each
// camera that watches the outlet where it happened.
//
// # Files
//
// The [Vault] is one directory of files named by the SHA-256 of their bytes in
// lower-case hex, without suffix, mode 0600. A file is written under another
// name ("incoming-…"), fsynced, renamed, and the directory fsynced, before any
// row names it; whoever reads one has its hash checked first.
//
// # Stills
//
// That a picture is wanted is written in the transaction that opens the event
// ([Collector.Expect]), so it is wanted again after a restart. The [Collector]
// takes the pictures of all cameras at once, each camera in its own time, and
// tries again for up to Config.Deadline. Each picture is committed as soon as
// it is in the vault; with the last of an event the outcome is told in the same
// transaction. A picture bears its capture time and its distance from the
// breach; where there is none the reason stands instead. What was still wanted
// from before Config.Oldest, because the gateway was down, ends without a
// picture.
//
// # Table evidence, version 1
//
// One row for each event and camera; camera is empty where no camera watches
// the outlet. Times are Unix milliseconds: breach_at by the reading's clock,
// expected_at and captured_at by the gateway's. state is pending, attached or
// none; reason is JSON {code, zh, en}. A row never changes once it has left
// pending.
package evidence
