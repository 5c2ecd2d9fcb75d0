package rtsptest

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4"
	"github.com/bluenviron/gortsplib/v4/pkg/description"
	"github.com/bluenviron/gortsplib/v4/pkg/format"
	"github.com/pion/rtp"

	"offsite/streams"
)

const (
	payloadType = 96
	clockRate   = 90000 // Hz, of H.264 and H.265 over RTP
)

// Camera is one path of the server. Its methods, safe for use at any time, make
// it misbehave.
type Camera struct {
	path  string
	first int // picture of its first clip that it begins with

	mu             sync.Mutex
	clip           *Clip
	user, password string
	stalled        bool
	gone           bool
	damage         bool
	noVideo, bare  bool
	lose           int                     // one packet in so many is not sent; 0: all are
	sent           int                     // packets
	stream         *gortsplib.ServerStream // nil while the camera is gone or the server does not run
	media          *description.Media
	encode         func([][]byte) ([]*rtp.Packet, error)
}

// Stall stops the pictures while the connection stays, or lets them go on.
func (c *Camera) Stall(on bool) {
	c.mu.Lock()
	c.stalled = on
	c.mu.Unlock()
}

// Damage cuts the second half off each key frame from now on, or stops it.
func (c *Camera) Damage(on bool) {
	c.mu.Lock()
	c.damage = on
	c.mu.Unlock()
}

// Lose leaves out one packet in every n, as a bad network does; 0 sends all.
func (c *Camera) Lose(n int) {
	c.mu.Lock()
	c.lose = n
	c.mu.Unlock()
}

// Play changes the clip at the next picture; with another resolution the new
// parameter sets come in band, as a real camera does it. The codec must stay.
func (c *Camera) Play(clip *Clip) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if clip.codec != c.clip.codec {
		return fmt.Errorf("camera plays %s, clip is %s", c.clip.codec, clip.codec)
	}
	c.clip = clip
	return nil
}

// Protect changes who is let in; an empty user lets everyone in. Who is
// connected stays.
func (c *Camera) Protect(user, password string) {
	c.mu.Lock()
	c.user, c.password = user, password
	c.mu.Unlock()
}

// Disappear breaks all connections and answers "not found", or comes back.
func (c *Camera) Disappear(on bool) {
	c.mu.Lock()
	c.gone = on
	stream := c.stream
	if on {
		c.stream = nil
	}
	c.mu.Unlock()
	if on && stream != nil {
		stream.Close()
	}
}

// begin opens the camera's stream.
func (c *Camera) begin(server *gortsplib.Server) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return nil
	}
	return c.open(server, c.clip)
}

// run plays until ctx ends: each picture at its time, whatever the writing takes.
func (c *Camera) run(ctx context.Context, server *gortsplib.Server) error {
	defer func() {
		c.mu.Lock()
		stream := c.stream
		c.stream = nil
		c.mu.Unlock()
		if stream != nil {
			stream.Close()
		}
	}()
	began := time.Now()
	c.mu.Lock()
	clip := c.clip
	c.mu.Unlock()
	var at time.Duration // of the picture since began
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := c.first; ; i++ {
		timer.Reset(time.Until(began.Add(at)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		c.mu.Lock()
		if clip != c.clip || i >= len(clip.units) {
			clip, i = c.clip, 0
		}
		err := c.show(server, clip, i, at)
		c.mu.Unlock()
		if err != nil {
			return err
		}
		at += clip.every
	}
}

// show sends picture i of clip; c.mu is held.
func (c *Camera) show(server *gortsplib.Server, clip *Clip, i int, at time.Duration) error {
	if c.gone {
		return nil
	}
	if c.stream == nil {
		if err := c.open(server, clip); err != nil {
			return err
		}
	}
	if c.stalled {
		return nil
	}
	unit := clip.units[i]
	if c.damage && clip.keys[i] {
		unit = halve(unit)
	}
	packets, err := c.encode(unit)
	if err != nil {
		return fmt.Errorf("packetise picture %d: %w", i, err)
	}
	stamp := uint32(uint64(math.Round(at.Seconds() * clockRate))) //nolint:gosec // RTP time wraps
	for _, p := range packets {
		p.Timestamp = stamp
		c.sent++
		if c.lose > 0 && c.sent%c.lose == 0 {
			continue
		}
		if err := c.stream.WritePacketRTP(c.media, p); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	return nil
}

// open makes the stream of the camera; c.mu is held.
func (c *Camera) open(server *gortsplib.Server, clip *Clip) error {
	var f format.Format
	params := *clip.params
	if c.bare {
		params.VPS, params.SPS, params.PPS = nil, nil, nil
	}
	switch {
	case c.noVideo:
		f = &format.G711{PayloadTyp: 8, SampleRate: 8000, ChannelCount: 1}
		c.encode = func([][]byte) ([]*rtp.Packet, error) { return nil, nil }
	case clip.codec == streams.H265:
		h := &format.H265{PayloadTyp: payloadType, VPS: params.VPS, SPS: params.SPS, PPS: params.PPS}
		e, err := h.CreateEncoder()
		if err != nil {
			return err
		}
		f, c.encode = h, e.Encode
	default:
		h := &format.H264{PayloadTyp: payloadType, SPS: params.SPS, PPS: params.PPS, PacketizationMode: 1}
		e, err := h.CreateEncoder()
		if err != nil {
			return err
		}
		f, c.encode = h, e.Encode
	}
	kind := description.MediaTypeVideo
	if c.noVideo {
		kind = description.MediaTypeAudio
	}
	c.media = &description.Media{Type: kind, Formats: []format.Format{f}}
	stream := &gortsplib.ServerStream{Server: server, Desc: &description.Session{Medias: []*description.Media{c.media}}}
	if err := stream.Initialize(); err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	c.stream = stream
	return nil
}

// halve cuts the largest NAL unit, the slice, in two and keeps the first half:
// an unchecked decoder makes a half-grey picture of it.
func halve(unit [][]byte) [][]byte {
	out := append([][]byte(nil), unit...)
	largest := 0
	for i := range out {
		if len(out[i]) > len(out[largest]) {
			largest = i
		}
	}
	out[largest] = out[largest][:len(out[largest])/2]
	return out
}
