package main

import (
	"context"
	"fmt"
	"time"

	"offsite/cmd/offsite/demo"
	"offsite/devices"
)

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
	return demo.DataLogger(ctx, c.Host, demo.Logger{MN: c.MN, PW: c.Password, ST: c.ST, Version: c.Standard, Period: c.Period, SM4Key: devices.Secret(c.SM4Key)})
}
