// Package platformtest is a reference platform: it takes what gateways send up,
// hands commands down, obeys dispatch/openapi.yaml to the letter, remembers
// everything it accepted, and can misbehave in every way that a gateway must
// survive. Tests use it as an http.Handler, the demo runs it on loopback.
//
// Every request and every answer is validated against the document, every
// signature, nonce and idempotency key is checked, and whatever breaks the
// contract is refused and noted as a violation.
//
// # What it shows
//
// Unsigned, as plain JSON, for tests and people on the same machine:
//
//	GET  /received/events          every accepted event message, in order of acceptance
//	GET  /received/blobs/{sha256}  a blob as it came
//	GET  /received/resources       the directory as it stands
//	GET  /received/readings        the newest value of each point
//	GET  /received/gateways        the last heartbeat of each gateway
//	GET  /received/losses          what gateways have dropped or missed, each row as it was told last
//	GET  /received/acts            accepted acts
//	GET  /received/violations      broken rules of the contract, as text
//	POST /received/commands        {type, args, officer, purpose}: issues a command and answers with its result
//
// # Files
//
// With Config.Dir set, Dir/accepted.jsonl holds one JSON object a line for each
// message that took effect (at, operation, path, gateway, key, hash, status,
// body, answer), and Dir/blobs/{sha256} the blobs. Open reads them again, so that a platform
// can be killed and started. A last line that was cut short is dropped. The
// format belongs to tests and is not kept compatible.
package platformtest
