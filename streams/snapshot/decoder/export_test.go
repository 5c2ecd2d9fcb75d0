package decoder

// Loaded says whether the compiled module is in memory.
func (d *Decoder) Loaded() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.loaded != nil
}
