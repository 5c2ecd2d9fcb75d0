package whep

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtp/codecs"

	"offsite/streams"
)

const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"

// offerOf gives an offer with these lines for the video's payload types.
func offerOf(formats, lines string) string {
	return head + "m=video 9 UDP/TLS/RTP/SAVPF " + formats + "\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n" + lines
}

// chromium is what Chromium offers, shortened.
const chromium = "a=rtpmap:96 VP8/90000\r\n" +
	"a=rtpmap:103 H264/90000\r\na=fmtp:103 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f\r\n" +
	"a=rtpmap:107 H264/90000\r\na=fmtp:107 level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42001f\r\n" +
	"a=rtpmap:109 H264/90000\r\na=fmtp:109 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n" +
	"a=rtpmap:117 H264/90000\r\na=fmtp:117 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d001f\r\n" +
	"a=rtpmap:39 H264/90000\r\na=fmtp:39 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=f4001f\r\n" +
	"a=rtpmap:49 H265/90000\r\na=fmtp:49 level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST\r\n" +
	"a=rtpmap:112 H264/90000\r\na=fmtp:112 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=64001f\r\n"

func TestTheCodecIsChosenByTheStream(t *testing.T) {
	h264 := func(sps ...byte) *streams.Parameters {
		return &streams.Parameters{Codec: streams.H264, SPS: append([]byte{0x67}, sps...)}
	}
	h265 := func(profile byte) *streams.Parameters {
		return &streams.Parameters{Codec: streams.H265, SPS: []byte{0x42, 1, 1, profile, 0}}
	}
	all := "96 103 107 109 117 39 49 112"
	firefox := "a=rtpmap:126 H264/90000\r\na=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1\r\n"
	for _, tt := range []struct {
		name, offer string
		params      *streams.Parameters
		want        uint8 // 0: refused
		line        string
	}{
		{"constrained baseline", offerOf(all, chromium), h264(0x42, 0xe0, 0x28), 109, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e028"},
		{"baseline", offerOf(all, chromium), h264(0x42, 0x00, 0x1e), 103, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001e"},
		{"main with odd constraints", offerOf(all, chromium), h264(0x4d, 0x40, 0x29), 117, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=4d0029"},
		{"high", offerOf(all, chromium), h264(0x64, 0x00, 0x33), 112, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640033"},
		{"high where only a baseline decoder is named", offerOf("126", firefox), h264(0x64, 0, 0x28), 126, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e028"},
		{"high 4:4:4", offerOf(all, chromium), h264(0xf4, 0, 0x28), 0, ""},
		{"H.265 main", offerOf(all, chromium), h265(1), 49, "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST"},
		{"H.265 main 10", offerOf(all, chromium), h265(2), 0, ""},
		{"H.265 where it is not offered", offerOf("126", firefox), h265(1), 0, ""},
		{"no packetization mode", offerOf("107", chromium), h264(0x42, 0xe0, 0x28), 0, ""},
		{"no format line", offerOf("98", "a=rtpmap:98 H264/90000\r\n"), h264(0x42, 0xe0, 0x28), 0, ""},
		{"another clock", offerOf("98", "a=rtpmap:98 H264/8000\r\na=fmtp:98 packetization-mode=1;profile-level-id=42e01f\r\n"), h264(0x42, 0xe0, 0x28), 0, ""},
		{"parameter set too short", offerOf(all, chromium), h264(), 0, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := choose(tt.offer, tt.params)
			if (err == nil) != (tt.want > 0) || uint8(c.PayloadType) != tt.want || c.SDPFmtpLine != tt.line {
				t.Errorf("chose %d %q, %v", c.PayloadType, c.SDPFmtpLine, err)
			}
		})
	}
}

func FuzzOffer(f *testing.F) {
	f.Add(offerOf("103", chromium))
	f.Add(offerOf("49", chromium))
	f.Add(head)
	f.Fuzz(func(t *testing.T, offer string) {
		for _, p := range []*streams.Parameters{
			{Codec: streams.H264, SPS: []byte{0x67, 0x64, 0, 0x28}}, {Codec: streams.H265, SPS: []byte{0x42, 1, 1, 1, 0}}, {Codec: streams.MJPEG},
		} {
			c, err := choose(offer, p)
			if (err == nil) == (c.MimeType == "") {
				t.Errorf("%+v, %v", c, err)
			}
		}
	})
}

// FuzzAnswer gives whatever passes for an offer to the connection itself.
func FuzzAnswer(f *testing.F) {
	f.Add(offerOf("103", chromium+"a=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\na=setup:actpass\r\na=rtcp-mux\r\n"+
		"a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n"))
	f.Add(offerOf("103", chromium))
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	feed.Publish(&streams.Frame{
		Params: &streams.Parameters{Codec: streams.H264, SPS: []byte{0x67, 0x42, 0xe0, 0x28}, PPS: []byte{0x68}}, NALUs: [][]byte{{0x65, 1, 2}}, Key: true, At: time.Now(),
	})
	engine, _, closers, err := New(Config{UDP: "127.0.0.1:0"}, nil).listen(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		for _, c := range closers {
			_ = c.Close()
		}
	})
	f.Fuzz(func(t *testing.T, offer string) {
		sn, _, err := negotiate(t.Context(), engine, Viewing{Track: NewTrack(feed), Offer: offer})
		if err != nil {
			return
		}
		sn.reader.Close()
		if err := sn.peer.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
}

func TestFramesAreCutIntoPacketsThatPass(t *testing.T) {
	large := bytes.Repeat([]byte{7}, 3000)
	for _, tt := range []struct {
		name  string
		codec streams.Codec
		units [][]byte
		sizes []int
	}{
		{"one packet", streams.H264, [][]byte{{0x41, 1, 2}}, []int{3}},
		{"two units", streams.H264, [][]byte{{0x41, 1, 2}, {0x41, 3, 4, 5}}, []int{3, 4}},
		{"as large as may be", streams.H264, [][]byte{append([]byte{0x41}, large[:mostPayload-1]...)}, []int{mostPayload}},
		{"one byte more", streams.H264, [][]byte{append([]byte{0x41}, large[:mostPayload]...)}, []int{mostPayload, 4}},
		{"three packets", streams.H264, [][]byte{append([]byte{0x41}, large...)}, []int{1172, 1172, 662}},
		{"H.265", streams.H265, [][]byte{append([]byte{0x02, 0x01}, large...)}, []int{1172, 1172, 665}},
		{"empty units", streams.H264, [][]byte{{}, {0x41}, {0x41, 2, 3}}, []int{3}},
		{"nothing", streams.H264, [][]byte{{}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &streams.Frame{Params: &streams.Parameters{Codec: tt.codec}, NALUs: tt.units}
			var sizes []int
			var joined []byte
			var h264 codecs.H264Packet
			for _, p := range f.Packets(mostPayload) {
				sizes = append(sizes, len(p))
				if tt.codec == streams.H264 {
					part, err := h264.Unmarshal(p)
					if err != nil {
						t.Fatal(err)
					}
					joined = append(joined, part...)
				}
			}
			if diff := cmp.Diff(tt.sizes, sizes); diff != "" {
				t.Error(diff)
			}
			var want [][]byte
			for _, u := range tt.units {
				if len(u) > 2 {
					want = append(want, u)
				}
			}
			if got := streams.SplitAnnexB(joined); tt.codec == streams.H264 && !cmp.Equal(want, got) {
				t.Errorf("put together again: %v", cmp.Diff(want, got))
			}
		})
	}
}

func TestH265FragmentsCarryTheUnitsType(t *testing.T) {
	unit := append([]byte{0x26, 0x01}, bytes.Repeat([]byte{9}, 2*mostPayload)...) // IDR_W_RADL is 19
	packets := (&streams.Frame{Params: &streams.Parameters{Codec: streams.H265}, NALUs: [][]byte{unit}}).Packets(mostPayload)
	var body []byte
	for i, p := range packets {
		want := byte(19)
		if i == 0 {
			want |= 0x80
		}
		if i == len(packets)-1 {
			want |= 0x40
		}
		if p[0] != 49<<1 || p[1] != 1 || p[2] != want {
			t.Errorf("packet %d begins with % x", i, p[:3])
		}
		body = append(body, p[3:]...)
	}
	if !bytes.Equal(body, unit[2:]) {
		t.Error("the unit is not what it was")
	}
}

func TestPacketsAreCutOnceAndForgotten(t *testing.T) {
	feed := streams.NewFeed(streams.FeedConfig{})
	track := NewTrack(feed)
	track.enter(1)
	params := &streams.Parameters{Codec: streams.H264}
	frame := func(seq, group uint64) *streams.Frame {
		return &streams.Frame{Params: params, NALUs: [][]byte{make([]byte, 5000)}, Seq: seq, Group: group, Key: seq == group}
	}
	first := track.payloads(frame(1, 1))
	if again := track.payloads(frame(1, 1)); &again[0][0] != &first[0][0] {
		t.Error("a frame was cut twice")
	}
	for seq := uint64(2); seq < 100; seq++ {
		track.payloads(frame(seq, (seq-1)/10*10+1))
	}
	if n := len(track.cut); n > 20 {
		t.Errorf("%d frames are kept of groups of 10", n)
	}
	for seq := uint64(100); seq < 20_000; seq++ { // 100 MB in one group
		track.payloads(frame(seq, 100))
	}
	if n := len(track.cut); int64(n)*5000 > feed.MostBytes() {
		t.Errorf("%d frames of 5,000 bytes are kept of a group without end", n)
	}
	track.leave()
	if n := len(track.cut); n != 0 {
		t.Errorf("%d frames are kept for nobody", n)
	}
}

func TestALineThatLosesPacketsRests(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	key := func(s float64) *streams.Frame { return &streams.Frame{Key: true, At: at(s)} }
	other := func(s float64) *streams.Frame { return &streams.Frame{At: at(s)} }
	var r rest
	r.report(0.05, at(0))
	if r.skips(other(0)) {
		t.Error("rests on little loss")
	}
	r.report(0.3, at(0))
	for _, tt := range []struct {
		name string
		f    *streams.Frame
		want bool
	}{
		{"at once", other(0.1), true},
		{"a key frame too early", key(0.5), true},
		{"not a key frame", other(1.1), true},
		{"the next key frame", key(1.5), false},
		{"from then on", other(1.6), false},
	} {
		if got := r.skips(tt.f); got != tt.want {
			t.Errorf("%s: left out %v, want %v", tt.name, got, tt.want)
		}
	}
	r.report(0.3, at(1.6))
	if r.skips(other(1.7)) {
		t.Error("a report of before the rest counts")
	}
	r.report(0.3, at(2.5))
	if !r.skips(key(4)) || r.skips(key(4.6)) {
		t.Error("the second rest is not twice as long")
	}
	if r.left != 4 {
		t.Errorf("%d frames counted, want 4", r.left)
	}
}
