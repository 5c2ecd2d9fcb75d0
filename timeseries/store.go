package timeseries

import (
	"context"
	"errors"
	"time"

	"offsite/devices"
)

// Record is a delivery as it stands in the log. Whoever reads one shares it
// with others and changes nothing in it.
type Record struct {
	Seq uint64 // its place in the log, rising from 1, never used twice
	devices.Delivery
}

// Series is the history of one point.
type Series struct {
	Site  string // site id
	Point string // "outlet.point"
}

// Sample is one value of a series.
type Sample struct {
	At      time.Time // when it was true, UTC, whole milliseconds
	Value   float64   // in the point's unit; never NaN or infinite
	Quality devices.Quality
}

// Window is what the usable values of one span of time come to. Values that
// [devices.Quality.Usable] denies count for nothing; a span without usable
// values gives no Window at all.
type Window struct {
	Start                       time.Time // aligned, UTC; may lie before the queried span
	Count                       int64
	Mean, Min, Max, First, Last float64 // First and Last by At
}

// Refusal is a reading that the store will never take.
type Refusal struct {
	Seq    uint64 // of its record
	Series Series
	At     time.Time
	Value  float64
	Reason *devices.Problem
}

// Correction is a value of history that later data changed.
type Correction struct {
	Point    string
	At       time.Time
	Seq      uint64 // of the record that changed it
	Old, New Sample
}

// Written tells how far the store has come.
type Written struct {
	Durable uint64    // all records up to and including Durable are durable in the store, or refused
	Refused []Refusal // readings that this call found to be refused for good
}

// Store keeps the history of readings.
//
// One goroutine writes (Write, Flush, Retain); any number read beside it.
// Nothing is dialled before the first call. Every error of a store that may
// pass is a Problem of kind [devices.ErrUnavailable]; [RetryAfter] says how
// long the store asked to be left alone. A context that ends ends the call
// with its error.
type Store interface {
	// Write keeps every reading of recs, which come in log order. At return
	// they are visible to queries; durable they are up to Written.Durable,
	// which may lag behind until a later Write or Flush, and never goes back.
	// Of several writes to the same series and At the last one wins, also
	// when At lies days back. Records already written may come again and
	// change nothing. Readings marked Repeat are kept like others: leaving
	// out what is not newer is the caller's part. Dead letters are passed over.
	//
	// With an error Written still holds: what lies above Written.Durable is to
	// be written again. A reading that can never be stored does not fail the
	// call: it is in Refused, and the others are stored.
	Write(ctx context.Context, recs []Record) (Written, error)

	// Flush makes durable all that was written.
	Flush(ctx context.Context) (Written, error)

	// Durable is the highest sequence that the store itself remembers to hold
	// durably, also after a restart; 0 if it does not know, and the caller's
	// own cursor counts.
	Durable() uint64

	// Range gives the samples of [from, to), every quality, oldest first, at
	// most max of them; max <= 0 means all. A series never written is empty,
	// not an error.
	Range(ctx context.Context, s Series, from, to time.Time, max int) ([]Sample, error)

	// Windows gives the windows of [from, to), oldest first, aligned by
	// [Align]; the first and the last cover only their part of the span.
	// every is at least 1 ms, in whole milliseconds, else ErrInvalid.
	Windows(ctx context.Context, s Series, from, to time.Time, every time.Duration) ([]Window, error)

	// Last gives the sample with the newest At, passing over those of quality
	// bad/clock. It returns ErrNotFound when there is none.
	Last(ctx context.Context, s Series) (Sample, error)

	// At gives what stands at exactly these times (to the millisecond), keyed
	// by UnixMilli. Absent times are absent.
	At(ctx context.Context, s Series, at []time.Time) (map[int64]Sample, error)

	// Retain deletes all days of Beijing time that ended by before.
	Retain(ctx context.Context, before time.Time) error

	// Close flushes. The Store is of no use afterwards.
	Close() error
}

// Delayed is an error of a store that said how long to leave it alone.
type Delayed struct {
	After time.Duration
	Err   error
}

func (d *Delayed) Error() string { return d.Err.Error() }

func (d *Delayed) Unwrap() error { return d.Err }

// RetryAfter gives how long a store asked to be left alone, 0 if it did not say.
func RetryAfter(err error) time.Duration {
	if d, ok := errors.AsType[*Delayed](err); ok {
		return d.After
	}
	return 0
}

// NoSample is the answer of Last for a series without samples.
func NoSample(s Series) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "no_sample", Field: "point",
		ZH: "测点 " + s.Point + " 还没有数据", EN: "point " + s.Point + " has no value yet",
	}
}
