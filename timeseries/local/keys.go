package local

import (
	"encoding/binary"
	"math"
	"time"
)

// The kinds of keys.
const (
	kindMeta    = 'm'
	kindSeries  = 's'
	kindChunk   = 'd'
	kindCorrupt = 'x'
)

const dayHours = 24

// split cuts Unix ms into the hour since 1970 and the ms in it.
func split(at int64) (hour int64, off int32) {
	hour = floorDiv(at, hourMilli)
	return hour, int32(at - hour*hourMilli)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// dayOf gives the day of Beijing time of an hour since 1970 UTC, and the hour in it.
func dayOf(hour int64) (day int64, hourOfDay uint8) {
	day = floorDiv(hour+8, dayHours)
	return day, uint8(hour + 8 - day*dayHours)
}

func hourOf(day int64, hourOfDay uint8) int64 { return day*dayHours + int64(hourOfDay) - 8 }

func milliTime(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// clampDay keeps a day within what a key can hold.
func clampDay(day int64) int64 { return max(math.MinInt32, min(math.MaxInt32-1, day)) }

func (s *Store) key(kind byte) []byte {
	k := make([]byte, 0, len(s.prefix)+10)
	return append(append(k, s.prefix...), kind)
}

func (s *Store) seriesKey(id uint32) []byte {
	return binary.BigEndian.AppendUint32(s.key(kindSeries), id)
}

// dayKey is the first key of a day.
func (s *Store) dayKey(day int64) []byte {
	return binary.BigEndian.AppendUint32(s.key(kindChunk), uint32(int32(clampDay(day)))^1<<31)
}

func (s *Store) chunkKey(k []byte, id uint32, hour int64) []byte {
	day, h := dayOf(hour)
	k = append(append(k[:0], s.prefix...), kindChunk)
	k = binary.BigEndian.AppendUint32(k, uint32(int32(clampDay(day)))^1<<31)
	return append(binary.BigEndian.AppendUint32(k, id), h)
}

func (s *Store) parseChunkKey(k []byte) (day int64, id uint32, hourOfDay uint8, ok bool) {
	if k = k[len(s.prefix)+1:]; len(k) != 9 {
		return 0, 0, 0, false
	}
	return int64(int32(binary.BigEndian.Uint32(k) ^ 1<<31)), binary.BigEndian.Uint32(k[4:]), k[8], true
}
