package whep_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/webrtc/v4"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/whep"
)

var local = whep.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}

// sent is what a viewer ought to put together from the camera's frame i.
func (c *camera) sent(i int) [][]byte {
	f := c.frames[i%len(c.frames)]
	if f.Key {
		return append(f.Params.Sets(), f.NALUs...)
	}
	return f.NALUs
}

func TestJoiningViewerGetsTheGroupWholeAndThenTheLivePictures(t *testing.T) {
	for name, network := range map[string]webrtc.NetworkType{"UDP": webrtc.NetworkTypeUDP4, "TCP": webrtc.NetworkTypeTCP4} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, local)
			cam := newCamera(t)
			cam.show(14) // of the 15 of a group
			v := newViewer(t, network)
			_, ended := v.watch(s, whep.NewTrack(cam.feed))
			var got []picture
			for i := range 14 {
				p := v.next()
				if diff := cmp.Diff(cam.sent(i), p.units); diff != "" {
					t.Fatalf("picture %d: %s", i, diff)
				}
				got = append(got, p)
			}
			if !got[0].key || got[1].key {
				t.Errorf("key frames: %v %v", got[0].key, got[1].key)
			}
			if span := got[12].stamp - got[0].stamp; span > 90*100 {
				t.Errorf("the old group spans %d ms: the player would stay that far behind", span/90)
			}
			cam.play(t, 40*time.Millisecond)
			a, b := v.next(), v.next()
			if diff := cmp.Diff(cam.sent(14), a.units); diff != "" {
				t.Error(diff)
			}
			if b.stamp-a.stamp != 3600 {
				t.Errorf("live pictures are %d ticks apart, want 3600", b.stamp-a.stamp)
			}
			if err := v.peer.GracefulClose(); err != nil {
				t.Fatal(err)
			}
			end := <-ended
			// The word of leaving is lost where the viewer's TCP connection is reset by what it had not read.
			left := errors.Is(end.Why, whep.ErrLeft) || (name == "TCP" && errors.Is(end.Why, whep.ErrGone))
			if !left || end.Frames < 16 || end.Bytes < 1000 || end.Took <= 0 {
				t.Errorf("ended %+v", end)
			}
			if s.Sessions() != 0 {
				t.Errorf("%d sessions are left", s.Sessions())
			}
		})
	}
}

func TestPictureLossGetsTheGroupAgain(t *testing.T) {
	s, _ := serve(t, local)
	cam := newCamera(t)
	cam.show(5)
	v := newViewer(t)
	v.watch(s, whep.NewTrack(cam.feed))
	for range 5 {
		v.next()
	}
	time.Sleep(600 * time.Millisecond) // at most one group in half a second
	v.ask()
	time.Sleep(300 * time.Millisecond) // for it to arrive
	cam.show(1)
	last := v.next()
	for i := range 6 {
		p := v.next()
		if diff := cmp.Diff(cam.sent(i), p.units); diff != "" {
			t.Fatalf("picture %d: %s", i, diff)
		}
		if int32(p.stamp-last.stamp) <= 0 {
			t.Errorf("time stamps go back: %d after %d", p.stamp, last.stamp)
		}
		last = p
	}
}

func TestEndings(t *testing.T) {
	begin := func(t *testing.T) (*whep.Server, *camera, *viewer, string, <-chan whep.End) {
		s, _ := serve(t, local)
		cam := newCamera(t)
		cam.show(3)
		v := newViewer(t)
		id, ended := v.watch(s, whep.NewTrack(cam.feed))
		v.next()
		return s, cam, v, id, ended
	}
	t.Run("as the viewer asks", func(t *testing.T) {
		s, _, v, id, ended := begin(t)
		ufrag := v.peer.LocalDescription().SDP
		_, ufrag, _ = strings.Cut(ufrag, "a=ice-ufrag:")
		ufrag, _, _ = strings.Cut(ufrag, "\r\n")
		candidate := "\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n"
		for _, tt := range []struct {
			err  error
			want string
		}{
			{s.Trickle(id, "a=ice-ufrag:"+ufrag+candidate), ""},
			{s.Trickle(id, "a=ice-ufrag:zzzz"+candidate), "ice_restart"},
			{s.Trickle("other", ""), "no_session"},
			{s.Close("other"), "no_session"},
			{s.Close(id), ""},
		} {
			if problem(tt.err) != tt.want {
				t.Errorf("got %v, want %s", tt.err, tt.want)
			}
		}
		if end := <-ended; !errors.Is(end.Why, whep.ErrLeft) {
			t.Errorf("ended by %v", end.Why)
		}
		v.until(webrtc.PeerConnectionStateClosed)
	})
	t.Run("with all others", func(t *testing.T) {
		s, _, v, _, ended := begin(t)
		why := &devices.Problem{Kind: devices.ErrUnavailable, Code: "memory_short", ZH: "内存不足", EN: "memory is short"}
		s.EndAll(why)
		if end := <-ended; !errors.Is(end.Why, why) {
			t.Errorf("ended by %v", end.Why)
		}
		v.until(webrtc.PeerConnectionStateClosed)
	})
	t.Run("with the camera", func(t *testing.T) {
		_, cam, v, _, ended := begin(t)
		cam.feed.Close()
		if end := <-ended; !errors.Is(end.Why, streams.ErrClosed) {
			t.Errorf("ended by %v", end.Why)
		}
		v.until(webrtc.PeerConnectionStateClosed)
	})
	t.Run("with another codec", func(t *testing.T) {
		_, cam, _, _, ended := begin(t)
		params, err := streams.NewPictureParameters(640, 360)
		if err != nil {
			t.Fatal(err)
		}
		cam.feed.Publish(&streams.Frame{Params: params, NALUs: [][]byte{{1, 2, 3}}, Key: true, At: time.Now()})
		if end := <-ended; problem(end.Why) != "codec_not_offered" {
			t.Errorf("ended by %v", end.Why)
		}
	})
	t.Run("with B-frames", func(t *testing.T) {
		_, cam, _, _, ended := begin(t)
		f := *cam.frames[3]
		f.At, f.PTS, f.DTS = time.Now(), 200*time.Millisecond, 160*time.Millisecond
		cam.feed.Publish(&f)
		if end := <-ended; problem(end.Why) != "b_frames" {
			t.Errorf("ended by %v", end.Why)
		}
	})
	t.Run("with the right", func(t *testing.T) {
		s, _ := serve(t, local)
		cam := newCamera(t)
		cam.show(1)
		ended := make(chan whep.End, 1)
		_, err := s.Open(t.Context(), whep.Viewing{
			Track: whep.NewTrack(cam.feed), Offer: newViewer(t).offer(), Holds: func() bool { return false }, Ended: func(e whep.End) { ended <- e },
		})
		if end := <-ended; err != nil || !errors.Is(end.Why, whep.ErrRights) {
			t.Errorf("%v, ended by %v", err, end.Why)
		}
	})
	t.Run("without a connection", func(t *testing.T) {
		s := whep.New(local, nil)
		s.JoinWithin(300 * time.Millisecond)
		run(t, s)
		cam := newCamera(t)
		cam.show(1)
		ended := make(chan whep.End, 1)
		_, err := s.Open(t.Context(), whep.Viewing{Track: whep.NewTrack(cam.feed), Offer: newViewer(t).offer(), Ended: func(e whep.End) { ended <- e }})
		if end := <-ended; err != nil || !errors.Is(end.Why, whep.ErrAbsent) {
			t.Errorf("%v, ended by %v", err, end.Why)
		}
	})
	t.Run("with the server", func(t *testing.T) {
		s := whep.New(local, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ready, over := make(chan struct{}), make(chan error, 1)
		go func() { over <- s.Run(ctx, func(whep.Addresses) { close(ready) }) }()
		<-ready
		cam := newCamera(t)
		cam.show(1)
		v := newViewer(t)
		offer := newViewer(t).offer()
		_, ended := v.watch(s, whep.NewTrack(cam.feed))
		v.next()
		cancel()
		<-over
		select {
		case end := <-ended:
			if !errors.Is(end.Why, context.Canceled) {
				t.Errorf("ended by %v", end.Why)
			}
		default:
			t.Error("Run has returned before its session told of its end")
		}
		if _, err := s.Open(t.Context(), whep.Viewing{Track: whep.NewTrack(cam.feed), Offer: offer}); problem(err) != "webrtc_off" {
			t.Errorf("opened after the end: %v", err)
		}
	})
}

// problem gives the code of a Problem.
func problem(err error) string {
	var p *devices.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

func TestPlacesAreBounded(t *testing.T) {
	cfg := local
	cfg.Sessions, cfg.PerCamera = 2, 1
	s, _ := serve(t, cfg)
	cam := newCamera(t)
	cam.show(1)
	track := whep.NewTrack(cam.feed)
	open := func(track *whep.Track) (string, error) {
		a, err := s.Open(t.Context(), whep.Viewing{Track: track, Offer: newViewer(t).offer()})
		return a.ID, err
	}
	first, err := open(track)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open(track); problem(err) != "webrtc_full" {
		t.Errorf("a second of one camera: %v", err)
	}
	if _, err := open(whep.NewTrack(cam.feed)); err != nil {
		t.Errorf("another camera: %v", err)
	}
	if _, err := open(whep.NewTrack(cam.feed)); problem(err) != "webrtc_full" {
		t.Errorf("a third of all: %v", err)
	}
	if err := s.Close(first); err != nil {
		t.Error(err)
	}
	for track.Viewers() > 0 {
		time.Sleep(time.Millisecond)
	}
	if _, err := open(track); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestOffersAreRefusedWithTheReason(t *testing.T) {
	s, _ := serve(t, local)
	cam := newCamera(t)
	cam.show(3)
	good := newViewer(t).offer()
	silent := streams.NewFeed(streams.FeedConfig{})
	silent.Disconnected(&devices.Problem{Code: "camera_silent", ZH: "无", EN: "silent"})
	jpeg := streams.NewFeed(streams.FeedConfig{})
	params, err := streams.NewPictureParameters(640, 360)
	if err != nil {
		t.Fatal(err)
	}
	jpeg.Connected()
	jpeg.Publish(&streams.Frame{Params: params, NALUs: [][]byte{{1, 2, 3}}, Key: true, At: time.Now()})
	shuffled := newCamera(t)
	shuffled.show(1)
	f := *shuffled.frames[1]
	f.PTS, f.At = f.DTS+80*time.Millisecond, time.Now()
	shuffled.feed.Publish(&f)
	closed := streams.NewFeed(streams.FeedConfig{})
	closed.Close()
	for _, tt := range []struct {
		name, offer string
		feed        *streams.Feed
		want        string
		kind        error
	}{
		{"nothing", "", cam.feed, "bad_offer", devices.ErrInvalid},
		{"no SDP", "hello", cam.feed, "bad_offer", devices.ErrInvalid},
		{"too long", good + strings.Repeat("a=x\r\n", 20000), cam.feed, "bad_offer", devices.ErrInvalid},
		{"sends", strings.ReplaceAll(good, "recvonly", "sendonly"), cam.feed, "bad_offer", devices.ErrInvalid},
		{"no video", strings.Split(good, "m=video")[0], cam.feed, "bad_offer", devices.ErrInvalid},
		{"data", good + "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", cam.feed, "bad_offer", devices.ErrInvalid},
		{"many", good + strings.Repeat("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", 5), cam.feed, "bad_offer", devices.ErrInvalid},
		{"lite", strings.Replace(good, "t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n", 1), cam.feed, "bad_offer", devices.ErrInvalid},
		{"no fingerprint", strings.ReplaceAll(good, "a=fingerprint", "a=finger"), cam.feed, "bad_offer", devices.ErrInvalid},
		{"no credentials", strings.ReplaceAll(good, "a=ice-", "a=x-"), cam.feed, "bad_offer", devices.ErrInvalid},
		{"no H.264", strings.ReplaceAll(good, "H264", "H26X"), cam.feed, "codec_not_offered", devices.ErrConflict},
		{"MJPEG", good, jpeg, "codec_not_offered", devices.ErrConflict},
		{"B-frames", good, shuffled.feed, "b_frames", devices.ErrConflict},
		{"silent", good, silent, "camera_silent", devices.ErrUnavailable},
		{"retired", good, closed, "camera_retired", devices.ErrNotFound},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := s.Open(t.Context(), whep.Viewing{Track: whep.NewTrack(tt.feed), Offer: tt.offer})
			if problem(err) != tt.want || !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if n := tt.feed.State().Readers; n != 0 {
				t.Errorf("%d readers are left", n)
			}
		})
	}
	if s.Sessions() != 0 {
		t.Errorf("%d sessions are left", s.Sessions())
	}
}

// relay passes packets between one viewer and the server; drop says which of
// those to the viewer are lost.
func relay(t *testing.T, server string, drop func(packet []byte) bool) (port string) {
	t.Helper()
	front, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	back, err := net.Dial("udp", server) //nolint:noctx // closed below
	if err != nil {
		t.Fatal(err)
	}
	var viewer sync.Map
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := make([]byte, 2000); ; {
			n, from, err := front.ReadFrom(b)
			if err != nil {
				return
			}
			viewer.Store("", from)
			_, _ = back.Write(b[:n])
		}
	})
	wg.Go(func() {
		for b := make([]byte, 2000); ; {
			n, err := back.Read(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			to, known := viewer.Load("")
			if err == nil && known && !drop(b[:n]) {
				_, _ = front.WriteTo(b[:n], to.(net.Addr))
			}
		}
	})
	t.Cleanup(func() { _, _ = front.Close(), back.Close(); wg.Wait() })
	_, port, _ = net.SplitHostPort(front.LocalAddr().String())
	return port
}

// isRTP tells RTP from STUN, DTLS and RTCP (RFC 7983, RFC 5761).
func isRTP(b []byte) bool { return len(b) > 12 && b[0]&0xc0 == 0x80 && (b[1] < 192 || b[1] > 223) }

func TestLostPacketsAreSentAgain(t *testing.T) {
	s, at := serve(t, whep.Config{UDP: "127.0.0.1:0"})
	cam := newCamera(t)
	cam.show(10)
	count := 0
	var lost atomic.Int64
	port := relay(t, at.UDP, func(b []byte) bool {
		if !isRTP(b) {
			return false
		}
		if count++; count%15 == 0 {
			lost.Add(1)
			return true
		}
		return false
	})
	_, own, _ := net.SplitHostPort(at.UDP)
	v := newViewer(t, webrtc.NetworkTypeUDP4)
	v.watch(s, whep.NewTrack(cam.feed), " "+own+" typ", " "+port+" typ")
	v.until(webrtc.PeerConnectionStateConnected) // before the next group, however slow the machine
	cam.play(t, 40*time.Millisecond)
	for i := range 40 {
		if diff := cmp.Diff(cam.sent(i), v.next().units); diff != "" {
			t.Fatalf("picture %d: %s", i, diff)
		}
	}
	if lost.Load() < 3 {
		t.Errorf("only %d packets were lost: nothing was tried", lost.Load())
	}
}

func TestViewerOnAFullLineLosesWholeGroups(t *testing.T) {
	s, at := serve(t, whep.Config{UDP: "127.0.0.1:0"})
	cam := newCamera(t)
	cam.show(1)
	count := 0
	port := relay(t, at.UDP, func(b []byte) bool { count++; return isRTP(b) && count%3 > 0 })
	_, own, _ := net.SplitHostPort(at.UDP)
	v := newViewer(t, webrtc.NetworkTypeUDP4)
	id, ended := v.watch(s, whep.NewTrack(cam.feed), " "+own+" typ", " "+port+" typ")
	cam.play(t, 10*time.Millisecond)
	v.until(webrtc.PeerConnectionStateConnected)
	time.Sleep(4 * time.Second) // reports of loss come once a second
	if err := s.Close(id); err != nil {
		t.Error(err)
	}
	end := <-ended
	if end.Lost < 50 || end.Frames < 1 {
		t.Errorf("sent %d frames and left out %d; want a line that rests", end.Frames, end.Lost)
	}
}
