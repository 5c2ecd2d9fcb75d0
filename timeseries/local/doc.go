// Package local is the embedded history: one compressed chunk for each series
// and hour, on a Pebble store that it shares with the log of readings.
//
// What was written since the last flush stands in memory, the head, and is
// visible to queries at once. A flush is one atomic batch of chunks and of the
// sequence up to which they are complete; a crash takes the head, and the log
// gives it again from [Store.Durable] on. Late data joins the chunk of its
// hour.
//
// # Format
//
// All keys begin with the prefix given to [Open]; integers in keys are
// big-endian, elsewhere little-endian; uvarint is that of encoding/binary;
// zigzag maps signed to unsigned as protocol buffers do.
//
//	'm'                      version uint8 = 1, durable uint64
//	's' id uint32            a series: site, a zero byte, point
//	'd' day uint32, id uint32, hour uint8
//	                         a chunk; day is the day of Beijing time since
//	                         1970-01-01 with its sign bit turned, hour 0 to 23
//	'x' and a key's rest     a chunk that could not be read, moved aside
//
//	chunk    version uint8 = 1, then blocks: length uvarint, block
//	         Blocks follow each other in time and never overlap. A flush adds
//	         its block by Pebble's default merge, which concatenates, so that
//	         an hour is not written anew with every flush.
//	block    count uvarint     samples, at least 1
//	         first uvarint     ms after the hour's start
//	         span uvarint      ms from the first to the last sample
//	         mode uint8        how values are written; low 4 bits:
//	           0 float64 bits, 8 bytes each
//	           1 integers, value = n / 10^e; e in the high 4 bits
//	           2 integers, value = n × 10^-e (a raw value times 0.1 differs from it in the last bit)
//	           3 float32 bits, made monotonic as signed integers
//	         runs uvarint      of qualities; 0 when all are good
//	         runs × (quality uint8, length uvarint)
//	         times             count-1 tokens' worth of delta of delta (ms), from delta 0
//	         values            mode 0: raw; else the first integer and the
//	                           differences to the one before, as tokens
//	token    uvarint t         odd: t>>1 zeros; even: the integer zigzag⁻¹(t>>1)
//
// Negative zero is kept as zero. A new layout takes a new version number;
// unknown versions are refused, not guessed at.
package local
