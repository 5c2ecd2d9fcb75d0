package mqtt

import (
	"context"
	"crypto/rand"
	"net"
	"net/url"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// ListenConfig says what is listened to and for how long. The zero ListenConfig
// is good.
type ListenConfig struct {
	Filters []string      // nil means "#"
	For     time.Duration // zero means 10 s
	Most    int           // topics; zero means 1,024
}

func (c *ListenConfig) setDefaults() {
	if len(c.Filters) == 0 {
		c.Filters = []string{"#"}
	}
	if c.For == 0 {
		c.For = 10 * time.Second
	}
	if c.Most == 0 {
		c.Most = 1024
	}
}

// Listen subscribes to an external broker beside whatever session dev has, by a
// client id of its own, and gathers the topics on which something is published,
// with what could be bound. It ends after the stated time, or with ctx and then
// with what was heard so far. An error is a Problem.
func Listen(ctx context.Context, dev devices.Device, cfg Config, what ListenConfig) (*payload.Topics, error) {
	what.setDefaults()
	settings := devices.MQTTSettings{}
	if dev.MQTT != nil {
		settings = *dev.MQTT
	}
	settings.ClientID, settings.Share, settings.Status = "offsite-listen-"+rand.Text()[:12], "", nil
	dev.MQTT = &settings
	d, err := Open(dev, nil, cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, what.For+d.cfg.Connect)
	defer cancel()
	l := listener{
		driver: d, heard: make(chan payload.Message, 256), lost: make(chan error, 1),
		topics: &payload.Topics{Formats: cfg.Formats, Most: what.Most},
	}
	return l.topics, l.run(ctx, what)
}

// listener is one connection that only listens.
type listener struct {
	driver *Driver
	heard  chan payload.Message
	lost   chan error
	topics *payload.Topics
}

func (l *listener) run(ctx context.Context, what ListenConfig) error {
	client, err := l.signIn(ctx, func(ctx context.Context) (net.Conn, error) { return l.driver.dial(ctx, nil) })
	if err != nil {
		return err
	}
	defer client.Disconnect(uint(farewell.Milliseconds()))
	if err := l.subscribe(ctx, client, what.Filters); err != nil {
		return err
	}
	return l.gather(ctx, what.For)
}

// signIn begins a session that leaves nothing behind, on the connection that
// open gives. The error is a Problem.
func (l *listener) signIn(ctx context.Context, open func(context.Context) (net.Conn, error)) (paho.Client, error) {
	d := l.driver
	var dialled error
	o := paho.NewClientOptions()
	o.AddBroker("mqtt://" + d.address) // never dialled: open is
	o.SetClientID(d.clientID).SetUsername(d.dev.Username).SetPassword(d.dev.Password.Reveal())
	o.SetProtocolVersion(4).SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false)
	o.SetKeepAlive(d.cfg.KeepAlive).SetConnectTimeout(d.cfg.Connect)
	o.SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
		select {
		case l.heard <- payload.Message{Topic: m.Topic(), Payload: m.Payload(), Received: time.Now(), Retained: m.Retained()}:
		default: // who listens may miss something
		}
	})
	o.SetConnectionLostHandler(func(_ paho.Client, err error) { l.lost <- err })
	o.SetCustomOpenConnectionFn(func(*url.URL, paho.ClientOptions) (net.Conn, error) {
		c, err := open(ctx)
		if err != nil {
			dialled = err
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = c.Close() }) // a broker that says nothing holds nobody up
		return c, nil
	})
	client := paho.NewClient(o)
	token := client.Connect()
	<-token.Done() // the connection has a deadline
	err := token.Error()
	if dialled != nil {
		err = dialled
	}
	if err != nil {
		client.Disconnect(0)
		return nil, d.connectProblem(scrubbed(err, d.dev.Password))
	}
	return client, nil
}

func (l *listener) subscribe(ctx context.Context, client paho.Client, filters []string) error {
	ask := make(map[string]byte, len(filters))
	for _, f := range filters {
		ask[f] = 0
	}
	token := client.SubscribeMultiple(ask, nil)
	select {
	case <-token.Done():
	case err := <-l.lost:
		return l.driver.lostProblem(err)
	case <-time.After(l.driver.cfg.Connect):
		return l.driver.connectProblem(context.DeadlineExceeded)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	granted, _ := token.(*paho.SubscribeToken)
	for filter, code := range granted.Result() {
		if code >= 0x80 {
			return subscriptionRefused(filter)
		}
	}
	if err := token.Error(); err != nil {
		return l.driver.lostProblem(err)
	}
	return nil
}

func (l *listener) gather(ctx context.Context, limit time.Duration) error {
	end := time.NewTimer(limit)
	defer end.Stop()
	for {
		select {
		case m := <-l.heard:
			l.topics.Add(m)
		case err := <-l.lost:
			return l.driver.lostProblem(err)
		case <-end.C:
			return nil
		case <-ctx.Done():
			return nil // what was heard so far is worth something
		}
	}
}
