package scene

import "time"

// Finding is what is wrong with a camera's picture.
type Finding string

// The findings. At most one holds at a time: the first of them.
const (
	Black   Finding = "black"
	Covered Finding = "covered" // no structure is left
	Frozen  Finding = "frozen"  // the very same picture again and again
	Moved   Finding = "moved"   // structures are elsewhere than in the reference
)

// Config holds the thresholds. Zero values mean the defaults.
type Config struct {
	Dark  float64       // mean brightness below which a picture is black, where it has no structure either; 20 of 255
	Flat  float64       // standard deviation of brightness below which nothing can be seen; 6 of 255
	Faint float64       // share of the reference's structures of which nothing is left in a covered picture; 0.5
	Turn  float64       // share of them that are elsewhere in a moved one; 0.6
	Holds time.Duration // that a finding must hold without a break; 90 s
	Clear int           // looks without it, one after the other, that end it; 2
	Learn int           // looks alike that make a reference; 3
}

func (c *Config) setDefaults() {
	if c.Dark <= 0 {
		c.Dark = 20
	}
	if c.Flat <= 0 {
		c.Flat = 6
	}
	if c.Faint <= 0 {
		c.Faint = 0.5
	}
	if c.Turn <= 0 {
		c.Turn = 0.6
	}
	if c.Holds <= 0 {
		c.Holds = 90 * time.Second
	}
	if c.Clear <= 0 {
		c.Clear = 2
	}
	if c.Learn <= 0 {
		c.Learn = 3
	}
}

// leastTiles is how many textured tiles a reference needs to say anything.
const leastTiles = 3

// Watch judges the pictures of one camera, which may stand at several places. One
// goroutine may use it.
type Watch struct {
	cfg Config

	places map[string]*place // by name
	here   *place            // where it stands; nil: at none of them
	turns  bool              // it is being turned

	suspect Finding // what the last look found
	since   time.Time
	found   Finding // what holds
	without int     // looks without it
}

// place is what is known of one.
type place struct {
	references [2]*edges // by day and by night
	learning   *edges    // candidate for the reference of its mode
	night      bool      // of the candidate
	alike      int       // looks that fit the candidate
}

// Home is the place where a camera stands that does not turn.
const Home = ""

// NewWatch gives a watch of a camera at Home, without a reference: it learns one.
func NewWatch(cfg Config) *Watch {
	cfg.setDefaults()
	w := &Watch{cfg: cfg, places: map[string]*place{}}
	w.Stand(Home)
	return w
}

// Stand says where the camera stands now. What it shows there is compared to the
// references of that place, and learnt for it.
func (w *Watch) Stand(at string) { w.here, w.turns = w.at(at), false }

// Stray says that the camera was turned to no known place: until it stands somewhere
// again nothing is learnt, and what takes a reference to judge, that it was moved or
// covered, stays as it was found.
func (w *Watch) Stray() { w.here, w.turns = nil, false }

// Turn says that the camera is being turned: until it stands, or has strayed, only whether
// it is black is judged, and all else stays as it was found.
func (w *Watch) Turn() { w.turns = true }

func (w *Watch) at(name string) *place {
	p := w.places[name]
	if p == nil {
		p = &place{}
		w.places[name] = p
	}
	return p
}

// Restore makes what Reference gave once the reference of a place and a mode, by day or by
// night.
func (w *Watch) Restore(at string, night bool, reference []byte) error {
	e, err := readEdges(reference)
	if err != nil {
		return err
	}
	w.at(at).references[mode(night)] = e
	return nil
}

// Forget forgets what a place looks like, which is to be learnt anew.
func (w *Watch) Forget(at string) { *w.at(at) = place{} }

// Fits says that v shows what the reference of a place does.
func (w *Watch) Fits(at string, v View) bool {
	p := w.places[at]
	if p == nil || p.references[mode(v.Night())] == nil {
		return false
	}
	elsewhere, faint, tiles := v.edges().compare(p.references[mode(v.Night())])
	return tiles >= leastTiles && elsewhere < w.cfg.Turn/2 && faint < w.cfg.Faint
}

// Resume goes on with a finding that held before the watch was made.
func (w *Watch) Resume(f Finding) { w.found = f }

// Reference gives the reference of a place and a mode, nil where there is none. It takes in
// slow changes, so it is not the same at another time.
func (w *Watch) Reference(at string, night bool) []byte {
	if p := w.places[at]; p != nil && p.references[mode(night)] != nil {
		return p.references[mode(night)].write()
	}
	return nil
}

func mode(night bool) int {
	if night {
		return 1
	}
	return 0
}

// Look judges a picture of the time at; same says that it is bit by bit that of the
// last look and of the key frames between. It gives what holds now, empty where all
// is well.
func (w *Watch) Look(at time.Time, v View, same bool) Finding {
	finding := w.judge(v, same)
	if finding == w.found {
		w.suspect, w.without = finding, 0
		return w.found
	}
	w.without++
	switch {
	case finding == "":
		w.suspect = ""
	case finding != w.suspect:
		w.suspect, w.since = finding, at
	case at.Sub(w.since) >= w.cfg.Holds:
		w.found, w.without = finding, 0
		return w.found
	}
	if w.found != "" && w.without >= w.cfg.Clear {
		w.found, w.without = "", 0
	}
	return w.found
}

// judge says what is wrong with one picture by itself, and learns from good ones.
func (w *Watch) judge(v View, same bool) Finding {
	mean, deviation := v.brightness()
	e := v.edges()
	var reference *edges
	if w.here != nil {
		reference = w.here.references[mode(v.Night())]
	}
	var elsewhere, faint float64
	tiles := 0
	if reference != nil {
		elsewhere, faint, tiles = e.compare(reference)
	}
	known := tiles >= leastTiles
	switch {
	case mean < w.cfg.Dark && deviation < w.cfg.Flat:
		return Black
	case w.turns && w.found == Black:
		return ""
	case w.turns:
		return w.found
	case deviation < w.cfg.Flat, known && faint >= w.cfg.Faint:
		return Covered
	case same:
		return Frozen
	case known && elsewhere >= w.cfg.Turn:
		return Moved
	case reference == nil && w.found == Moved:
		return Moved // what it shows now is no reference, although night has fallen
	case w.here == nil && w.found == Covered:
		return Covered
	case w.here == nil:
	case reference == nil:
		w.here.learn(e, v.Night(), &w.cfg)
	case elsewhere < w.cfg.Turn/2:
		follow(reference, e)
	}
	return ""
}

// learn takes a reference once several looks in a row fit each other.
func (p *place) learn(e *edges, night bool, cfg *Config) {
	if p.learning != nil && p.night == night {
		if elsewhere, _, _ := e.compare(p.learning); elsewhere < cfg.Turn/2 {
			p.alike++
			follow(p.learning, e)
			if p.alike >= cfg.Learn {
				p.references[mode(night)], p.learning = p.learning, nil
			}
			return
		}
	}
	p.learning, p.night, p.alike = e, night, 1
}

// follow lets a reference take in slow changes: shadows, seasons, dust.
func follow(reference, e *edges) {
	const weight = 1.0 / 32
	for i := range reference {
		reference[i] += weight * (e[i] - reference[i])
	}
}
