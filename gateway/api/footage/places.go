package footage

import (
	"fmt"
	"sync"

	"offsite/devices"
)

// places are had by some at once, and never all of them by one.
type places struct {
	all, each int

	mu    sync.Mutex
	taken int
	by    map[string]int // person or token
}

func newPlaces(all, each int) *places { return &places{all: all, each: each, by: map[string]int{}} }

// enter takes a place; leave gives it back.
func (p *places) enter(who string) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.by[who] >= p.each:
		return nil, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy_yourself",
			ZH: fmt.Sprintf("您同时播放或导出的录像已达 %d 个，请先关闭一些播放页面或等导出结束", p.each),
			EN: fmt.Sprintf("you are playing or exporting %d recordings, which is the most; close some of them, or wait for the export", p.each),
		}
	case p.taken >= p.all:
		return nil, &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "busy", ZH: "正在播放或导出的录像过多，请稍后再试", EN: "too many recordings are being played or exported; try again in a while",
		}
	}
	p.taken++
	p.by[who]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.taken--
		if p.by[who]--; p.by[who] == 0 {
			delete(p.by, who)
		}
	}, nil
}
