package fmp4

import "offsite/streams"

// Fragment gives the fragment of f alone.
func (m *Muxer) Fragment(f *streams.Frame) ([]byte, error) {
	_, b, err := m.fragment(f)
	return b, err
}
