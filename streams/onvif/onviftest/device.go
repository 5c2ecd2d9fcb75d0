// Package onviftest is an ONVIF camera, or recorder, for tests and simulation:
// device, media 1 and 2, PTZ, events, recording search and replay over HTTP, and answers to WS-Discovery.
// It checks users as real ones do, by its own clock, and can be told to misbehave.
package onviftest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// How a device asks who somebody is.
const (
	AuthNone   = "none"
	AuthToken  = "token"  // WS-UsernameToken in the SOAP header
	AuthDigest = "digest" // HTTP digest, by 401
	AuthEither = "either" // takes both, and answers 401 to neither
)

// How a device writes XML.
const (
	Usual   = ""        // prefixes as in the standards
	Odd     = "odd"     // other prefixes
	Bare    = "bare"    // no prefixes and no namespaces
	Unbound = "unbound" // prefixes that are not declared
)

// Profile is a stream that the device offers.
type Profile struct {
	Token, Name, Source, Codec string
	Width, Height, Rate        int
	PTZ                        bool
	Stream                     string // path of its RTSP address
}

// Config describes the device.
type Config struct {
	Addr               string // host:port to listen on; 127.0.0.1:0
	Username, Password string
	Auth               string        // AuthToken where there is a user
	Ahead              time.Duration // that its clock is ahead
	Foreign            string        // host that it names in every address in place of its own
	RTSP               int           // port in the addresses of streams; 554
	Profiles           []Profile     // Dome's
	Style              string        // Usual
	Old                bool          // knows GetCapabilities alone
	Media2             bool          // offers Media 2, too
	BrokenMedia2       bool          // names Media 2 and answers it with a fault
	NoPTZ              bool          // names no PTZ service
	NoStill            bool          // offers no still pictures
	Restless           bool          // does not stop by itself when a movement's time is up
	Forgetful          int           // pulls after which it forgets a subscription; 0: never
	ReferenceID        bool          // names subscriptions in reference parameters
	Name               string        // as WS-Discovery tells it

	Recordings    []Recording // what it keeps, as Profile G says; nil: it keeps nothing
	NoHistory     bool        // does not tell when it kept something
	EndlessSearch bool        // never completes a search
}

// Dome is a steerable camera of two streams.
func Dome() []Profile {
	return []Profile{
		{Token: "MainStream", Name: "主码流", Source: "VideoSource_1", Codec: "H265", Width: 2560, Height: 1440, Rate: 25, PTZ: true, Stream: "/Streaming/Channels/101"},
		{Token: "SubStream", Name: "子码流", Source: "VideoSource_1", Codec: "H264", Width: 640, Height: 360, Rate: 15, PTZ: true, Stream: "/Streaming/Channels/102"},
	}
}

// Recorder is an NVR of n channels with two streams each.
func Recorder(n int) []Profile {
	var list []Profile
	for i := 1; i <= n; i++ {
		source := fmt.Sprintf("Channel%d", i)
		list = append(list,
			Profile{Token: fmt.Sprintf("Profile_%d01", i), Name: fmt.Sprintf("通道 %d", i), Source: source, Codec: "H264", Width: 1920, Height: 1080, Rate: 25, Stream: fmt.Sprintf("/ch%d/main", i)},
			Profile{Token: fmt.Sprintf("Profile_%d02", i), Name: fmt.Sprintf("通道 %d 子码流", i), Source: source, Codec: "H264", Width: 704, Height: 576, Rate: 12, Stream: fmt.Sprintf("/ch%d/sub", i)})
	}
	return list
}

// Trouble is how a device misbehaves from now on.
type Trouble struct {
	Slow    time.Duration // before every answer
	Huge    bool          // answers without end
	Garbage string        // answers this
	Fault   string        // answers this action, such as "GetProfiles", with a fault; "*" every
	Deaf    bool          // takes requests and never answers
}

// Device is one camera or recorder.
type Device struct {
	cfg      Config
	listener net.Listener

	mu       sync.Mutex
	trouble  Trouble
	asked    map[string]int // requests by action
	refused  int            // requests whose user was not taken
	velocity [3]float64
	stopAt   time.Time // of a movement; zero: none ends by itself
	stops    int
	looks    string // token of the preset it looks at
	presets  []preset
	subs     map[string]*sub
	nextSub  int
	wake     chan struct{} // closed when an event comes
}

type preset struct{ token, name string }

// sub is a subscription with what waits in it.
type sub struct {
	waiting []string
	pulls   int
}

// Listen opens the socket, so that URL is known; Run serves it.
func Listen(cfg Config) (*Device, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Auth == "" {
		cfg.Auth = AuthNone
		if cfg.Username != "" {
			cfg.Auth = AuthToken
		}
	}
	if cfg.RTSP == 0 {
		cfg.RTSP = 554
	}
	if cfg.Profiles == nil {
		cfg.Profiles = Dome()
	}
	l, err := net.Listen("tcp", cfg.Addr) //nolint:noctx // ends at once
	if err != nil {
		return nil, fmt.Errorf("onvif device: %w", err)
	}
	return &Device{
		cfg: cfg, listener: l, asked: map[string]int{}, subs: map[string]*sub{}, wake: make(chan struct{}),
		presets: []preset{{"1", "大门"}, {"2", "料堆"}},
	}, nil
}

// URL is the address of the device service.
func (d *Device) URL() string {
	return "http://" + d.listener.Addr().String() + "/onvif/device_service"
}

// Port is where the device listens.
func (d *Device) Port() int { return d.listener.Addr().(*net.TCPAddr).Port }

// Run serves until ctx ends.
func (d *Device) Run(ctx context.Context) error {
	server := &http.Server{Handler: http.HandlerFunc(d.serve), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("onvif device: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return server.Close()
	})
	return g.Wait()
}

// Misbehave changes how the device answers from now on.
func (d *Device) Misbehave(t Trouble) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trouble = t
}

// Asked is how many requests of an action came, as "Stop".
func (d *Device) Asked(action string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[action]
}

// Refused is how many requests came with a user or password that is not the
// device's.
func (d *Device) Refused() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.refused
}

// Moving gives the velocity pan, tilt, zoom; all 0 when it stands.
func (d *Device) Moving() [3]float64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settle()
	return d.velocity
}

// Looks gives the preset that it was sent to last, "" after any other movement.
func (d *Device) Looks() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.looks
}

// settle ends a movement whose time is up.
func (d *Device) settle() {
	if !d.stopAt.IsZero() && time.Now().After(d.stopAt) {
		d.velocity, d.stopAt = [3]float64{}, time.Time{}
	}
}

// Subscribed is how many subscriptions it keeps.
func (d *Device) Subscribed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.subs)
}

// Notify tells an event to all who have subscribed: of a topic such as
// "tns1:RuleEngine/CellMotionDetector/Motion", with one item of data.
func (d *Device) Notify(topic, source, name, value string) {
	at := time.Now().Add(d.cfg.Ahead).UTC().Format("2006-01-02T15:04:05.000Z")
	message := `<wsnt:NotificationMessage><wsnt:Topic Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">` + topic +
		`</wsnt:Topic><wsnt:Message><tt:Message UtcTime="` + at + `" PropertyOperation="Changed"><tt:Source><tt:SimpleItem Name="VideoSourceConfigurationToken" Value="` + source +
		`"/><tt:SimpleItem Name="Rule" Value="MyRule"/></tt:Source><tt:Data><tt:SimpleItem Name="` + name + `" Value="` + value +
		`"/></tt:Data></tt:Message></wsnt:Message></wsnt:NotificationMessage>`
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.subs {
		s.waiting = append(s.waiting, message)
	}
	d.rouse()
}

// rouse wakes the pulls that wait.
func (d *Device) rouse() {
	close(d.wake)
	d.wake = make(chan struct{})
}
