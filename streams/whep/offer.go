package whep

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"offsite/devices"
	"offsite/streams"
)

// Bounds of an offer.
const (
	mostOffer = 64 << 10 // bytes
	mostMedia = 4        // a viewer wants one picture, and perhaps sound that is not there
)

func badOffer(zh, en string) *devices.Problem {
	return devices.Invalid("", "bad_offer", "offer 有误："+zh, "the offer is faulty: "+en)
}

// choose reads an offer and gives the codec by which the camera's pictures can
// be sent in answer to it.
func choose(offer string, p *streams.Parameters) (webrtc.RTPCodecParameters, error) {
	none := webrtc.RTPCodecParameters{}
	if len(offer) > mostOffer {
		return none, badOffer("过长", "it is too long")
	}
	var d sdp.SessionDescription
	if err := d.UnmarshalString(offer); err != nil {
		return none, badOffer("不是 SDP", "it is not SDP")
	}
	if len(d.MediaDescriptions) > mostMedia {
		return none, badOffer("媒体过多", "it has too many media")
	}
	if _, lite := d.Attribute("ice-lite"); lite {
		return none, badOffer("双方均为 ICE-lite", "both sides are ICE-lite")
	}
	var video *sdp.MediaDescription
	for _, m := range d.MediaDescriptions {
		switch kind := m.MediaName.Media; {
		case kind == "video" && video == nil && receives(m):
			video = m
		case kind != "video" && kind != "audio":
			return none, badOffer("只能观看视频", "there is nothing but video here")
		}
	}
	if video == nil {
		return none, badOffer("没有接收视频（m=video，recvonly）", "it receives no video (m=video, recvonly)")
	}
	best, rank := none, 0
	for _, c := range offered(video) {
		if r := fits(c, p); r > rank {
			best, rank = c, r
		}
	}
	if rank == 0 {
		return none, notOffered(p.Codec)
	}
	best.SDPFmtpLine = answered(best, p)
	return best, nil
}

// notOffered is why a viewer must watch another way.
func notOffered(codec streams.Codec) *devices.Problem {
	name := map[streams.Codec]string{streams.H264: "H.264", streams.H265: "H.265", streams.MJPEG: "MJPEG"}[codec]
	return &devices.Problem{
		Kind: devices.ErrConflict, Code: "codec_not_offered",
		ZH: "该浏览器不能以 WebRTC 播放 " + name + "；请使用其他播放方式，或填写摄像机的 H.264 子码流",
		EN: "this viewer does not take " + name + " by WebRTC; watch another way, or give the camera's H.264 sub-stream",
	}
}

func receives(m *sdp.MediaDescription) bool {
	for _, a := range []string{"sendonly", "inactive"} {
		if _, has := m.Attribute(a); has {
			return false
		}
	}
	return m.MediaName.Port.Value != 0
}

// offered lists the codecs of a medium, in the viewer's order.
func offered(m *sdp.MediaDescription) []webrtc.RTPCodecParameters {
	maps, formats := map[string]string{}, map[string]string{}
	for _, a := range m.Attributes {
		number, rest, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap":
			maps[number] = rest
		case "fmtp":
			formats[number] = strings.TrimSpace(rest)
		}
	}
	var list []webrtc.RTPCodecParameters
	for _, number := range m.MediaName.Formats {
		pt, err := strconv.ParseUint(number, 10, 7)
		name, rate, _ := strings.Cut(maps[number], "/")
		if err != nil || rate != strconv.Itoa(streams.TickRate) {
			continue
		}
		list = append(list, webrtc.RTPCodecParameters{
			PayloadType: webrtc.PayloadType(pt), //nolint:gosec // seven bits
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: "video/" + strings.ToUpper(name), ClockRate: streams.TickRate, SDPFmtpLine: formats[number],
				RTCPFeedback: []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}},
			},
		})
	}
	return list
}

// fits ranks a codec that is offered: 0 if the stream cannot be sent by it.
func fits(c webrtc.RTPCodecParameters, p *streams.Parameters) int {
	given := settings(c.SDPFmtpLine)
	switch {
	case p.Codec == streams.H265 && c.MimeType == webrtc.MimeTypeH265:
		// general_profile_idc behind the unit's header and one byte, H.265 7.3.3; RFC 7798, 7.1: absent means 1.
		want := "1"
		if len(p.SPS) > 3 {
			want = strconv.Itoa(int(p.SPS[3] & 0x1f))
		}
		if has := given["profile-id"]; has == want || (has == "" && want == "1") {
			return 1
		}
	case p.Codec == streams.H264 && c.MimeType == webrtc.MimeTypeH264 && given["packetization-mode"] == "1":
		return takes(given["profile-level-id"], p.SPS)
	}
	return 0
}

// Profiles of H.264, each of which decodes those before it as far as cameras go.
const (
	baseline = iota + 1
	mainProfile
	high
)

// takes ranks how well a decoder that is offered (profile-level-id, RFC 6184,
// 8.1) suits a stream: its very profile, then a greater one. A smaller one comes
// last: browsers name the least of what they decode. Levels are left out: the
// viewer's own level is about its own sending, and browsers name 3.1 for all.
func takes(profileLevelID string, sps []byte) int {
	id, err := hex.DecodeString(profileLevelID)
	if err != nil || len(id) != 3 || len(sps) < 4 {
		return 0
	}
	has, want := profileOf(id[0]), profileOf(sps[1])
	switch {
	case has == 0 || want == 0:
		return 0
	case has == want && id[1] == sps[2]:
		return 10
	case has >= want:
		return 8 - (has - want)
	default:
		return 1 + has
	}
}

// profileOf orders profile_idc, H.264 A.2; 0 for those that cameras and browsers
// do not share.
func profileOf(idc byte) int {
	return map[byte]int{66: baseline, 77: mainProfile, 100: high}[idc]
}

// answered is the answer's format line: the viewer's, with the stream's level.
func answered(c webrtc.RTPCodecParameters, p *streams.Parameters) string {
	given := settings(c.SDPFmtpLine)
	id := given["profile-level-id"]
	if p.Codec != streams.H264 || len(id) != 6 {
		return c.SDPFmtpLine
	}
	return fmt.Sprintf("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=%s%02x", strings.ToLower(id[:4]), p.SPS[3])
}

// ufragOf gives the viewer's half of the session's ICE credentials.
func ufragOf(offer string) string {
	_, rest, _ := strings.Cut(offer, "a=ice-ufrag:")
	ufrag, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(ufrag)
}

// settings reads a format line, "a=1;b=2".
func settings(line string) map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(line, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		m[strings.ToLower(key)] = value
	}
	return m
}

// wantsKey says whether a viewer asks for a key frame.
func wantsKey(p rtcp.Packet) bool {
	switch p.(type) {
	case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
		return true
	}
	return false
}
