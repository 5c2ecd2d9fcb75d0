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

// Watch judges the pictures of one camera. One goroutine may use it.
type Watch struct {
	cfg Config

	references [2]*edges // by day and by night
	learning   *edges    // candidate for the reference of its mode
	night      bool      // of the candidate
	alike      int       // looks that fit the candidate

	suspect Finding // what the last look found
	since   time.Time
	found   Finding // what holds
	without int     // looks without it
}

// NewWatch gives a watch without a reference: it learns one.
func NewWatch(cfg Config) *Watch {
	cfg.setDefaults()
	return &Watch{cfg: cfg}
}

// Restore makes what Reference gave once the reference of its mode, by day or by night.
func (w *Watch) Restore(night bool, reference []byte) error {
	e, err := readEdges(reference)
	if err != nil {
		return err
	}
	w.references[mode(night)] = e
	return nil
}

// Resume goes on with a finding that held before the watch was made.
func (w *Watch) Resume(f Finding) { w.found = f }

// Reference gives the reference of a mode, nil where there is none. It takes in slow
// changes, so it is not the same at another time.
func (w *Watch) Reference(night bool) []byte {
	if e := w.references[mode(night)]; e != nil {
		return e.write()
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
	reference := w.references[mode(v.Night())]
	var elsewhere, faint float64
	tiles := 0
	if reference != nil {
		elsewhere, faint, tiles = e.compare(reference)
	}
	known := tiles >= leastTiles
	switch {
	case mean < w.cfg.Dark && deviation < w.cfg.Flat:
		return Black
	case deviation < w.cfg.Flat, known && faint >= w.cfg.Faint:
		return Covered
	case same:
		return Frozen
	case known && elsewhere >= w.cfg.Turn:
		return Moved
	case reference == nil && w.found == Moved:
		return Moved // what it shows now is no reference, although night has fallen
	case reference == nil:
		w.learn(e, v.Night())
	case elsewhere < w.cfg.Turn/2:
		follow(reference, e)
	}
	return ""
}

// learn takes a reference once several looks in a row fit each other.
func (w *Watch) learn(e *edges, night bool) {
	if w.learning != nil && w.night == night {
		if elsewhere, _, _ := e.compare(w.learning); elsewhere < w.cfg.Turn/2 {
			w.alike++
			follow(w.learning, e)
			if w.alike >= w.cfg.Learn {
				w.references[mode(night)], w.learning = w.learning, nil
			}
			return
		}
	}
	w.learning, w.night, w.alike = e, night, 1
}

// follow lets a reference take in slow changes: shadows, seasons, dust.
func follow(reference, e *edges) {
	const weight = 1.0 / 32
	for i := range reference {
		reference[i] += weight * (e[i] - reference[i])
	}
}
