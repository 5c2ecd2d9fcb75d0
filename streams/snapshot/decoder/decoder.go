// Package decoder decodes pictures of H.264 and H.265 inside a WebAssembly
// sandbox: bytes of a camera meet libavcodec where there is no file, no
// network, no clock and no memory but the module's own.
//
// The module is picture.wasm, packed as picture.wasm.gz: picture.c linked with
// libavcodec, built by the script build beside it and named with its sources in
// NOTICE. Any WASI program (wasi_snapshot_preview1) may stand in its place that
// keeps this contract, version 2; numbers are little-endian:
//
//	arguments   picture h264|h265 MAX_PIXELS MAX_BYTES WANTED
//	stdin       a group in the order of decoding, a key frame first: of each access
//	            unit its length (32 bits), the time of its picture (64 bits, signed)
//	            and its bytes, Annex B, at most MAX_BYTES, with the parameter sets
//	            before the key frame. A unit is read when the one before it has been
//	            decoded: the input ends early when the budget does
//	stdout      of the picture whose time is nearest to WANTED: "OSP2", then width,
//	            height, planes (1 or 3), log2 of how much narrower and of how much
//	            lower the colour planes are (32 bits each), its time (64 bits); then
//	            the planes without padding, rounded up in size, 8 bits a sample,
//	            full range as in JFIF
//	memory      exported as "memory"; a growth beyond the limit fails
//	stderr      one line that says why there is no picture
//	exit        0 picture, 1 damaged, 2 refused (too large, format not
//	            supported), 3 fault of its own, of which lack of memory is one
package decoder

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed" // for the module
	"errors"
	"fmt"
	"image"
	"io"
	"iter"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"

	"offsite/streams"
)

// What a decoder answers where there is no picture. Other errors are faults of
// the module: a trap, its memory or its time ran out.
var (
	ErrDamaged  = errors.New("damaged")             // an access unit is at fault
	ErrRefused  = errors.New("refused")             // a picture too large, or of a format nobody needs
	ErrUnusable = errors.New("decoder cannot run")  // there is no module, or this machine cannot run it
	errTime     = errors.New("time limit exceeded") // of one group
)

// Damage is an ErrDamaged of a group: the unit, counted from zero, behind which it was
// found. It is that one, or where pictures are shown in another order than they are sent in, one before it.
type Damage struct {
	Unit int
	said string
}

func (d *Damage) Error() string { return ErrDamaged.Error() + ": " + d.said }

// Unwrap gives ErrDamaged.
func (d *Damage) Unwrap() error { return ErrDamaged }

//go:embed module/picture.wasm.gz
var packed []byte

// Config bounds the decoder.
type Config struct {
	Module string        // file of another module, bare or gzipped; "" is the embedded one
	Cache  string        // directory for the compiled module, made when needed; "" compiles after each start
	Pixels int           // most of one picture; 16 Mi, between 4K (8.3 million) and 8K (33 million)
	Memory int64         // most of one group's memory, bytes; 512 MiB, of which 1080p takes some 60
	Budget time.Duration // after which no more of a group is decoded, and the nearest picture so far is given; 3 s
	Time   time.Duration // most for one group; 8 s
	Idle   time.Duration // after which an unused module gives its memory back; 30 s
}

func (c *Config) setDefaults() {
	if c.Pixels <= 0 {
		c.Pixels = 16 << 20
	}
	if c.Memory <= 0 || c.Memory > 2<<30 {
		c.Memory = 512 << 20
	}
	if c.Budget <= 0 {
		c.Budget = 3 * time.Second
	}
	if c.Time <= 0 {
		c.Time = 8 * time.Second
	}
	if c.Idle <= 0 {
		c.Idle = 30 * time.Second
	}
}

const (
	maxModule = 64 << 20 // bytes of a module
	maxUnit   = 16 << 20 // bytes of an access unit
	pageSize  = 64 << 10 // bytes of WebAssembly memory
)

// Decoder decodes groups of pictures, each in an instance of its own. It is safe for
// use by several goroutines.
type Decoder struct {
	cfg Config

	broken atomic.Pointer[error] // why the module cannot run here; it does not heal

	mu     sync.Mutex // held while the module is compiled, too
	loaded *engine    // nil when nobody decodes and Idle is over
	users  int
	timer  *time.Timer // drops the engine
}

// engine is a runtime with the compiled module.
type engine struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	cache   wazero.CompilationCache
}

// New gives a decoder. Nothing is read or compiled before the first picture.
func New(cfg Config) *Decoder {
	cfg.setDefaults()
	return &Decoder{cfg: cfg}
}

// Usable returns an ErrUnusable when this machine cannot run the module fast
// enough, the module's file cannot be read, or running it has failed before.
func (d *Decoder) Usable() error {
	if broken := d.broken.Load(); broken != nil {
		return *broken
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return fmt.Errorf("%w: WebAssembly is not compiled on %s", ErrUnusable, runtime.GOARCH)
	}
	if d.cfg.Module == "" {
		return nil
	}
	f, err := os.Open(d.cfg.Module)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnusable, err)
	}
	_ = f.Close()
	return nil
}

// Decode gives of a group the picture that is nearest to the wanted time, and its time.
// The group is access units in Annex B by the times of their pictures, in the order of
// decoding: a key frame with its parameter sets, and what follows it up to the wanted
// one. Each is taken when those before it have been decoded; those that the
// budget does not allow are left out, and the picture is then one before.
//
// The picture is an *image.YCbCr in full range, or an *image.Gray. A unit that is damaged, or
// depends on one that is missing, is a [Damage], whether or not its own picture
// is the wanted one. Other errors are this package's, faults of the module, or ctx's cause.
func (d *Decoder) Decode(ctx context.Context, codec streams.Codec, group iter.Seq2[time.Duration, []byte], wanted time.Duration) (image.Image, time.Duration, error) {
	if err := d.Usable(); err != nil {
		return nil, 0, err
	}
	e, err := d.acquire(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer d.release()
	in := feed(group, d.budget(ctx))
	defer in.stop()
	out := &planes{pixels: d.cfg.Pixels}
	said := &line{}
	args := []string{"picture", string(codec), strconv.Itoa(d.cfg.Pixels), strconv.Itoa(maxUnit), strconv.FormatInt(int64(wanted), 10)}
	if err := d.run(ctx, e, wazero.NewModuleConfig().WithName("").WithArgs(args...).WithStdin(in).WithStdout(out).WithStderr(said)); err != nil {
		return nil, 0, verdict(ctx, err, in.begun-1, said.String())
	}
	return out.picture()
}

// budget is when no further unit is begun: a quarter of what ctx leaves is kept for
// the one under way and for handing the picture out.
func (d *Decoder) budget(ctx context.Context) time.Time {
	left := d.cfg.Budget
	if end, bounded := ctx.Deadline(); bounded {
		left = min(left, time.Until(end)*3/4)
	}
	return time.Now().Add(left)
}

// run runs the module once, to its end or that of its time or memory.
func (d *Decoder) run(ctx context.Context, e *engine, cfg wazero.ModuleConfig) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d.cfg.Time, errTime)
	defer cancel()
	b, free, err := reserve(d.cfg.Memory)
	if err != nil {
		return fmt.Errorf("reserve memory: %w", err)
	}
	defer free()
	mem := &memory{all: b}
	instance, err := e.runtime.InstantiateModule(mem.into(ctx), e.module, cfg)
	if instance != nil {
		_ = instance.Close(context.WithoutCancel(ctx))
	}
	var exit *sys.ExitError
	switch {
	case errors.As(err, &exit) && exit.ExitCode() == 0:
		return nil
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && mem.short: // whatever the module made of it
		return fmt.Errorf("more than %d MiB of memory wanted", d.cfg.Memory>>20)
	}
	return err
}

// verdict says what the end of the module means, which has taken units up to last.
func verdict(ctx context.Context, err error, last int, said string) error {
	var exit *sys.ExitError
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return &Damage{Unit: last, said: said}
	case errors.As(err, &exit) && exit.ExitCode() == 2:
		return fmt.Errorf("%w: %s", ErrRefused, said)
	case errors.As(err, &exit):
		return fmt.Errorf("decoder module: exit %d: %s", exit.ExitCode(), said)
	}
	return fmt.Errorf("decoder module: %w", firstLine(err))
}

// acquire gives the engine, which is loaded when nobody had it.
func (d *Decoder) acquire(ctx context.Context) (*engine, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.loaded == nil {
		e, err := d.load(context.WithoutCancel(ctx)) // the next one wants it too
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrUnusable, err)
			d.broken.Store(&err)
			return nil, err
		}
		d.loaded = e
	}
	d.users++
	return d.loaded, nil
}

// release has the engine dropped when nobody wants it for a while.
func (d *Decoder) release() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.users--
	if d.users > 0 {
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(d.cfg.Idle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == timer && d.users == 0 {
			d.drop()
		}
	})
	d.timer = timer
}

// Close gives the memory back at once when nobody decodes. The decoder can
// still be used.
func (d *Decoder) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users == 0 {
		d.drop()
	}
}

func (d *Decoder) drop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.loaded != nil {
		d.loaded.close()
		d.loaded = nil
	}
}

// load compiles the module, or takes its code from the cache. A cache that
// cannot be written, on a full disk for one, is done without.
func (d *Decoder) load(ctx context.Context) (*engine, error) {
	code, err := d.module()
	if err != nil {
		return nil, err
	}
	if d.cfg.Cache != "" {
		if cache, err := wazero.NewCompilationCacheWithDir(d.cfg.Cache); err == nil {
			if e, err := d.compile(ctx, code, cache); err == nil {
				return e, nil
			}
		}
	}
	return d.compile(ctx, code, wazero.NewCompilationCache())
}

func (d *Decoder) compile(ctx context.Context, code []byte, cache wazero.CompilationCache) (*engine, error) {
	e := &engine{cache: cache}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCloseOnContextDone(true).WithCompilationCache(cache))
	_, err := wasi_snapshot_preview1.Instantiate(ctx, e.runtime)
	if err == nil {
		e.module, err = e.runtime.CompileModule(ctx, code)
	}
	if err == nil {
		err = d.fits(e.module)
	}
	if err != nil {
		e.close()
		return nil, fmt.Errorf("compile the decoder: %w", err)
	}
	return e, nil
}

// fits says what a module lacks to be run at all.
func (d *Decoder) fits(module wazero.CompiledModule) error {
	mem, ok := module.ExportedMemories()["memory"]
	switch {
	case !ok:
		return errors.New("the module exports no memory")
	case int64(mem.Min())*pageSize > d.cfg.Memory:
		return fmt.Errorf("the module begins with %d KiB of memory, %d are allowed", int64(mem.Min())*pageSize>>10, d.cfg.Memory>>10)
	}
	return nil
}

func (e *engine) close() {
	_ = e.runtime.Close(context.Background())
	_ = e.cache.Close(context.Background())
}

// module gives the bare module.
func (d *Decoder) module() ([]byte, error) {
	data := packed
	if d.cfg.Module != "" {
		var err error
		if data, err = os.ReadFile(d.cfg.Module); err != nil {
			return nil, fmt.Errorf("read the decoder: %w", err)
		}
		if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
			return data, nil
		}
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("unpack the decoder: %w", err)
	}
	code, err := io.ReadAll(io.LimitReader(z, maxModule+1))
	if err != nil {
		return nil, fmt.Errorf("unpack the decoder: %w", err)
	}
	if len(code) > maxModule {
		return nil, fmt.Errorf("unpack the decoder: more than %d MiB", maxModule>>20)
	}
	return code, nil
}
