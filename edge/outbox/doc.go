// Package outbox hands messages over to one destination: durably, in order
// within a lane, at least once, and again under the same key.
//
// # Order
//
// A message is put in the transaction that made it and is never changed. The
// messages of one lane are delivered strictly one after the other, in the order
// in which they were put; lanes go in parallel. A message with After is held
// back until the message of that key is delivered, dead, or long gone; it
// holds back only its own lane. A delivery whose outcome was not stored (a
// kill between the two) is made again with the same key, which the destination
// takes as one.
//
// # Verdicts
//
//	Done      delivered; the next of its lane follows
//	Retry     again after a pause of full jitter, 1 s doubling to 5 min, or
//	          after what the destination asked for, at most 1 h; without limit
//	Pause     nothing more is sent for a while; then one message at a time until
//	          one is not answered with Pause. Told by Config.Report
//	Refused   again like Retry, the third time it becomes a dead letter: the row
//	          stays, with its reason, and the lane goes on
//
// When the destination answers again after an outage, lanes that wait for
// their next try are called at once, spread over Config.Spread.
//
// # Table outbox, version 1
//
// One row a message. seq is the order of Put; times are Unix milliseconds;
// blobs is a JSON array of SHA-256 in hex; state is waiting, done or dead;
// reason is the JSON of a dead letter's last refusal {code, field, zh, en}.
// Done rows are kept for Config.Keep, dead ones until somebody removes them.
//
// # Table installation, version 2
//
// One row: the id that begins every idempotency key, made at the first start.
package outbox
