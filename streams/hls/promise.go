package hls

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
)

// promise is what an edition's playlists say of all that is to come: it may not
// change (RFC 8216, second edition, 6.2.1), while the library tells what has been
// so far. Hence some room above the first that it tells.
type promise struct {
	mu     sync.Mutex
	target int     // seconds, of segments
	part   float64 // seconds
}

const (
	partRoom = 1.08 // parts last at least 85 % of the target
	holdBack = 3    // parts that a player stays behind the end, as is recommended
)

var (
	targetLine  = regexp.MustCompile(`(?m)^#EXT-X-TARGETDURATION:(\d+)$`)
	partLine    = regexp.MustCompile(`(?m)^#EXT-X-PART-INF:PART-TARGET=([\d.]+)$`)
	controlLine = regexp.MustCompile(`(?m)^#EXT-X-SERVER-CONTROL:.*$`)
)

// keep puts what is promised into a media playlist. Only what has turned out
// longer than any room changes a promise. Playlists are short: that some of
// it may be skipped is not offered.
func (p *promise) keep(text []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := targetLine.FindSubmatch(text); m != nil {
		if told, err := strconv.Atoi(string(m[1])); err == nil && told > p.target {
			p.target = told + 1
		}
	}
	if m := partLine.FindSubmatch(text); m != nil {
		if told, err := strconv.ParseFloat(string(m[1]), 64); err == nil && told > p.part {
			p.part = math.Ceil(told*partRoom*1000) / 1000
		}
	}
	text = targetLine.ReplaceAll(text, fmt.Appendf(nil, "#EXT-X-TARGETDURATION:%d", p.target))
	text = partLine.ReplaceAll(text, fmt.Appendf(nil, "#EXT-X-PART-INF:PART-TARGET=%.3f", p.part))
	return controlLine.ReplaceAll(text, fmt.Appendf(nil, "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=%.3f", holdBack*p.part))
}
