package request

import (
	"sync"

	"offsite/devices"
)

// Places are had by some people and tokens at once, and never all of them by one.
type Places struct {
	All, Each int              // how many there are, 0 for any number, and how many one may have
	Taken     *devices.Problem // for whoever comes when there is none left
	Yours     *devices.Problem // for whoever has too many

	mu    sync.Mutex
	taken int
	of    map[string]int // by id of a Principal
}

// Enter takes one more place for who, or says why there is none.
func (p *Places) Enter(who string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.of[who] >= p.Each:
		return p.Yours
	case p.All > 0 && p.taken >= p.All:
		return p.Taken
	}
	if p.of == nil {
		p.of = map[string]int{}
	}
	p.taken++
	p.of[who]++
	return nil
}

// Leave gives one place of who back.
func (p *Places) Leave(who string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[who]--; p.of[who] == 0 {
		delete(p.of, who)
	}
}
