package push_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pictures shows a clip over and over, as an edge's relay does.
type pictures struct {
	frames []*streams.Frame
	next   int
	mu     sync.Mutex
	again  int
}

func clip(t *testing.T) *pictures {
	t.Helper()
	data, err := os.ReadFile("../rtsp/rtsptest/demo.h264")
	if err != nil {
		t.Fatal(err)
	}
	a := streams.NewAssembler(streams.H264, nil, nil, nil)
	p := &pictures{}
	for i, u := range streams.CutUnits(streams.H264, streams.SplitAnnexB(data)) {
		f, err := a.Frame(u, time.Duration(i)*20*time.Millisecond, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		f.Connection = 1
		p.frames = append(p.frames, f)
	}
	return p
}

func (p *pictures) Next(ctx context.Context) (*streams.Frame, bool, error) {
	wait := time.NewTimer(20 * time.Millisecond)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	f := *p.frames[p.next%len(p.frames)]
	f.PTS = time.Duration(p.next) * 20 * time.Millisecond
	f.DTS = f.PTS
	p.next++
	return &f, false, nil
}

func (p *pictures) Again() {
	p.mu.Lock()
	p.next, p.again = 0, p.again+1
	p.mu.Unlock()
}

// server is a media server of pion.
type server struct {
	t      *testing.T
	status int    // of the answer to an offer; 0: 201
	garble bool   // the answer is no SDP
	tcp    bool   // it takes pictures by TCP alone
	media  string // instead of 127.0.0.1 in its candidates

	mu      sync.Mutex
	asked   []string // method, path and token of each request
	stream  bytes.Buffer
	units   int
	joined  chan struct{}
	peer    *webrtc.PeerConnection
	closers []io.Closer
}

// serve gives the server's address.
func (s *server) serve() *url.URL {
	s.joined = make(chan struct{})
	web := httptest.NewServer(s)
	s.t.Cleanup(func() {
		web.Close()
		if s.peer != nil {
			_ = s.peer.GracefulClose()
		}
		for _, c := range s.closers {
			_ = c.Close()
		}
	})
	u, err := url.Parse(web.URL + "/whip/cam?key=secret")
	if err != nil {
		s.t.Fatal(err)
	}
	return u
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization"))
	s.mu.Unlock()
	if r.Method == http.MethodDelete {
		return
	}
	if s.status != 0 {
		w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
		w.WriteHeader(s.status)
		return
	}
	offer, _ := io.ReadAll(r.Body)
	answer, err := s.answer(string(offer))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Location", "/whip/session-1")
	w.Header().Set("Content-Type", "application/sdp")
	w.WriteHeader(http.StatusCreated)
	if s.garble {
		answer = "hello"
	}
	if s.media != "" {
		answer = strings.ReplaceAll(answer, "127.0.0.1", s.media)
	}
	_, _ = io.WriteString(w, answer)
}

func (s *server) answer(offer string) (string, error) {
	engine := webrtc.SettingEngine{}
	engine.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	engine.SetIncludeLoopbackCandidate(true)
	engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	engine.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	if s.tcp {
		mux, closer, err := tcpMux()
		if err != nil {
			return "", err
		}
		s.closers = append(s.closers, closer)
		engine.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
		engine.SetICETCPMux(mux)
	}
	peer, err := webrtc.NewAPI(webrtc.WithSettingEngine(engine)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	s.peer = peer
	peer.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { s.take(track) })
	if err := peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	local, err := peer.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	complete := webrtc.GatheringCompletePromise(peer)
	if err := peer.SetLocalDescription(local); err != nil {
		return "", err
	}
	<-complete
	return peer.LocalDescription().SDP, nil
}

// take keeps a track's pictures as a byte stream.
func (s *server) take(track *webrtc.TrackRemote) {
	close(s.joined)
	var depacketizer codecs.H264Packet
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		part, err := depacketizer.Unmarshal(packet.Payload)
		if err != nil {
			s.t.Error(err)
			return
		}
		s.mu.Lock()
		s.stream.Write(part)
		if packet.Marker {
			s.units++
		}
		s.mu.Unlock()
	}
}

// await waits until cond, which is called under the lock, holds.
func (s *server) await(what string, cond func() bool) {
	s.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		s.mu.Lock()
		holds := cond()
		s.mu.Unlock()
		if holds {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			s.t.Fatalf("no %s in time", what)
		}
	}
}

// pushing runs Publish until stop, which gives what it returned.
func pushing(t *testing.T, to *url.URL, from *pictures, cfg push.Config) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- push.Publish(ctx, streams.Receiver{URL: to, Secret: "bearer-1"}, from.frames[0].Params, from, cfg)
	}()
	return func() error { cancel(); return <-ended }
}

func TestPicturesArriveAndTheSessionIsDeleted(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp %v", tcp), func(t *testing.T) {
			s := &server{t: t, tcp: tcp}
			from := clip(t)
			stop := pushing(t, s.serve(), from, push.Config{})
			s.await("pictures", func() bool { return s.units > 60 })
			if err := s.peer.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(s.peer.GetReceivers()[0].Track().SSRC())}}); err != nil {
				t.Fatal(err)
			}
			s.await("the group again", func() bool { from.mu.Lock(); defer from.mu.Unlock(); return from.again == 1 || s.units > 400 })
			if err := stop(); !errors.Is(err, context.Canceled) {
				t.Errorf("ended by %v", err)
			}
			want := []string{"POST /whip/cam Bearer bearer-1", "DELETE /whip/session-1 Bearer bearer-1"}
			if diff := cmp.Diff(want, s.asked); diff != "" {
				t.Error(diff)
			}
			s.mu.Lock()
			stream := bytes.Clone(s.stream.Bytes()) // what is on its way still comes
			s.mu.Unlock()
			decodes(t, stream, 50)
		})
	}
}

// decodes has ffmpeg decode a byte stream without a complaint.
func decodes(t *testing.T, stream []byte, least int) {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("ffmpeg is not there to decode the pictures")
	}
	cmd := exec.Command(ffmpeg, "-v", "error", "-f", "h264", "-i", "-", "-vf", "scale=8:8,format=gray", "-f", "rawvideo", "-")
	cmd.Stdin = bytes.NewReader(stream)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pixels, err := cmd.Output()
	if n := len(pixels) / 64; err != nil || complaints.Len() > 0 || n < least {
		t.Errorf("%d pictures, %v, %s", n, err, complaints.String())
	}
}

func TestAReceiverThatGoesEndsThePublication(t *testing.T) {
	s := &server{t: t}
	to := s.serve()
	ended := make(chan error, 1)
	from := clip(t)
	go func() {
		ended <- push.Publish(t.Context(), streams.Receiver{URL: to}, from.frames[0].Params, from, push.Config{Silence: 2 * time.Second})
	}()
	s.await("pictures", func() bool { return s.units > 5 })
	if err := s.peer.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if problem(err) != push.CodeLost {
			t.Errorf("ended by %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
}

func problem(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return fmt.Sprint(err)
}

func TestReceiversThatAreOfNoUse(t *testing.T) {
	nowhere := func(context.Context, *url.URL) func(netip.Addr) bool { return func(netip.Addr) bool { return false } }
	only := func(at string) func(context.Context, *url.URL) func(netip.Addr) bool {
		return func(context.Context, *url.URL) func(netip.Addr) bool {
			return func(a netip.Addr) bool { return a == netip.MustParseAddr(at) }
		}
	}
	here := func(context.Context, *url.URL) func(netip.Addr) bool { return netip.Addr.IsLoopback }
	tests := []struct {
		name   string
		server server
		cfg    push.Config
		codec  streams.Codec
		want   string
	}{
		{"refuses", server{status: 403}, push.Config{}, "", push.CodeRefused},
		{"redirects", server{status: 307}, push.Config{}, "", push.CodeRefused},
		{"answers rubbish", server{garble: true}, push.Config{}, "", push.CodeGarbled},
		{"wants them where they may not go", server{}, push.Config{Allow: nowhere}, "", push.CodeElsewhere},
		{"wants them at the cloud's metadata", server{media: "169.254.169.254"}, push.Config{Allow: here}, "", push.CodeElsewhere},
		{"knocks from where they may not go", server{media: "127.0.0.77"}, push.Config{Allow: only("127.0.0.77"), Timeout: 2 * time.Second}, "", push.CodeNoWay},
		{"MJPEG", server{}, push.Config{}, streams.MJPEG, "codec_not_pushed"},
	}
	for i := range tests {
		tt := &tests[i]
		t.Run(tt.name, func(t *testing.T) {
			tt.server.t = t
			from := clip(t)
			params := *from.frames[0].Params
			if tt.codec != "" {
				params.Codec = tt.codec
			}
			err := push.Publish(t.Context(), streams.Receiver{URL: tt.server.serve(), Secret: "bearer-1"}, &params, from, tt.cfg)
			if problem(err) != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), "secret") {
				t.Errorf("the address is told: %v", err)
			}
		})
	}
}

func TestBFramesAreNotPushed(t *testing.T) {
	s := &server{t: t}
	from := clip(t)
	b := &reordering{from}
	err := push.Publish(t.Context(), streams.Receiver{URL: s.serve()}, from.frames[0].Params, b, push.Config{})
	if problem(err) != "b_frames" {
		t.Errorf("got %v", err)
	}
}

type reordering struct{ *pictures }

func (r *reordering) Next(ctx context.Context) (*streams.Frame, bool, error) {
	f, late, err := r.pictures.Next(ctx)
	if err == nil {
		f.PTS += 40 * time.Millisecond
	}
	return f, late, err
}
