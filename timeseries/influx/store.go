package influx

import (
	"context"
	"net/http"
	"sync"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	"github.com/influxdata/influxdb-client-go/v2/api"

	"offsite/devices"
	"offsite/timeseries"
)

var _ timeseries.Store = (*Store)(nil)

// Store is the history in one InfluxDB.
type Store struct {
	cfg       Config
	transport http.RoundTripper
	http      *http.Client
	client    influxdb2.Client
	api       api.WriteAPIBlocking

	writing sync.Mutex // guards what follows
	batch   batch
}

// Open checks cfg. It opens no connection.
func Open(cfg Config) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg.setDefaults()
	s := &Store{cfg: cfg, transport: cfg.Transport, batch: batch{tags: map[timeseries.Series]string{}}}
	if s.transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.ResponseHeaderTimeout = cfg.Timeout
		s.transport = own
	}
	s.http = &http.Client{
		Transport: strict{s.transport}, Timeout: cfg.Timeout,
		// A redirect would turn the write into a GET and answer 200.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	options := influxdb2.DefaultOptions().SetPrecision(time.Millisecond).SetHTTPClient(s.http).SetLogLevel(0)
	s.client = influxdb2.NewClientWithOptions(cfg.URL, "", options)
	s.client.HTTPService().SetAuthorization(cfg.authorization())
	s.api = s.client.WriteAPIBlocking(cfg.Org, cfg.Bucket)
	return s, nil
}

// Write sends the readings, in requests of Config.Lines. Lines that the server
// refuses are found by halving and reported; the others are stored.
func (s *Store) Write(ctx context.Context, recs []timeseries.Record) (w timeseries.Written, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if ctx.Err() != nil {
		return w, context.Cause(ctx)
	}
	s.batch.reset()
	for i := range recs {
		for j := range recs[i].Readings {
			r := &recs[i].Readings[j]
			if reason := refuse(r); reason != nil {
				w.Refused = append(w.Refused, timeseries.NewRefusal(recs[i].Seq, r, reason))
				continue
			}
			s.batch.add(recs[i].Seq, r)
		}
		if len(s.batch.lines) < s.cfg.Lines && i < len(recs)-1 {
			continue
		}
		refused, err := s.send(ctx, 0, len(s.batch.lines))
		w.Refused = append(w.Refused, refused...)
		if err != nil {
			return w, err
		}
		w.Durable = recs[i].Seq
		s.batch.reset()
	}
	return w, nil
}

func refuse(r *devices.Reading) *devices.Problem {
	if p := timeseries.Refuse(r); p != nil {
		return p
	}
	if unspeakable(r.Site) {
		return devices.Invalid("site", "bad_id", "场所编号含有 InfluxDB 无法保存的字符", "the site's id holds characters that InfluxDB cannot keep")
	}
	return nil
}

// send writes lines [i, j) and gives those that the server refuses for good.
func (s *Store) send(ctx context.Context, i, j int) ([]timeseries.Refusal, error) {
	if i == j {
		return nil, nil
	}
	err := s.api.WriteRecord(ctx, s.batch.body(i, j))
	if err == nil {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	class, problem := s.classify(ctx, err)
	if class == keep {
		return nil, problem
	}
	if j-i == 1 {
		l := s.batch.lines[i]
		s.cfg.Log.Warn("InfluxDB refused a reading", "point", l.reading.Point, "err", problem)
		return []timeseries.Refusal{timeseries.NewRefusal(l.seq, l.reading, asProblem(problem))}, nil
	}
	middle := (i + j) / 2
	refused, err := s.send(ctx, i, middle)
	if err != nil {
		return refused, err
	}
	more, err := s.send(ctx, middle, j)
	return append(refused, more...), err
}

// Flush has nothing to do: what Write has taken is durable.
func (s *Store) Flush(ctx context.Context) (timeseries.Written, error) {
	if ctx.Err() != nil {
		return timeseries.Written{}, context.Cause(ctx)
	}
	return timeseries.Written{}, nil
}

// Durable is 0: an InfluxDB remembers no sequence of ours.
func (s *Store) Durable() uint64 { return 0 }

// Close closes the connections.
func (s *Store) Close() error {
	s.client.Close()
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
	return nil
}
