package intake

import (
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

// past is the log as a start reads it; see timeseries/spool.
type past interface {
	Read(after uint64, most int) ([]timeseries.Record, error)
}

// What is read of the log at start to know when each point was last heard.
const (
	pastRecords = 16384
	readAtOnce  = 2048
)

// TakeUp primes the road with what stands at the end of the log, before it is
// opened for the first time. It gives the last receipt there and, for
// [Pipeline.GoOn], the newest time that was given to a reading at its receipt;
// zero times where the log has none.
func (p *Pipeline) TakeUp(log past, end uint64) (heard, stamp time.Time, err error) {
	stamps, own := map[string]time.Time{}, map[string]bool{}
	for at := end - min(end, pastRecords); at < end; {
		recs, err := log.Read(at, readAtOnce)
		if err != nil {
			return heard, stamp, err
		}
		if len(recs) == 0 {
			break
		}
		for i := range recs {
			at, heard = recs[i].Seq, recs[i].Received
			for _, r := range recs[i].Readings {
				switch {
				case r.Quality == devices.BadClock:
					continue
				case r.Stamped:
					stamps[r.Point] = r.At
				default:
					own[r.Point] = true
				}
				p.Prime(r.Point, r.At)
			}
		}
	}
	for point, at := range stamps {
		// Behind a device's own time a receipt may tell of that one's clock.
		if !own[point] && at.After(stamp) {
			stamp = at
		}
	}
	return heard, stamp, nil
}
