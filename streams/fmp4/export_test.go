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

// Held is how many bytes of fragments are kept.
func (m *Muxer) Held() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for _, g := range m.groups {
		for _, f := range g.frags {
			n += len(f)
		}
	}
	return n
}
