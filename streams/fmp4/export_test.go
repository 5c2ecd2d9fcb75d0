package fmp4

import "offsite/streams"

// Fragment gives the fragment of f alone.
func (m *Muxer) Fragment(f *streams.Frame) ([]byte, error) {
	_, b, err := m.fragment(f)
	return b, err
}

// Init gives the initialisation segment of a key frame's group.
func (m *Muxer) Init(f *streams.Frame) ([]byte, error) {
	head, _, err := m.fragment(f)
	if err != nil {
		return nil, err
	}
	return head.init, nil
}
