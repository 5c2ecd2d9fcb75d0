package platformtest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"offsite/edge/dispatch"
	"offsite/edge/dispatch/wire"
)

// Config is how a reference platform behaves when it behaves.
type Config struct {
	Codes        []string           // activation codes that may be used once; see also [Platform.Code]
	Subscription *wire.Subscription // given at enrolment; nil means every point every second
	Algorithm    wire.Algorithm     // of the keys it gives; empty means HMAC-SHA256
	Redeliver    time.Duration      // rest before an unanswered command is handed over again; zero means 10 s
	Conflict     bool               // answer a repeated key 409 duplicate instead of 200 with the first answer
	Dir          string             // keeps what was accepted across restarts; empty means memory
	OnEvent      func(Event)        // called after each accepted event message, from many goroutines; may be nil
	Now          func() time.Time   // nil means time.Now
	Log          *slog.Logger
}

func (c *Config) setDefaults() {
	if c.Subscription == nil {
		c.Subscription = &wire.Subscription{Items: []wire.SubscriptionItem{{Points: []string{"*"}, EverySeconds: 1}}}
	}
	if c.Algorithm == "" {
		c.Algorithm = wire.AlgorithmHMACSHA256
	}
	if c.Redeliver <= 0 {
		c.Redeliver = 10 * time.Second
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Platform is a reference platform. It is an http.Handler; its methods may be
// called from many goroutines.
type Platform struct {
	cfg     Config
	doc     *openapi3.T
	router  routers.Router
	journal *os.File // nil in memory

	mu      sync.Mutex
	faults  []*Fault
	answers map[string]record // by operation and idempotency key
	nonces  map[string]time.Time
	keys    map[string]*signer // by key id
	state   received
	queues  map[string]*queue // commands by gateway
	closing chan struct{}     // closed when Run ends, so that hanging answers end
}

// signer is a key that a gateway may sign with.
type signer struct {
	gateway string
	key     wire.Key
	used    bool      // it has signed a request
	ends    time.Time // zero: it lives on
}

// contract reads the contract, once for all platforms: that takes longer than
// most tests.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(dispatch.Contract())
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

// Open makes a platform and reads again what an earlier one in the same
// directory had accepted.
func Open(cfg Config) (*Platform, error) {
	cfg.setDefaults()
	doc, err := contract()
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("contract: %w", err)
	}
	p := &Platform{
		cfg: cfg, doc: doc, router: router,
		answers: make(map[string]record), nonces: make(map[string]time.Time), keys: make(map[string]*signer),
		queues: make(map[string]*queue), closing: make(chan struct{}), state: newReceived(),
	}
	for _, code := range cfg.Codes {
		p.state.codes[code] = true
	}
	if cfg.Dir != "" {
		if err := p.restore(); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Listen opens a listener for Run; addr "127.0.0.1:0" lets the system choose.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	return (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
}

// Run serves on ln until ctx ends. It breaks off what hangs then.
func (p *Platform) Run(ctx context.Context, ln net.Listener) error {
	server := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(p.cfg.Log.Handler(), slog.LevelDebug)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("reference platform: %w", err)
	case <-ctx.Done():
	}
	p.Close()
	if err := server.Close(); err != nil {
		p.cfg.Log.Debug("closing", "err", err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("reference platform: %w", err)
	}
	return context.Cause(ctx)
}

// Close ends whatever hangs and closes the journal. Run calls it; a test that
// mounts the handler elsewhere calls it itself.
func (p *Platform) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.closing:
		return
	default:
		close(p.closing)
	}
	if p.journal != nil {
		_ = p.journal.Close() // nothing is written to it any more
	}
}

// Code gives a new activation code that may be used once.
func (p *Platform) Code() string {
	code := random(5)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.codes[code] = true
	return code
}

// random gives 2n hex digits.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}

// Gateways gives the ids of the enrolled gateways, in order of enrolment.
func (p *Platform) Gateways() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.gateways)
}

// AskResync makes the next heartbeat's answer ask for a full run of resources.
func (p *Platform) AskResync() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.askResync = true
}

// AskRotation makes the next heartbeat's answer ask for new keys.
func (p *Platform) AskRotation() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.askRotation = true
}
