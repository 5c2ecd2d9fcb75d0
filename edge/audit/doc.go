// Package audit is the append-only record of who did what: a chain in which
// every row authenticates all rows before it.
//
// # Tables
//
//	audit       seq     1, 2, 3 … without a gap
//	            at      Unix milliseconds
//	            who, origin, act, what, purpose, before, after, result, detail   the fields of Entry (origin is From)
//	            mac     HMAC-SHA256 of: the byte 1, mac of the row before (32 zero bytes for the first),
//	                    seq and at as 8 bytes big-endian each, then every text in the order above as
//	                    its length in 4 bytes big-endian and its UTF-8
//	audit_head  seq, last   number and mac of the newest row
//	            mac         HMAC-SHA256 of: the byte 2, seq as 8 bytes big-endian, last
//	audit_key   sealed      the 32 bytes that key both, sealed for the row "audit/key"
//
// Head and row are written in one transaction. Triggers forbid UPDATE and
// DELETE, replacing, inserting between, and moving the head back.
//
// # What is found
//
// Verify names the first row that was changed, is missing, or was put there by
// somebody else, also at the end (the head tells how many there were). A head
// that was changed, or a row put behind it, is found at the next Append too:
// that writes a row with the act "audit.broken" and goes on behind what it
// found, and Verify names that row from then on. So tampering neither stops the
// gateway's work nor is overwritten by it. Only without its key the log does
// not open.
//
// A copy of the whole database put back in place of a newer one is consistent
// in itself and cannot be told from inside; whoever keeps [Log.Head] elsewhere
// (the platform, a printed backup protocol) can tell it. Row 1 has the act
// "audit.begin" and so dates the chain.
package audit
