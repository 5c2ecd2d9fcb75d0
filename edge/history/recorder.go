package history

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

// log is the log of readings as this follower reads it.
type log interface {
	Cursor() uint64
	Read(after uint64) ([]timeseries.Record, error)
	Await(ctx context.Context, after uint64, most time.Duration) error // for a record after that, but no longer than most
	Advance(seq uint64) error
}

// ledger takes what the store refused and what late data changed; see
// edge/ledger.
type ledger interface {
	Refuse(ctx context.Context, r timeseries.Refusal) error
	Correct(ctx context.Context, corrections []timeseries.Correction) error
	Superseded(ctx context.Context, point string, at time.Time, seq uint64) (bool, error)
}

// RecorderConfig is what a Recorder works on.
type RecorderConfig struct {
	Log     log
	Store   timeseries.Store
	OnLog   bool // the store shares the log's disk and handle: its error is the storage's and ends the run
	Ledger  ledger
	Report  func(*devices.Problem) // how the store fares; nil when it is well again
	Flush   time.Duration          // how often the store is told to make durable what it has
	Pause   func(failures int) time.Duration
	KeepFor time.Duration // age at which history is deleted; 0 keeps it for ever
	Logger  *slog.Logger
}

// Recorder is the follower of the log that writes history.
type Recorder struct {
	RecorderConfig

	retained time.Time
	newest   map[timeseries.Series]int64 // Unix milliseconds; what the store holds newest
	ailing   bool
}

// NewRecorder gives a Recorder for one opening of the store.
func NewRecorder(cfg RecorderConfig) *Recorder {
	return &Recorder{RecorderConfig: cfg, newest: map[timeseries.Series]int64{}}
}

// Run follows the log until ctx ends or the log itself fails. A store that
// refuses or is away makes it wait, never lose.
func (r *Recorder) Run(ctx context.Context) error {
	at := max(r.Log.Cursor(), r.Store.Durable())
	for flushed := time.Now(); ; {
		recs, err := r.Log.Read(at)
		if err != nil {
			return err
		}
		if len(recs) > 0 {
			rest := recs
			err := r.insist(ctx, func() (timeseries.Written, error) {
				rest = r.left(rest)
				if len(rest) == 0 {
					return timeseries.Written{}, nil
				}
				w, err := r.write(ctx, rest)
				for err != nil && len(rest) > 0 && rest[0].Seq <= w.Durable {
					rest = rest[1:]
				}
				return w, err
			})
			if err != nil {
				return err
			}
			at = recs[len(recs)-1].Seq
		}
		if time.Since(flushed) >= r.Flush {
			flushed = time.Now()
			if err := r.insist(ctx, func() (timeseries.Written, error) { return r.Store.Flush(ctx) }); err != nil {
				return err
			}
		}
		if err := r.retain(ctx); err != nil {
			return err
		}
		if len(recs) == 0 {
			if err := r.Log.Await(ctx, at, r.Flush); err != nil {
				return err
			}
		}
	}
}

// left gives those of recs that the log has not given up in the meantime,
// because the store was away for longer than the backlog holds: they are told
// as lost, and must not be there all the same.
func (r *Recorder) left(recs []timeseries.Record) []timeseries.Record {
	given := r.Log.Cursor()
	for len(recs) > 0 && recs[0].Seq <= given {
		recs = recs[1:]
	}
	return recs
}

// retainEvery is how often history past its age is deleted.
const retainEvery = time.Hour

// retain deletes what is older than the retention, once an hour. A remote store
// that refuses is asked again with the next hour: it must not keep the newest
// readings waiting.
func (r *Recorder) retain(ctx context.Context) error {
	if r.KeepFor <= 0 || time.Since(r.retained) < retainEvery {
		return nil
	}
	r.retained = time.Now()
	err := r.Store.Retain(ctx, r.retained.Add(-r.KeepFor))
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case r.OnLog:
		return err
	}
	r.Logger.WarnContext(ctx, "history past its age not deleted; will try again", "err", err)
	return nil
}

// insist repeats do until it succeeds, then keeps what it says. Only the end
// of ctx, or of the log, ends it otherwise.
func (r *Recorder) insist(ctx context.Context, do func() (timeseries.Written, error)) error {
	for failures := 0; ; failures++ {
		written, err := do()
		err = errors.Join(err, r.keep(ctx, written))
		if err == nil {
			if r.ailing {
				r.ailing = false
				r.Report(nil)
			}
			return nil
		}
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.OnLog && !errors.As(err, new(*ledgerError)):
			return err
		}
		if !r.ailing {
			r.ailing = true
			r.Logger.WarnContext(ctx, "history store unavailable; readings wait in the log", "err", err)
		}
		r.Report(devices.AllProblems(err)[0])
		select {
		case <-time.After(max(r.Pause(failures), min(timeseries.RetryAfter(err), time.Hour))):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ledgerError is a failure of offsite.db, which may pass, amid the work on a
// store whose own failure ends the run.
type ledgerError struct{ error }

func (e *ledgerError) Unwrap() error { return e.error }

// keep records what the store refused and moves the cursor.
func (r *Recorder) keep(ctx context.Context, w timeseries.Written) error {
	for _, f := range w.Refused {
		if err := r.Ledger.Refuse(ctx, f); err != nil {
			return &ledgerError{err}
		}
	}
	if w.Durable > r.Log.Cursor() {
		return r.Log.Advance(w.Durable)
	}
	return nil
}

// write commits what the batch corrects, then its values.
func (r *Recorder) write(ctx context.Context, recs []timeseries.Record) (timeseries.Written, error) {
	late, newest, err := r.lateOf(ctx, recs)
	if err != nil {
		return timeseries.Written{}, err
	}
	corrections, err := r.corrections(ctx, recs, late)
	if err != nil {
		return timeseries.Written{}, err
	}
	if err := r.Ledger.Correct(ctx, corrections); err != nil {
		return timeseries.Written{}, &ledgerError{err}
	}
	written, err := r.Store.Write(ctx, recs)
	if err != nil {
		return written, err
	}
	for s, at := range newest {
		r.newest[s] = at
	}
	return written, nil
}

// lateOf finds the readings of recs that are not newer than what stood before
// them, and what the store held at their times.
func (r *Recorder) lateOf(ctx context.Context, recs []timeseries.Record) (stood map[timeseries.Series]map[int64]timeseries.Sample, newest map[timeseries.Series]int64, err error) {
	newest = map[timeseries.Series]int64{}
	times := map[timeseries.Series][]time.Time{}
	for _, rec := range recs {
		for _, rd := range rec.Readings {
			s := timeseries.Series{Site: rd.Site, Point: rd.Point}
			last, ok := newest[s]
			if !ok {
				if last, err = r.newestOf(ctx, s); err != nil {
					return nil, nil, err
				}
			}
			at := rd.At.UnixMilli()
			if at <= last {
				times[s] = append(times[s], rd.At)
			}
			if rd.Quality == devices.BadClock {
				at = last
			}
			newest[s] = max(last, at)
		}
	}
	stood = make(map[timeseries.Series]map[int64]timeseries.Sample, len(times))
	for s, ts := range times {
		if stood[s], err = r.Store.At(ctx, s, ts); err != nil {
			return nil, nil, fmt.Errorf("look up late data of %s: %w", s.Point, err)
		}
	}
	return stood, newest, nil
}

func (r *Recorder) newestOf(ctx context.Context, s timeseries.Series) (int64, error) {
	if at, ok := r.newest[s]; ok {
		return at, nil
	}
	last, err := r.Store.Last(ctx, s)
	switch {
	case errors.Is(err, devices.ErrNotFound):
		r.newest[s] = -1 << 62
	case err != nil:
		return 0, fmt.Errorf("look up newest of %s: %w", s.Point, err)
	default:
		r.newest[s] = last.At.UnixMilli()
	}
	return r.newest[s], nil
}

// corrections walks recs in log order over what stood, and gives each change of
// a value that was there. A record that the log gives again after a restart,
// and that a later one has corrected since, corrects nothing.
func (r *Recorder) corrections(ctx context.Context, recs []timeseries.Record, stood map[timeseries.Series]map[int64]timeseries.Sample) ([]timeseries.Correction, error) {
	if len(stood) == 0 {
		return nil, nil
	}
	var list []timeseries.Correction
	for _, rec := range recs {
		for _, rd := range rec.Readings {
			s := timeseries.Series{Site: rd.Site, Point: rd.Point}
			at := rd.At.UnixMilli()
			there := stood[s]
			if there == nil {
				continue
			}
			now := timeseries.Sample{At: rd.At, Value: rd.Value, Quality: rd.Quality}
			old, had := there[at]
			there[at] = now
			if !had || (old.Value == now.Value && old.Quality == now.Quality) {
				continue
			}
			done, err := r.Ledger.Superseded(ctx, rd.Point, rd.At, rec.Seq)
			if err != nil {
				return nil, &ledgerError{err}
			}
			if !done {
				list = append(list, timeseries.Correction{Point: rd.Point, At: rd.At, Seq: rec.Seq, Old: old, New: now})
			}
		}
	}
	return list, nil
}
