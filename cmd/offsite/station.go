package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"offsite/cmd/offsite/settings"
	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
	"offsite/devices/mqtt/sparkplug"
	"offsite/devices/networks"
	"offsite/devices/template"
	"offsite/edge"
	"offsite/edge/memory"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/api/commissioning"
	"offsite/gateway/api/instruments"
	"offsite/gateway/console"
)

// Config is offsite.yaml: what the owner of the machine decides.
type Config struct {
	edge.Config `yaml:",inline"`
	Gateway     gateway.Config  `yaml:"gateway"`
	Devices     DevicesConfig   `yaml:"devices"`
	Templates   template.Config `yaml:"templates"`
}

// DevicesConfig bounds where instruments, external brokers and cameras may be.
type DevicesConfig struct {
	Networks string `yaml:"networks"` // as package networks reads it; default private
}

// guard opens the connections to devices.
func (c *Config) guard() (*networks.Guard, error) {
	listens := []string{c.Gateway.Listen, c.Gateway.HTTP, c.Broker.Listen, c.HJ212.Listen}
	if c.Gateway.Listen == "" && c.Gateway.HTTP == "" {
		listens = append(listens, gateway.DefaultListen)
	}
	return networks.New(networks.Config{Allowed: c.Devices.Networks, Own: func() []string { return listens }})
}

// defaults is the Config of a gateway without a file.
func defaults() Config {
	return Config{Config: edge.Defaults(), Gateway: gateway.Config{Idle: devices.Duration(15 * time.Minute)}, Devices: DevicesConfig{Networks: networks.Defaults}}
}

// Validate tells every fault at once.
func (c *Config) Validate() error {
	ps := devices.AllProblems(c.Config.Validate())
	ps = append(ps, devices.AllProblems(c.Gateway.Validate())...)
	_, err := c.guard()
	return append(ps, devices.AllProblems(err)...).Err()
}

// load reads the configuration file; without a name the defaults stand.
func load(name string) (Config, error) {
	cfg := defaults()
	if name == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return cfg, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "no_configuration", Field: "--config", Cause: err,
			ZH: "无法读取配置文件 " + name + "，请检查路径和权限", EN: "the configuration file " + name + " cannot be read; check path and permissions",
		}
	}
	return cfg, settings.Read(text, &cfg)
}

// station is a gateway with all its floors.
type station struct {
	box      *edge.Box
	accounts *accounts.Accounts
	server   *gateway.Server
}

// open opens the state and composes the gateway. Nothing runs yet.
func open(ctx context.Context, cfg Config, log *slog.Logger) (*station, error) {
	guard, err := cfg.guard()
	if err != nil {
		return nil, err
	}
	templates, err := template.Open(cfg.Templates)
	if err != nil {
		return nil, err
	}
	buses := modbus.New(modbus.Config{Log: log, Dial: guard.Dial, Resolve: guard.Resolve, Allow: guard.Allow})
	brokers := mqtt.Config{Log: log, Formats: formats(), TLS: &tls.Config{MinVersion: tls.VersionTLS12}, Dial: guard.Dial, Resolve: guard.Resolve, Allow: guard.Allow}
	var sessions *mqtt.Pool // it needs the name of the installation; no device is opened before the box runs
	box, err := edge.Open(ctx, cfg.Config, edge.Parts{
		Version: version(), Log: log, Formats: formats(), Guard: guard,
		Openers: map[string]devices.Opener{
			devices.DriverModbus: buses.Open,
			devices.DriverMQTT: func(d devices.Device, bounds []devices.Bound) (devices.Driver, error) {
				return sessions.Open(d, bounds)
			},
		},
	})
	if err != nil {
		return nil, err
	}
	brokers.Gateway = box.Outbox.Installation()
	sessions = mqtt.New(brokers)
	s := &station{box: box}
	if s.accounts, err = accounts.Open(ctx, box.DB, box.Audit, accounts.Config{Idle: cfg.Gateway.Idle.D(), Log: log}); err == nil {
		backend := gateway.Site(box)
		backend.Commissioning.Discovery = finder{Pool: buses, broker: box.Broker, brokers: brokers, loggers: box.Loggers}
		backend.Commissioning.Prober = probers(box, buses, brokers)
		backend.Registration.Templates = templates
		backend.Instruments.Writers = map[string]instruments.Writer{devices.DriverModbus: buses}
		s.server, err = gateway.Open(cfg.Gateway, gateway.Parts{
			Backend: backend, Feeds: box.Cameras, Ready: box.Ready, Decoder: box.Cameras.Decoder, Accounts: s.accounts, State: cfg.State, Console: console.Files(), Metrics: metrics(box, sessions), Log: log,
		})
	}
	if err != nil {
		return nil, errors.Join(err, box.Close())
	}
	return s, nil
}

// probers try devices of every driver.
func probers(box *edge.Box, buses *modbus.Pool, brokers mqtt.Config) commissioning.Probers {
	ps := commissioning.Probers{
		devices.DriverModbus: buses, devices.DriverMQTT: mqtt.NewProber(brokers), devices.DriverBroker: box.Broker, devices.DriverHJ212: hj212.Absent{},
	}
	if box.Loggers != nil {
		ps[devices.DriverHJ212] = box.Loggers
	}
	return ps
}

// formats are the payloads of MQTT that are read besides JSON.
func formats() payload.Formats {
	return payload.Formats{devices.FormatSenML: senml.New, devices.FormatSparkplug: sparkplug.New}
}

// metrics are the site's counters and the process's own.
func metrics(box *edge.Box, sessions *mqtt.Pool) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(box.Metrics(), sessions.Metrics(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// run runs the gateway until ctx ends and calls ready once it listens. The site
// goes on until its last reading is recorded.
func (s *station) run(ctx context.Context, ready func(gateway.Addresses)) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.box.Run(ctx) })
	g.Go(func() error { return s.server.Run(ctx, ready) })
	// 20 cameras' rings of 150 MiB took 361 MiB with Go's own setting, 206 with this.
	g.Go(func() error { return memory.Headroom(ctx, s.box.Cameras.RingBytes) })
	g.Go(func() error { return memory.Bound(ctx, memory.Around()) })
	return g.Wait()
}

func (s *station) close() error { return s.box.Close() }
