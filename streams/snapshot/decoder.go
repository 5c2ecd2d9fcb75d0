package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"offsite/streams"
)

var (
	errNoDecoder = errors.New("no ffmpeg")
	errDamaged   = errors.New("damaged")
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

// decoder runs ffmpeg children, a few at a time.
type decoder struct {
	path   string
	limits Limits
	log    *slog.Logger
	turn   *semaphore.Weighted
	loose  atomic.Bool // namespaces are refused here: children run without
}

func newDecoder(cfg Config) *decoder {
	return &decoder{path: cfg.FFmpeg, limits: cfg.Limits, log: cfg.Log, turn: semaphore.NewWeighted(children)}
}

// jpeg decodes a key frame to a full-range JPEG. It returns errDamaged when
// the frame is at fault, errNoDecoder when there is nothing to decode with.
func (d *decoder) jpeg(ctx context.Context, frame *streams.Frame) ([]byte, error) {
	if d.path == "" {
		return nil, errNoDecoder
	}
	if err := d.turn.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer d.turn.Release(1)
	picture, err := d.run(ctx, frame, !d.loose.Load())
	if errors.Is(err, errNamespace) {
		if !d.loose.Swap(true) {
			d.log.Warn("ffmpeg cannot be put into its own network namespace here; it runs with the protocol whitelist alone", "err", err)
		}
		picture, err = d.run(ctx, frame, false)
	}
	return picture, err
}

// errNamespace says that the system refuses new namespaces.
var errNamespace = errors.New("namespaces refused")

func (d *decoder) run(ctx context.Context, frame *streams.Frame, apart bool) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, d.limits.Time)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.path, arguments(frame.Params.Codec)...) //nolint:gosec // the path is the owner's
	out, said := &bounded{max: maxJPEG, stop: cancel}, &bounded{max: maxSaid}
	cmd.Stdout, cmd.Stderr = out, said
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = attributes(apart)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	if err := cmd.Start(); err != nil {
		_ = in.Close()
		if apart && refused(err) {
			return nil, fmt.Errorf("%w: %w", errNamespace, err)
		}
		return nil, fmt.Errorf("ffmpeg: %w", err)
	}
	// The child has read nothing of the camera before its limits are set.
	if err := confine(cmd.Process.Pid, d.limits); err != nil {
		cancel()
		_ = in.Close()
		_ = cmd.Wait()
		return nil, fmt.Errorf("ffmpeg: set limits: %w", err)
	}
	// A child that ends early breaks this pipe; its exit says why.
	_, _ = in.Write(frame.AnnexB())
	_ = in.Close()
	return d.verdict(ctx, cmd.Wait(), out, said.String())
}

// verdict tells a damaged frame from a decoder that failed by itself.
func (d *decoder) verdict(ctx context.Context, err error, out *bounded, said string) ([]byte, error) {
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
func arguments(codec streams.Codec) []string {
	demuxer := "h264"
	if codec == streams.H265 {
		demuxer = "hevc"
	}
	return []string{
		"-hide_banner", "-loglevel", "error",
		"-protocol_whitelist", "pipe", "-err_detect", "explode", "-xerror",
		"-threads", "1", "-f", demuxer, "-i", "pipe:0",
		"-frames:v", "1", "-an", "-vf", "scale=out_range=full,format=yuvj420p", "-filter_threads", "1",
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
