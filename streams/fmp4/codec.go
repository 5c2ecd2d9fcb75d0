package fmp4

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"

	"offsite/streams"
)

// CodecString gives the codecs parameter (RFC 6381; ISO 14496-15, annex E) by
// which a browser knows whether it can play the stream: "avc1.42c01e",
// "hvc1.1.6.L93.90". It is empty when the parameter set is too short to tell.
func CodecString(p *streams.Parameters) string {
	if p.Codec == streams.H265 {
		return codecH265(p.SPS)
	}
	if len(p.SPS) < 4 {
		return ""
	}
	return fmt.Sprintf("avc1.%02x%02x%02x", p.SPS[1], p.SPS[2], p.SPS[3])
}

// codecH265 reads profile_tier_level, which stands behind the unit's header and
// one byte (H.265, 7.3.2.2 and 7.3.3).
func codecH265(sps []byte) string {
	sps = h264.EmulationPreventionRemove(sps)
	if len(sps) < 15 {
		return ""
	}
	level := sps[3:15]
	space := []string{"", "A", "B", "C"}[level[0]>>6]
	tier := "L"
	if level[0]&0x20 != 0 {
		tier = "H"
	}
	compatible := uint32(level[1])<<24 | uint32(level[2])<<16 | uint32(level[3])<<8 | uint32(level[4])
	var constraints strings.Builder
	end := 11
	for end > 5 && level[end-1] == 0 {
		end--
	}
	for _, b := range level[5:end] {
		fmt.Fprintf(&constraints, ".%X", b)
	}
	return fmt.Sprintf("hvc1.%s%d.%X.%s%d%s", space, level[0]&0x1f, bits.Reverse32(compatible), tier, level[11], constraints.String())
}
