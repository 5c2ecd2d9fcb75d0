package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/streams"
)

// The time code that is drawn into each picture: so many squares in its first
// row, white for 1, the lowest bit first, of the Unix time in milliseconds.
const (
	codeBits   = 20
	codeSquare = 32
	codedWide  = codeBits * codeSquare
	codedHigh  = 360
	codedRate  = 25
)

// codedCamera publishes pictures that show when they were taken, coded in H.264
// as they are drawn, until ctx ends.
func codedCamera(ctx context.Context, feed *streams.Feed) error {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		return errors.New("ffmpeg is absent: it codes the pictures")
	}
	g, ctx := errgroup.WithContext(ctx)
	cmd := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-loglevel", "error", "-probesize", "32", "-fflags", "nobuffer", //nolint:gosec // numbers only
		"-f", "rawvideo", "-pix_fmt", "gray", "-s", fmt.Sprintf("%dx%d", codedWide, codedHigh), "-r", fmt.Sprint(codedRate), "-i", "-",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-profile:v", "baseline", "-pix_fmt", "yuv420p", "-crf", "24",
		"-g", fmt.Sprint(codedRate), "-threads", "1", "-flush_packets", "1", "-f", "flv", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	g.Go(func() error { return draw(ctx, in) })
	g.Go(func() error { return publishFLV(bufio.NewReaderSize(out, 1<<20), feed) })
	err = g.Wait()
	_ = cmd.Wait()
	return err
}

// draw writes a picture of now at each turn.
func draw(ctx context.Context, out io.WriteCloser) error {
	defer func() { _ = out.Close() }()
	picture := make([]byte, codedWide*codedHigh)
	for i := codedWide * codeSquare; i < len(picture); i++ {
		picture[i] = byte(i / codedWide) // a slope below, so that there is something to code
	}
	turn := time.NewTicker(time.Second / codedRate)
	defer turn.Stop()
	for n := 0; ; n++ {
		now := time.Now().UnixMilli()
		for x := range codedWide {
			shade := byte(16)
			if now>>(x/codeSquare)&1 == 1 {
				shade = 235
			}
			for y := range codeSquare {
				picture[y*codedWide+x] = shade
			}
			picture[(codeSquare+1+n%300)*codedWide+x] ^= 0x3f // something that moves
		}
		if _, err := out.Write(picture); err != nil {
			return err
		}
		select {
		case <-turn.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// publishFLV publishes the video tags of an FLV stream (Adobe's specification
// 10.1, annex E) as they come.
func publishFLV(in io.Reader, feed *streams.Feed) error {
	if _, err := io.CopyN(io.Discard, in, 9+4); err != nil {
		return err
	}
	assembler := streams.NewAssembler(streams.H264, nil, nil, nil)
	feed.Connected()
	for head := make([]byte, 11); ; {
		if _, err := io.ReadFull(in, head); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(head[:4]) & 0xffffff)
		body := make([]byte, size+4) // and the size once more
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		at := time.Duration(binary.BigEndian.Uint32(head[3:7])&0xffffff) * time.Millisecond
		if head[0] != 9 || size < 6 {
			continue
		}
		var units [][]byte
		if body[1] == 0 { // avcC (ISO 14496-15, 5.3.3.1), one set of each
			rest := body[5+6 : size]
			for range 2 {
				n := int(binary.BigEndian.Uint16(rest))
				units = append(units, rest[2:2+n])
				rest = rest[min(len(rest), 2+n+1):]
			}
			assembler = streams.NewAssembler(streams.H264, nil, units[0], units[1])
			continue
		}
		for rest := body[5:size]; len(rest) > 4; {
			n := int(binary.BigEndian.Uint32(rest))
			units = append(units, rest[4:4+n])
			rest = rest[4+n:]
		}
		f, err := assembler.Frame(units, at, time.Now())
		if err != nil {
			return err
		}
		if f != nil {
			feed.Publish(f)
		}
	}
}
