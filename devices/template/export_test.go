package template

import "sync"

var readOnce = sync.OnceValues(connections)

// Parse reads one template as a catalog does.
func Parse(data []byte) (*Template, error) {
	known, err := readOnce()
	if err != nil {
		return nil, err
	}
	return parse(data, known)
}
