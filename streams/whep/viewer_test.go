package whep_test

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"offsite/streams"
	"offsite/streams/whep"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clip cuts a byte stream into frames of 40 ms.
func clip(t testing.TB, codec streams.Codec, path string) []*streams.Frame {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(codec, nil, nil, nil)
	var out []*streams.Frame
	for i, u := range streams.CutUnits(codec, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, time.Duration(i)*40*time.Millisecond, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, f)
	}
	return out
}

const demo = "../rtsp/rtsptest/demo.h264"

// camera plays a clip on a feed, over and over.
type camera struct {
	feed   *streams.Feed
	frames []*streams.Frame
	next   int
}

func newCamera(t testing.TB) *camera {
	c := &camera{feed: streams.NewFeed(streams.FeedConfig{}), frames: clip(t, streams.H264, demo)}
	c.feed.Connected()
	return c
}

// show publishes the next n frames.
func (c *camera) show(n int) {
	for range n {
		f := *c.frames[c.next%len(c.frames)]
		f.PTS = time.Duration(c.next) * 40 * time.Millisecond
		f.DTS, f.At = f.PTS, time.Now()
		c.feed.Publish(&f)
		c.next++
	}
}

// play shows frames at their pace, or faster, until the test ends.
func (c *camera) play(t *testing.T, every time.Duration) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				c.show(1)
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// serve runs a server until the test ends.
func serve(t testing.TB, cfg whep.Config) (*whep.Server, whep.Addresses) {
	t.Helper()
	return run(t, whep.New(cfg, nil))
}

func run(t testing.TB, s *whep.Server) (*whep.Server, whep.Addresses) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan whep.Addresses, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(a whep.Addresses) { ready <- a }) }()
	t.Cleanup(func() { cancel(); <-ended })
	select {
	case at := <-ready:
		return s, at
	case err := <-ended:
		ended <- err
		t.Fatal(err)
		return nil, whep.Addresses{}
	}
}

// picture is a frame as a viewer put it together.
type picture struct {
	stamp uint32
	units [][]byte
	key   bool
	at    time.Time
}

// viewer is a pion client.
type viewer struct {
	t        *testing.T
	peer     *webrtc.PeerConnection
	pictures chan picture
	ssrc     atomic.Uint32
	states   chan webrtc.PeerConnectionState
}

// newViewer makes a client that has not offered yet.
func newViewer(t *testing.T, networks ...webrtc.NetworkType) *viewer {
	t.Helper()
	engine := webrtc.SettingEngine{}
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	if len(networks) > 0 {
		engine.SetNetworkTypes(networks)
	}
	peer, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	v := &viewer{t: t, peer: peer, pictures: make(chan picture, 10000), states: make(chan webrtc.PeerConnectionState, 100)}
	peer.OnConnectionStateChange(func(s webrtc.PeerConnectionState) { v.states <- s })
	var reading sync.WaitGroup
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		v.ssrc.Store(uint32(track.SSRC()))
		reading.Add(1)
		defer reading.Done()
		v.read(track)
	})
	t.Cleanup(func() { _ = peer.GracefulClose(); reading.Wait() })
	if _, err := peer.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	return v
}

// read puts pictures together from packets in their order, waiting for those
// that come late.
func (v *viewer) read(track *webrtc.TrackRemote) {
	var depacketizer codecs.H264Packet
	var now picture
	var stream []byte
	waiting := map[uint16]func(){}
	next, begun := uint16(0), false
	for {
		p, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		if len(p.Payload) == 0 {
			continue
		}
		if !begun {
			next, begun = p.SequenceNumber, true
		}
		if int16(p.SequenceNumber-next) < 0 {
			continue
		}
		waiting[p.SequenceNumber] = func() {
			part, err := depacketizer.Unmarshal(p.Payload)
			if err != nil {
				v.t.Errorf("packet %d: %v", p.SequenceNumber, err)
			}
			stream = append(stream, part...)
			if p.Marker {
				now = picture{stamp: p.Timestamp, units: streams.SplitAnnexB(stream), at: time.Now()}
				now.key = len(now.units) > 0 && now.units[0][0]&0x1f == 7
				v.pictures <- now
				stream = nil
			}
		}
		for take := waiting[next]; take != nil; take = waiting[next] {
			take()
			delete(waiting, next)
			next++
		}
	}
}

// offer gives the client's offer with its addresses.
func (v *viewer) offer() string {
	v.t.Helper()
	offer, err := v.peer.CreateOffer(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(v.peer)
	if err := v.peer.SetLocalDescription(offer); err != nil {
		v.t.Fatal(err)
	}
	<-gathered
	return v.peer.LocalDescription().SDP
}

// accept takes the answer, with its text changed first.
func (v *viewer) accept(answer string, changes ...string) {
	v.t.Helper()
	answer = strings.NewReplacer(changes...).Replace(answer)
	if err := v.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		v.t.Fatal(err)
	}
}

// watch opens a session of the camera and tells its end.
func (v *viewer) watch(s *whep.Server, track *whep.Track, changes ...string) (id string, ended <-chan whep.End) {
	v.t.Helper()
	ends := make(chan whep.End, 2)
	answer, err := s.Open(v.t.Context(), whep.Viewing{Track: track, Offer: v.offer(), Ended: func(e whep.End) { ends <- e }})
	if err != nil {
		v.t.Fatal(err)
	}
	v.accept(answer.SDP, changes...)
	return answer.ID, ends
}

// next gives the next picture.
func (v *viewer) next() picture {
	v.t.Helper()
	select {
	case p := <-v.pictures:
		return p
	case <-time.After(time.Minute):
		v.t.Fatal("no picture came")
		return picture{}
	}
}

// ask asks for a key frame.
func (v *viewer) ask() {
	v.t.Helper()
	if err := v.peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: v.ssrc.Load()}}); err != nil {
		v.t.Fatal(err)
	}
}

// until waits for a state of the connection.
func (v *viewer) until(want webrtc.PeerConnectionState) {
	v.t.Helper()
	for {
		select {
		case s := <-v.states:
			if s == want {
				return
			}
		case <-time.After(time.Minute):
			v.t.Fatalf("the connection is never %v", want)
		}
	}
}
