// Package spool is the durable log of readings: what stands in it survives
// kill -9 and power loss, and only what stands in it is acknowledged to a
// device. It shares one Pebble store with others, under a key prefix of its own.
//
// Appending is a group commit: whatever waits while one group is being synced
// becomes the next. Followers read behind the durable sequence, each with a
// cursor of its own; one trimmer deletes what all of them have passed.
//
// # Format
//
// All keys begin with the prefix given to [Open]. Integers in keys are
// big-endian, elsewhere little-endian; uvarint and varint are those of
// encoding/binary; a string is a uvarint length and its bytes.
//
//	'c' name        cursor of a follower: uint64
//	'r' uint64      a group: all records of one commit; the key is the sequence of the first
//
//	group   version uint8 = 1
//	        count uint32             records, numbered from the key upwards
//	        bytesBefore uint64       of all groups ever written before this one
//	        readingsBefore uint64    in them
//	        received int64           newest receipt in the group, Unix ms
//	        count × (length uint32, record)
//
//	record  flags uint8              1 origin.resent, 2 a dead letter follows the readings
//	        received int64           Unix ns, UTC
//	        device, id string; hash uint64
//	        readings uvarint, then each:
//	          flags uint8            1 stamped, 2 repeat, 4 claimed, 8 mark, 16 site as in the reading before
//	          quality uint8
//	          site string            unless flag 16
//	          point string
//	          value uint64           IEEE 754 bits
//	          at varint              ms after receipt's millisecond
//	          claimed varint         ms after receipt's millisecond, if flag 4
//	          mark string            if flag 8
//	        letter: topic, payload string; kind uint8 (0 none, 1 invalid,
//	          2 not found, 3 conflict, 4 unavailable; 255 there is no problem
//	          and nothing follows); code, field, zh, en string
//
// Sums in the group's head let the log's size and what falls out of it be told
// without reading it. Pebble keeps the checksums. A change of the layout takes
// a new version number; a reader refuses versions it does not know.
package spool
