package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/cmd/offsite/demo"
	"offsite/devices"
	"offsite/edge/dispatch/platformtest"
)

// simulateCommand runs one of the demo's peers by itself, for trying a gateway
// that runs elsewhere on this machine.
type simulateCommand struct {
	PLC      simulatePLC      `cmd:"" name:"plc" help:"A Modbus TCP controller: level, pressure, temperature, gas. Modbus 控制器"`
	Camera   simulateCamera   `cmd:"" help:"RTSP cameras that play the demo's clip. 摄像机"`
	Sensor   simulateSensor   `cmd:"" help:"An MQTT dust station. MQTT 扬尘仪"`
	Logger   simulateLogger   `cmd:"" aliases:"hj212" help:"An HJ 212 data logger of a waste water outlet. 数采仪"`
	Platform simulatePlatform `cmd:"" help:"The reference platform. 参考平台"`
}

type simulatePLC struct {
	Addr string `help:"Listen here." default:"127.0.0.1:5020"`
}

// Run answers Modbus TCP, unit 1, until ctx ends.
func (c *simulatePLC) Run(ctx context.Context, s streamsOut) error {
	plc, err := demo.PLC(ctx, c.Addr)
	if err != nil {
		return notListening("--addr", c.Addr, err)
	}
	fmt.Fprintf(s.out, "modbus://%s unit 1: holding 0 level m float32, 2 pressure kPa float32, 4 temperature int16 x0.1, 10 gas %%LEL uint16 x0.1\n", plc.Addr())
	return plc.Run(ctx)
}

type simulateCamera struct {
	Addr     string `help:"Listen here." default:"127.0.0.1:8554"`
	Count    int    `help:"How many cameras." default:"1"`
	ONVIF    string `help:"Also be a recorder by ONVIF here, whose channels they are; they turn." placeholder:"ADDR"`
	User     string `help:"Ask for this user."`
	Password string `help:"And this password." env:"OFFSITE_CAMERA_PASSWORD"`
}

// Run plays until ctx ends.
func (c *simulateCamera) Run(ctx context.Context, s streamsOut) error {
	server, addresses, err := demo.Cameras(c.Addr, c.Count, c.User, c.Password)
	if err != nil {
		return notListening("--addr", c.Addr, err)
	}
	for _, a := range addresses {
		fmt.Fprintln(s.out, a)
	}
	if c.ONVIF == "" {
		return server.Run(ctx)
	}
	control, err := demo.Control(c.ONVIF, addresses, c.User, c.Password)
	if err != nil {
		return notListening("--onvif", c.ONVIF, err)
	}
	fmt.Fprintln(s.out, control.URL())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return server.Run(ctx) })
	g.Go(func() error { return control.Run(ctx) })
	return g.Wait()
}

type simulateSensor struct {
	Broker   string `help:"Broker's host:port." default:"127.0.0.1:1883"`
	Device   string `help:"Device id, also user name." default:"dust-station-1"`
	Password string `help:"Its password." env:"OFFSITE_DEVICE_PASSWORD"`
}

// Run publishes until ctx ends.
func (c *simulateSensor) Run(ctx context.Context, s streamsOut) error {
	fmt.Fprintf(s.out, "offsite/%s: {\"ts\":…,\"pm10\":…,\"pm25\":…,\"tsp\":…} each second\n", c.Device)
	tellUnreached(ctx, s, "--broker", c.Broker)
	return demo.DustStation(ctx, c.Broker, c.Device, c.Password)
}

type simulateLogger struct {
	Host     string        `help:"Host's address." default:"127.0.0.1:9212"`
	MN       string        `name:"mn" help:"Identity. 设备唯一标识" default:"OFFSITEDEMO000000000001"`
	Password string        `help:"Password PW." default:"123456" env:"OFFSITE_DEVICE_PASSWORD"`
	ST       string        `name:"st" help:"Kind of system. 系统编码" default:"32"`
	Standard string        `help:"Year of the standard: 2005, 2017 or 2025." enum:"2005,2017,2025" default:"2017"`
	Period   time.Duration `help:"Between two real-time packets." default:"1s"`
	SM4Key   string        `name:"sm4-key" help:"Encrypt the data area. SM4 密钥" env:"OFFSITE_SM4_KEY"`
}

// Run sends COD, ammonia nitrogen, pH and flow until ctx ends, and answers the
// host's commands.
func (c *simulateLogger) Run(ctx context.Context, s streamsOut) error {
	fmt.Fprintf(s.out, "HJ 212-%s, MN %s -> %s: w01018 mg/L, w21003 mg/L, w01001, w00000 L/s each %s, minute data each minute\n", c.Standard, c.MN, c.Host, c.Period)
	tellUnreached(ctx, s, "--host", c.Host)
	return demo.DataLogger(ctx, c.Host, demo.Logger{MN: c.MN, PW: c.Password, ST: c.ST, Version: c.Standard, Period: c.Period, SM4Key: devices.Secret(c.SM4Key)})
}

type simulatePlatform struct {
	Addr string `help:"Listen here." default:"127.0.0.1:9443"`
}

// Run takes what gateways send until ctx ends.
func (c *simulatePlatform) Run(ctx context.Context, s streamsOut) error {
	tell := &teller{out: s.out, json: true}
	platform, err := platformtest.Open(platformtest.Config{OnEvent: tell.event})
	if err != nil {
		return err
	}
	defer platform.Close()
	listener, err := platformtest.Listen(ctx, c.Addr)
	if err != nil {
		return notListening("--addr", c.Addr, err)
	}
	fmt.Fprintf(s.out, "{\"platform\":\"http://%s\",\"code\":%q}\n", listener.Addr(), platform.Code())
	return platform.Run(ctx, listener)
}

// notListening gives err as a Problem when it tells why nothing listens on addr.
func notListening(flag, addr string, err error) error {
	var op *net.OpError
	if !errors.As(err, &op) {
		return err
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "cannot_listen", Field: flag, Cause: err,
		ZH: "无法在 " + addr + " 上监听；请写作 127.0.0.1:5020 的形式，换一个端口，或停止占用它的程序",
		EN: "cannot listen on " + addr + "; write an address like 127.0.0.1:5020, choose another port or stop the program that holds it",
	}
}

// tellUnreached says when nothing answers at addr: the instruments go on trying
// without a word, as real ones do.
func tellUnreached(ctx context.Context, s streamsOut, flag, addr string) {
	conn, err := (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
		return
	}
	fmt.Fprintln(s.err, explain(&devices.Problem{
		Kind: devices.ErrUnavailable, Code: "unreached", Field: flag, Cause: err,
		ZH: "无法连接 " + addr + "，将继续重试；请核对地址，以及网关是否在该处监听", EN: "no connection to " + addr + ", it is tried again and again; check the address and whether the gateway listens there",
	}))
}
