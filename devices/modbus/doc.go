// Package modbus reads instruments, PLCs and gateways over Modbus TCP and over
// RTU frames carried by TCP (serial device servers).
//
// # Bytes and words
//
// Addresses count from 0 as in the request. A register is two bytes, the high
// one first. The order of a value says how its bytes A (most significant), B, …
// arrive, by two independent switches: CDAB and DCBA send the least significant
// word first, BADC and DCBA swap the two bytes of every word.
//
//	order  16 bit  32 bit  64 bit
//	ABCD   AB      ABCD    ABCDEFGH
//	CDAB   AB      CDAB    GHEFCDAB
//	BADC   BA      BADC    BADCFEHG
//	DCBA   BA      DCBA    HGFEDCBA
//
// # One bus
//
// A host and port is one bus: one connection, and a queue in order of arrival
// that devices join anew for each request, so that none is served twice while
// another waits. What the queue's holder may assume of the peer is little:
//
//   - TCP: an answer counts when its transaction id, unit id and function fit; a
//     late one finds nobody who waits for it. A slow answer does not keep the
//     queue: its request stands aside after a while and still has its whole
//     timeout, and whoever holds the queue reads for it.
//   - RTU has no transaction id. Before each request the line is drained until it
//     is silent; after an answer that did not come the connection is closed, the
//     unit is left alone for one timeout, and the first request after that asks
//     for a number of registers that no unanswered request asked for, so that a
//     late answer is known by its length.
//   - Any error that is not a Modbus exception closes the connection, except that
//     one silent unit on TCP does not take it from its neighbours.
//
// A unit that failed twice in a row is left out and tried again now and then,
// for at most a hundredth of the time of the bus, however many are silent.
package modbus
