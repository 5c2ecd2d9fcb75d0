package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"offsite/streams"
)

// Limits bound an ffmpeg child. Camera bytes are not to be trusted.
type Limits struct {
	Time   time.Duration // of the wall clock; 8 s
	CPU    time.Duration // rounded up to seconds; 5 s
	Memory int64         // bytes of address space; 1 GiB, of which 1080p touches some 70 MiB
}

func (l *Limits) setDefaults() {
	if l.Time <= 0 {
		l.Time = 8 * time.Second
	}
	if l.CPU <= 0 {
		l.CPU = 5 * time.Second
	}
	if l.Memory <= 0 {
		l.Memory = 1 << 30
	}
}

const (
	maxJPEG = 32 << 20 // bytes taken from a child
	maxSaid = 4 << 10  // bytes of its error text
)

// child runs ffmpeg, one process for each picture, behind the walls of
// confine_linux.go.
type child struct {
	path   string
	limits Limits
	log    *slog.Logger
	walls  atomic.Int32 // what the system grants; see walls
	tell   sync.Once    // of walls that are missing
}

// jpeg decodes a key frame and what follows it, and gives the last frame as a
// full-range JPEG. It returns errDamaged when the frames are at fault.
func (c *child) jpeg(ctx context.Context, group []*streams.Frame) ([]byte, error) {
	for {
		behind := walls(c.walls.Load())
		picture, err := c.run(ctx, group, behind)
		if !errors.Is(err, errWalls) || behind == ownUser {
			return picture, err
		}
		if c.walls.CompareAndSwap(int32(behind), int32(behind+1)) {
			c.log.Warn("ffmpeg cannot be given a user and namespaces of its own here", "err", err)
		}
	}
}

// errWalls says that the system refuses a user or namespaces.
var errWalls = errors.New("refused by the system")

func (c *child) run(ctx context.Context, group []*streams.Frame, behind walls) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.limits.Time)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.path, arguments(group)...) //nolint:gosec // the path is the owner's
	out, said := &bounded{max: maxJPEG, stop: cancel}, &bounded{max: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = behind.attributes()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	missing, err := start(cmd)
	if err != nil {
		_ = in.Close()
		if refused(err) {
			return nil, fmt.Errorf("ffmpeg: %w: %w", errWalls, err)
		}
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	if len(missing) > 0 {
		c.tell.Do(func() {
			c.log.Warn("ffmpeg is less confined here than it could be; decoder: sandbox does not depend on the system", "missing", missing)
		})
	}
	// The child has read nothing of the camera before its limits are set.
	if err := confine(cmd.Process.Pid, c.limits); err != nil {
		cancel()
		_ = in.Close()
		_ = cmd.Wait()
		return nil, fmt.Errorf("ffmpeg: set limits: %w", err)
	}
	// A child that ends early breaks this pipe; its exit says why.
	for _, f := range group {
		if _, err := in.Write(f.AnnexB()); err != nil {
			break
		}
	}
	_ = in.Close()
	return verdict(ctx, cmd.Wait(), out, said.String())
}

// verdict tells a damaged frame from a decoder that failed by itself.
func verdict(ctx context.Context, err error, out *bounded, said string) ([]byte, error) {
	said = strings.TrimSpace(said)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("ffmpeg: %w", context.Cause(ctx))
	case errors.As(err, &exit) && exit.ExitCode() > 0 && !ownFault(exit.ExitCode(), said):
		return nil, fmt.Errorf("%w: ffmpeg: %s", errDamaged, firstLine(said))
	case err != nil: // a signal: the limits, or a fault of ffmpeg
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, firstLine(said))
	case out.Len() == 0:
		return nil, fmt.Errorf("%w: ffmpeg gave no picture: %s", errDamaged, firstLine(said))
	}
	return out.Bytes(), nil
}

// ownFault tells that ffmpeg failed for a reason that is not in the frame: it
// could not be loaded, lacks a part, or ran into its memory limit.
func ownFault(code int, said string) bool {
	if code == 126 || code == 127 {
		return true
	}
	for _, s := range []string{"Cannot allocate memory", "Unknown decoder", "Unknown encoder", "Unknown input format", "Unrecognized option", "No such filter", "Option not found"} {
		if strings.Contains(said, s) {
			return true
		}
	}
	return false
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// arguments of the child. explode and xerror make every decoding fault an
// exit status; one thread keeps its memory small; the scaler turns the usual
// limited range of video into the full range of JPEG.
func arguments(group []*streams.Frame) []string {
	demuxer, filter := "h264", "scale=out_range=full,format=yuvj420p"
	if group[0].Params.Codec == streams.H265 {
		demuxer = "hevc"
	}
	if last := len(group) - 1; last > 0 {
		place := 0 // in the order of showing
		for _, f := range group[:last] {
			if f.PTS < group[last].PTS {
				place++
			}
		}
		filter = "select=eq(n\\," + strconv.Itoa(place) + ")," + filter
	}
	return []string{
		"-hide_banner", "-loglevel", "error",
		"-protocol_whitelist", "pipe", "-err_detect", "explode", "-xerror",
		"-threads", "1", "-f", demuxer, "-i", "pipe:0",
		"-frames:v", "1", "-an", "-vf", filter, "-filter_threads", "1",
		"-threads", "1", "-c:v", "mjpeg", "-q:v", "3", "-f", "mjpeg", "pipe:1",
	}
}

// bounded gathers at most max bytes; beyond, it stops the child or, without
// stop, drops the rest.
type bounded struct {
	bytes.Buffer
	max  int
	stop func()
}

// Write never fails, or the child would get a broken pipe in place of its verdict.
func (b *bounded) Write(p []byte) (int, error) {
	n := len(p)
	if b.Len()+n > b.max {
		if b.stop != nil {
			b.stop()
		}
		p = p[:max(0, b.max-b.Len())]
	}
	b.Buffer.Write(p)
	return n, nil
}
