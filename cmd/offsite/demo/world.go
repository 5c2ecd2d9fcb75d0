// Package demo is the world around the demo's gateway: two sites with their
// simulated instruments and cameras, each a real client or server on a socket
// of its own. Nothing in the gateway knows that they are simulated.
package demo

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
	"offsite/devices/hj212/wire"
	"offsite/devices/modbus/modbustest"
	"offsite/streams/onvif/onviftest"
	"offsite/streams/rtsp/rtsptest"
)

// PLC is the tank farm's controller, a Modbus TCP slave.
func PLC(ctx context.Context, addr string) (*modbustest.Slave, error) {
	slave, err := modbustest.Listen(ctx, modbustest.Config{Addr: addr})
	if err != nil {
		return nil, err
	}
	started := time.Now()
	unit := slave.Unit(1)
	float := func(w wave) func(time.Time) any {
		return func(now time.Time) any { return float32(w.at(now.Sub(started))) }
	}
	tenths := func(v float64) float64 { return math.Round(v * 10) }
	unit.Func(modbustest.Holding, registerLevel, "ABCD", float(level))
	unit.Func(modbustest.Holding, registerPressure, "ABCD", float(pressure))
	unit.Func(modbustest.Holding, registerTemperature, "ABCD", func(now time.Time) any { return int16(tenths(temperature.at(now.Sub(started)))) })
	unit.Func(modbustest.Holding, registerGas, "ABCD", func(now time.Time) any { return uint16(max(0, tenths(gas.at(now.Sub(started))))) })
	return slave, nil
}

// Cameras is a host of n cameras that play the demo's clip.
func Cameras(addr string, n int, user, password string) (*rtsptest.Server, []string, error) {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = fmt.Sprintf("cam-%d", i+1)
	}
	server, err := rtsptest.Listen(rtsptest.Config{Addr: addr, Paths: paths, User: user, Password: password})
	if err != nil {
		return nil, nil, err
	}
	addresses := make([]string, n)
	for i, p := range paths {
		addresses[i] = server.URL(p)
	}
	return server, addresses, nil
}

// Control is a recorder by ONVIF whose channels are the cameras at addresses on
// this machine, all of which turn. It has no still pictures.
func Control(addr string, addresses []string, user, password string) (*onviftest.Device, error) {
	cfg := onviftest.Config{Addr: addr, Username: user, Password: password, Name: "Offsite demo", NoStill: true}
	for i, a := range addresses {
		u, err := url.Parse(a)
		if err != nil {
			return nil, fmt.Errorf("camera %s: %w", a, err)
		}
		if cfg.RTSP, err = strconv.Atoi(u.Port()); err != nil {
			return nil, fmt.Errorf("camera %s: %w", a, err)
		}
		cfg.Profiles = append(cfg.Profiles, onviftest.Profile{
			Token: fmt.Sprintf("profile-%d", i+1), Name: fmt.Sprintf("摄像机 %d", i+1), Source: fmt.Sprintf("source-%d", i+1),
			Codec: "H264", Width: 640, Height: 360, Rate: 25, PTZ: true, Stream: u.Path,
		})
	}
	return onviftest.Listen(cfg)
}

// Size is how much the demo shows.
type Size struct {
	Sensors int           // MQTT instruments
	Cameras int           //
	Period  time.Duration // between two values of an instrument
}

// World is what stands around the demo's gateway, on ports of its own.
type World struct {
	size     Size
	password devices.Secret // of the MQTT instruments and the data logger, new each time
	plc      *modbustest.Slave
	cameras  *rtsptest.Server
	control  *onviftest.Device
	peers    peers
}

// NewWorld opens the ports.
func NewWorld(ctx context.Context, size Size) (*World, error) {
	w := &World{size: size, password: devices.Secret(rand.Text())}
	var err error
	if w.plc, err = PLC(ctx, ""); err != nil {
		return nil, err
	}
	w.peers.modbus = w.plc.Addr().String()
	if size.Cameras > 0 {
		if w.cameras, w.peers.cameras, err = Cameras("", size.Cameras, "", ""); err != nil {
			return nil, err
		}
		if w.control, err = Control("", w.peers.cameras, "", ""); err != nil {
			return nil, err
		}
		w.peers.control = w.control.URL()
	}
	return w, nil
}

// Things gives all that the demo registers, in an order in which each finds
// what it refers to.
func (w *World) Things() []devices.Thing { return things(w.size, w.peers, w.password) }

// Run plays until ctx ends. The MQTT instruments publish to broker, the data
// logger sends to loggers, both host:port.
func (w *World) Run(ctx context.Context, broker, loggers string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.plc.Run(ctx) })
	if w.cameras != nil {
		g.Go(func() error { return w.cameras.Run(ctx) })
		g.Go(func() error { return w.control.Run(ctx) })
	}
	g.Go(func() error {
		return DataLogger(ctx, loggers, Logger{MN: demoMN, PW: w.password.Reveal(), Version: wire.Version2017, Period: max(w.size.Period, time.Second)})
	})
	for _, s := range sensors(w.size, broker, w.password) {
		g.Go(func() error { return s.run(ctx) })
	}
	return g.Wait()
}
