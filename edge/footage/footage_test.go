package footage_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/state"
	"offsite/edge/footage"
	"offsite/edge/yardtest"
	"offsite/streams"
	"offsite/streams/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when what these tests tell of begins.
var noon = time.Date(2026, 3, 1, 4, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

func span(from, to float64) footage.Span { return footage.Span{From: at(from), To: at(to)} }

var silent = &devices.Problem{Code: "camera_silent", ZH: "无画面", EN: "silent"}

// archived is an archive of one camera in a test's directory.
type archived struct {
	*recording.Archive
	hashes sync.Map // what was taken out: its camera and span
}

func newArchive(t testing.TB) *archived {
	t.Helper()
	a, err := recording.Open(t.TempDir(), recording.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return &archived{Archive: a}
}

func (a *archived) take(ctx context.Context, c *recording.Clip) (footage.Taken, error) {
	sum, err := c.SHA256(ctx)
	return footage.Taken{
		SHA256: sum, Held: func() { a.hashes.Store(sum, footage.Span{From: c.From, To: c.To}) },
		Hold: func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `SELECT 1`)
			return err
		},
	}, err
}

func (a *archived) Exported(_ context.Context, sum string) (*recording.Clip, error) {
	s, ok := a.hashes.Load(sum)
	if !ok {
		return nil, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_export"}
	}
	return a.Clip("cam", s.(footage.Span).From, s.(footage.Span).To)
}

// gateway is what has recorded itself.
type gateway struct{ *archived }

func (g gateway) Kept(_ context.Context, camera string, from, to time.Time) (footage.Kept, error) {
	var kept footage.Kept
	segments, err := g.Segments(camera, from, to)
	before := from
	gap := func(to time.Time) {
		if to.Sub(before) >= time.Second {
			kept.Gaps = append(kept.Gaps, footage.Reason{Span: footage.Span{From: before, To: to}, Why: silent})
		}
	}
	for _, s := range segments {
		gap(s.From)
		kept.Recorded = append(kept.Recorded, footage.Stored{Span: footage.Span{From: s.From, To: s.To}, Bytes: s.Bytes})
		before = s.To
	}
	gap(to)
	return kept, err
}

func (g gateway) Clip(_ context.Context, camera string, from, to time.Time) (*recording.Clip, error) {
	return g.Archive.Clip(camera, from, to)
}

func (g gateway) Take(ctx context.Context, camera string, from, to time.Time) (*recording.Clip, footage.Taken, error) {
	c, err := g.Archive.Clip(camera, from, to)
	if err != nil {
		return nil, footage.Taken{}, err
	}
	taken, err := g.take(ctx, c)
	return c, taken, err
}

func (g gateway) Play(_ context.Context, camera string, from, until time.Time) (*recording.Player, error) {
	return g.Archive.Play(camera, from, until)
}

// nvr is a recorder.
type nvr struct {
	*archived
	none, unknown bool
	down          error // it answers nothing but that
	broken        error // it plays nothing
	cut           *devices.Problem
	mute          bool // it never answers
	held          []footage.Span

	mu        sync.Mutex
	asked     []footage.Span
	questions int // what it keeps
}

var ahead = 90 * time.Second

func (n *nvr) Holding(ctx context.Context, _ string, _, _ time.Time) (footage.Holding, error) {
	n.mu.Lock()
	n.questions++
	n.mu.Unlock()
	switch {
	case n.none:
		return footage.Holding{}, &devices.Problem{Kind: devices.ErrNotFound, Code: "no_recorder"}
	case n.mute:
		<-ctx.Done()
		return footage.Holding{}, context.Cause(ctx)
	case n.down != nil:
		return footage.Holding{}, n.down
	}
	return footage.Holding{Host: "10.1.1.9", Known: !n.unknown, Held: n.held, Skew: footage.Skew{Offset: &ahead, Asked: time.Unix(1_800_000_000, 0), Shift: ahead}}, nil
}

func (n *nvr) Clip(_ context.Context, camera string, from, to time.Time) (footage.Fetched, error) {
	n.mu.Lock()
	n.asked = append(n.asked, footage.Span{From: from, To: to})
	n.mu.Unlock()
	if n.broken != nil {
		return footage.Fetched{}, n.broken
	}
	c, err := n.Archive.Clip(camera, from, to)
	return footage.Fetched{Clip: c, Host: "10.1.1.9", Skew: footage.Skew{Offset: &ahead, Asked: time.Unix(1_800_000_000, 0), Shift: ahead}, Stamped: true, Cut: n.cut}, err
}

func (n *nvr) Take(ctx context.Context, camera string, from, to time.Time) (footage.Fetched, footage.Taken, error) {
	f, err := n.Clip(ctx, camera, from, to)
	if err != nil {
		return f, footage.Taken{}, err
	}
	taken, err := n.take(ctx, f.Clip)
	return f, taken, err
}

func (n *nvr) Play(ctx context.Context, camera string, from, to time.Time) (*recording.Player, error) {
	if _, err := n.Clip(ctx, camera, from, to); err != nil {
		return nil, err
	}
	return n.Archive.Play(camera, from, to)
}

// counted gives a film of one picture a second, each a key frame that bears its number.
func counted(t testing.TB, codec streams.Codec, n int) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile("../../streams/rtsp/testdata/small.h264")
	if err != nil {
		t.Fatal(err)
	}
	cut := streams.NewAssembler(streams.H264, nil, nil, nil)
	key := streams.CutUnits(streams.H264, streams.SplitAnnexB(data))[0]
	var list []*streams.Frame
	for i := range n {
		at := time.Duration(i) * time.Second
		f, err := cut.Frame(key, at, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if codec == streams.MJPEG {
			f.NALUs = [][]byte{{0xff, 0xd8, byte(i), 0xff, 0xd9}}
			if f.Params, err = streams.NewPictureParameters(160, 120); err != nil {
				t.Fatal(err)
			}
		}
		list = append(list, f)
	}
	return list
}

// lay puts a film into an archive, from a time on.
func lay(t testing.TB, a *archived, from time.Time, film []*streams.Frame) {
	t.Helper()
	tape := a.Tape("cam")
	for i, f := range film {
		one := *f
		one.At, one.DTS, one.PTS = from.Add(f.DTS-film[0].DTS), f.DTS-film[0].DTS, f.PTS-film[0].DTS
		one.Seq, one.Connection = uint64(i+1), uint64(from.Unix()) //nolint:gosec // after 1970
		if err := tape.Add(&one); err != nil {
			t.Fatal(err)
		}
	}
	if err := tape.Close(); err != nil {
		t.Fatal(err)
	}
}

// site is a footage with what it asks.
type site struct {
	*footage.Footage
	own *archived
	nvr *nvr
	db  *state.DB
}

// open gives a gateway that has recorded 0 to 20 s and 40 to 60 s after noon, and a recorder with all of
// -10 to 100 s.
func open(t *testing.T) *site {
	t.Helper()
	s := &site{own: newArchive(t), nvr: &nvr{archived: newArchive(t), held: []footage.Span{span(-10, 100)}}, db: yardtest.OpenDB(t, t.TempDir())}
	for _, from := range []float64{0, 40} {
		lay(t, s.own, at(from), counted(t, streams.H264, 20))
	}
	lay(t, s.nvr.archived, at(-10), counted(t, streams.H264, 110))
	s.open(t)
	return s
}

func (s *site) open(t *testing.T) {
	t.Helper()
	var err error
	s.Footage, err = footage.Open(t.Context(), s.db, footage.Config{Own: gateway{s.own}, Recorders: s.nvr, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
}

func codeOf(err error) string {
	if p, ok := errors.AsType[*devices.Problem](err); ok {
		return p.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// row writes a timeline or the parts and gaps of an export in short: own 0-20.
type row []string

func (r *row) add(what string, from, to time.Time, whys ...string) {
	*r = append(*r, strings.TrimSpace(what+" "+from.Sub(noon).Round(100*time.Millisecond).String()+".."+to.Sub(noon).Round(100*time.Millisecond).String()+" "+strings.Join(whys, " ")))
}

func codeIn(p *devices.Problem) string {
	if p == nil {
		return "-"
	}
	return p.Code
}

func told(tl *footage.Timeline) row {
	var r row
	for _, s := range tl.Stretches {
		r.add(string(s.Source), s.From, s.To)
	}
	for _, g := range tl.Gaps {
		r.add("gap", g.From, g.To, codeIn(g.Why), codeIn(g.Recorder))
	}
	return r
}

func TestBothAreOneRow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		change   func(*nvr)
		from, to float64
		want     row
	}{
		{"what both have is the gateway's", nil, 5, 15, row{"own 0s..20s"}},
		{"the recorder fills a gap", nil, 0, 60, row{"own 0s..20s", "recorder 20s..40s", "own 40s..1m0s"}},
		{"it fills both ends", nil, -5, 65, row{"recorder -5s..0s", "own 0s..20s", "recorder 20s..40s", "own 40s..1m0s", "recorder 1m0s..1m5s"}},
		{"it has a part of it", func(n *nvr) { n.held = []footage.Span{span(0, 25), span(38, 50)} }, 0, 60, row{"own 0s..20s", "recorder 20s..25s", "recorder 38s..40s", "own 40s..1m0s", "gap 25s..38s camera_silent recorder_nothing"}},
		{"too little to ask for", func(n *nvr) { n.held = []footage.Span{span(0, 21)} }, 0, 60, row{"own 0s..20s", "own 40s..1m0s", "gap 20s..40s camera_silent recorder_nothing"}},
		{"it does not tell what it keeps", func(n *nvr) { n.unknown, n.held = true, nil }, 0, 60, row{"own 0s..20s", "recorder 20s..40s", "own 40s..1m0s"}},
		{"it is out of order", func(n *nvr) { n.down = &devices.Problem{Kind: devices.ErrUnavailable, Code: "onvif_refused"} }, 0, 60, row{"own 0s..20s", "own 40s..1m0s", "gap 20s..40s camera_silent onvif_refused"}},
		{"there is none", func(n *nvr) { n.none = true }, 0, 60, row{"own 0s..20s", "own 40s..1m0s", "gap 20s..40s camera_silent -"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if tt.change != nil {
				tt.change(s.nvr)
			}
			tl, err := s.Timeline(t.Context(), "cam", at(tt.from), at(tt.to))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, told(tl)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAClipIsOfOneSourceAndSaysWhatComesNext(t *testing.T) {
	t.Parallel()
	broken := func(n *nvr) {
		n.broken = &devices.Problem{Kind: devices.ErrUnavailable, Code: "replay_refused"}
	}
	tests := []struct {
		name     string
		change   func(*nvr)
		from, to float64
		source   footage.Source
		want     row
		code     string
	}{
		{"own", nil, 5, 15, "", row{"own 5s..15s"}, ""},
		{"own, then the recorder's", nil, 5, 60, "", row{"own 5s..20s", "next recorder 20s..40s"}, ""},
		{"the recorder's, then own", nil, 25, 60, "", row{"recorder 25s..40s", "next own 40s..1m0s"}, ""},
		{"own by wish, over its gap", nil, 5, 60, footage.Own, row{"own 5s..1m0s"}, ""},
		{"the recorder's by wish", nil, 5, 60, footage.Recorder, row{"recorder 5s..1m0s"}, ""},
		{"the recorder plays nothing, own comes later", broken, 25, 60, "", row{"own 40s..1m0s"}, ""},
		{"the recorder plays nothing, nor is there more", broken, 25, 35, "", nil, "replay_refused"},
		{"nobody has anything", nil, 200, 210, "", nil, "no_recording"},
		{"the recorder does not answer, nor is there more", func(n *nvr) { n.down = &devices.Problem{Kind: devices.ErrUnavailable, Code: "onvif_refused"} }, 25, 35, "", nil, "onvif_refused"},
		{"before its beginning", nil, 20, 10, "", nil, "before_from"},
		{"too long", nil, 0, 7 * 3600, "", nil, "too_long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			if tt.change != nil {
				tt.change(s.nvr)
			}
			c, err := s.Clip(t.Context(), "cam", at(tt.from), at(tt.to), tt.source)
			var got row
			if err == nil {
				got.add(string(c.Source), c.From, c.To)
				if c.Next != nil {
					got.add("next "+string(c.Next.Source), c.Next.From, c.Next.To)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || codeOf(err) != tt.code {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}
