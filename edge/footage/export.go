package footage

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/streams/recording"
)

// keepExports is how long both rooms hold what is taken out.
const keepExports = 90 * 24 * time.Hour

// Order says what is to be taken out.
type Order struct {
	Camera   string
	From, To time.Time // at most six hours
	Source   Source    // the only one that is asked; empty: both, for one answer
	Most     int64     // bytes of all parts; 0: no bound
}

// Export is an interval that was taken out.
type Export struct {
	Manifest
	SHA256 string // of Raw, lower-case hex
	Raw    []byte // the manifest as it stands
	Bytes  int64  // of all parts

	Missing []Gap // what no part has
}

// Detail is how the trail names an export: its time, and whose each part is.
func (e *Export) Detail() string {
	var b strings.Builder
	b.WriteString(e.Asked.From.Format(time.RFC3339) + "/" + e.Asked.To.Format(time.RFC3339))
	for _, p := range e.Parts {
		fmt.Fprintf(&b, "; %s %s %s/%s %s", p.Source, p.Clock.Host, p.From.Format(time.RFC3339), p.To.Format(time.RFC3339), p.SHA256)
	}
	return b.String()
}

// part is a clip that is being taken out.
type part struct {
	run
	clip    *recording.Clip
	fetched *Fetched // nil: the gateway's own
	taken   Taken
}

// Export takes out what there is of an interval: its parts are hashed and held for 90 days, and note, which is
// called inside the transaction that holds them, puts it into the trail. What a recorder does not
// give is a gap with the reason; it fails only where nothing could be had.
func (f *Footage) Export(ctx context.Context, o Order, note func(ctx context.Context, tx *sql.Tx, e *Export) error) (*Export, error) {
	if err := recording.CheckInterval(o.From, o.To); err != nil {
		return nil, err
	}
	t, err := f.planned(ctx, o)
	if err != nil {
		return nil, err
	}
	parts, gaps, err := f.gather(ctx, t, o)
	if err != nil {
		return nil, err
	}
	e, err := f.describe(o, parts, gaps)
	if err != nil {
		return nil, err
	}
	err = f.db.Update(ctx, func(tx *sql.Tx) error {
		for _, p := range parts {
			if err := p.taken.Hold(ctx, tx); err != nil {
				return err
			}
		}
		if err := insertExport(ctx, tx, e); err != nil {
			return err
		}
		return note(ctx, tx, e)
	})
	if err != nil {
		return nil, fmt.Errorf("export of %s: %w", o.Camera, err)
	}
	for _, p := range parts {
		p.taken.Held()
	}
	return e, nil
}

// planned gives what is to be had of whom the order wants it.
func (f *Footage) planned(ctx context.Context, o Order) (*Timeline, error) {
	whole := Span{o.From, o.To}
	switch o.Source {
	case Recorder:
		lacks := []Reason{{whole, onlyRecorder}}
		return stitch(Kept{Gaps: lacks}, &Told{}), nil // it is asked for all of it
	case Own:
		kept, err := f.cfg.Own.Kept(ctx, o.Camera, o.From, o.To)
		return stitch(kept, nil), err
	}
	return f.needed(ctx, o.Camera, o.From, o.To)
}

var onlyRecorder = &devices.Problem{Code: "only_recorder", ZH: "只要求录像机的录像", EN: "only the recorder's was asked for"}

// gather takes the parts, the recorder's first: where that fails the gateway's own go on.
func (f *Footage) gather(ctx context.Context, t *Timeline, o Order) ([]part, []Gap, error) {
	whole := Span{o.From, o.To}
	var theirs []run
	for _, r := range t.runs(whole, f.cfg.Longest) {
		if r.source == Recorder {
			theirs = append(theirs, r)
		}
	}
	if err := f.bounded(theirs); err != nil {
		return nil, nil, err
	}
	g := gathering{f: f, o: o}
	var came []run
	for _, r := range theirs {
		if err := g.take(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	for _, p := range g.parts {
		came = append(came, p.run)
	}
	for _, r := range t.around(whole, came) {
		if r.source == Own {
			if err := g.take(ctx, r); err != nil {
				return nil, nil, err
			}
		}
	}
	if len(g.parts) == 0 {
		return nil, nil, t.nothing(g.failed)
	}
	slices.SortFunc(g.parts, func(a, b part) int { return a.From.Compare(b.From) })
	return g.parts, g.gaps(t), nil
}

// bounded refuses more of a recorder than one may ask for.
func (f *Footage) bounded(theirs []run) error {
	var total time.Duration
	for _, r := range theirs {
		total += r.length()
	}
	if total <= f.cfg.Longest && len(theirs) <= mostPieces {
		return nil
	}
	minutes, most := total.Minutes(), int(f.cfg.Longest.Minutes())
	return devices.Invalid("to", "too_long",
		fmt.Sprintf("该时段有 %.1f 分钟（%d 段）只在录像机中，一次最多取 %d 分钟、%d 段；请缩短时段，或只要网关的录像（source=own）", minutes, len(theirs), most, mostPieces),
		fmt.Sprintf("%.1f minutes of it (%d stretches) are at the recorder only; take at most %d minutes in %d stretches at once, or the gateway's alone (source=own)", minutes, len(theirs), most, mostPieces))
}

// gathering is an export under way.
type gathering struct {
	f      *Footage
	o      Order
	parts  []part
	bytes  int64
	failed error    // of a recorder, the first that is not "nothing there"
	why    []Reason // what a recorder did not give
}

// take takes one part out; what a recorder does not give is noted.
func (g *gathering) take(ctx context.Context, r run) (err error) {
	p := part{run: r}
	if r.source == Own {
		if p.clip, err = g.f.cfg.Own.Clip(ctx, g.o.Camera, r.From, r.To); err == nil {
			err = g.weigh(p.clip)
		}
		if err == nil {
			p.clip, p.taken, err = g.f.cfg.Own.Take(ctx, g.o.Camera, r.From, r.To)
		}
		if errors.Is(err, devices.ErrNotFound) {
			return nil
		}
	} else {
		var c Fetched
		c, p.taken, err = g.fetch(ctx, r)
		if err != nil && ctx.Err() == nil {
			g.why = append(g.why, Reason{r.Span, devices.AllProblems(err)[0]})
			if g.failed == nil || errors.Is(g.failed, devices.ErrNotFound) {
				g.failed = err
			}
			return nil
		}
		if err == nil {
			p.clip, p.fetched = c.Clip, &c
			err = g.weigh(c.Clip)
		}
	}
	if err == nil {
		g.bytes += p.clip.Size
		g.parts = append(g.parts, p)
	}
	return err
}

// fetch takes a part of the recorder. Where who asks has only so much time, the gateway's own parts
// are left a third of it.
func (g *gathering) fetch(ctx context.Context, r run) (Fetched, Taken, error) {
	if end, bounded := ctx.Deadline(); bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*2/3)
		defer cancel()
	}
	return g.f.cfg.Recorders.Take(ctx, g.o.Camera, r.From, r.To)
}

// weigh refuses what is more than the order allows.
func (g *gathering) weigh(c *recording.Clip) error {
	all := g.bytes + c.Size
	if g.o.Most <= 0 || all <= g.o.Most {
		return nil
	}
	return devices.Invalid("to", "clip_too_large", fmt.Sprintf("录像有 %d MiB，超过上限 %d MiB，请分段导出", all>>20, g.o.Most>>20),
		fmt.Sprintf("the clip has %d MiB, more than the %d that are allowed; export it in parts", all>>20, g.o.Most>>20))
}

// gaps tells what none of the parts has.
func (g *gathering) gaps(t *Timeline) []Gap {
	var filled []Span
	for _, p := range g.parts {
		if p.fetched == nil {
			continue
		}
		filled = append(filled, Span{p.clip.From, p.clip.To}.less(holesOf(p.clip))...)
		if p.fetched.Cut != nil {
			g.why = append(g.why, Reason{Span{p.clip.To, p.To}, p.fetched.Cut})
		}
	}
	return missing(t.Own.Gaps, filled, func(s Span) *devices.Problem {
		for _, w := range g.why {
			if s.and(w.Span).length() > 0 {
				return w.Why
			}
		}
		for _, known := range t.Gaps {
			if s.and(known.Span) == s {
				return known.Recorder
			}
		}
		return recorderNothing
	})
}

func holesOf(c *recording.Clip) (list []Span) {
	for _, h := range c.Holes {
		list = append(list, Span(h))
	}
	return list
}

// describe writes the manifest.
func (f *Footage) describe(o Order, parts []part, gaps []Gap) (*Export, error) {
	e := &Export{Manifest: f.manifest(o, parts, gaps), Missing: gaps}
	for _, p := range e.Parts {
		e.Bytes += p.Bytes
	}
	var err error
	if e.Raw, err = json.MarshalIndent(e.Manifest, "", " "); err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	sum := sha256.Sum256(e.Raw)
	e.SHA256 = hex.EncodeToString(sum[:])
	return e, nil
}

func newID() string { return "export-" + strings.ToLower(rand.Text()) }
