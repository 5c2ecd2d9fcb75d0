package recording

import "offsite/streams"

// Tape writes pictures that do not come from a feed, such as those that another
// recorder has kept. It is for one goroutine.
type Tape struct{ w writer }

// Tape begins to write under a camera's name. Nothing else records under it.
func (a *Archive) Tape(camera string) *Tape { return &Tape{writer{a: a, camera: camera}} }

// Add writes the next picture. Its At, DTS, Seq and Connection are read as those of a
// feed; who gives it blocks while the disk takes it.
func (t *Tape) Add(f *streams.Frame) error { return t.w.add(f) }

// Close ends the segment that is being written.
func (t *Tape) Close() error { return t.w.finish(nil) }
