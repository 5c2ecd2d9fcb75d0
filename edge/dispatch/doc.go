// Package dispatch is the gateway's side of the platform contract, which
// openapi.yaml lays down: collection 归集 up, dispatch 调度 down.
//
// A [Client] enrols once by an activation code, signs every request, and in
// [Client.Run] keeps five things going, each with its own retry: the heartbeat,
// the directory of resources, the readings that the platform has subscribed to,
// the long poll for commands, and their results. Events, evidence, acts and
// blobs are handed over by the edge's outbox through [Client.PostEvent],
// [Client.PutBlob], [Client.PostAct] and [Client.PostStreamEnd]; an [Answer] says what becomes of the
// message.
//
// Results whose files take long hold up no others: those with files are sent a few
// at a time, beside those without.
//
// # Commands
//
// A command comes by the long poll or by [Client.Receive]. It must be signed by
// a live key of the platform for this gateway, be at most five minutes old by
// the platform's clock, carry a nonce that no other command had, name its
// officer and purpose, and be on the allow-list. It is audited and noted in the
// ledger in one transaction before anything is done, and its result is stored
// before it is told. So an id is executed at most once: whatever repeats it gets
// the stored result, and a command that a restart broke off is answered as
// failed with code "interrupted". What is refused before it reaches the ledger
// (signature, time, nonce) is audited, reported and told, and blocks nothing.
//
// # Wire
//
// openapi.yaml is the one description; package wire holds the types made
// from it (go generate). Compatibility: both sides ignore unknown fields, new
// fields are optional, codes and enumerations only grow within /v1.
//
// # Tables
//
// All belong to the owner "dispatch", version 1; times are Unix milliseconds.
//
//	dispatch_value    name, value: platform, gateway, enrolment, rotation (idempotency keys under way),
//	                  subscription (JSON), revision (of the registry, that the platform has),
//	                  resync_wanted and resync_done (counts; unequal means that a full run is due)
//	dispatch_key      id, direction (up, down), algorithm, sealed, added_at, ends_at: HMAC keys, sealed for
//	                  the row "dispatch_key/{direction}/{id}"; two of a direction live during a rotation
//	dispatch_command  id, body_hash (SHA-256), received_at, result (JSON, NULL until executed), result_sent,
//	                  act (JSON of the 监管行为 record), act_sent
//	dispatch_nonce    nonce, command, seen_at; kept for a day, far longer than a signature is valid
package dispatch
