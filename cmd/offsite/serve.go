package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"offsite/devices"
	"offsite/devices/template"
	"offsite/gateway"
)

type serveCommand struct {
	Config string `help:"Configuration file; without one the defaults stand. 配置文件" type:"path" placeholder:"FILE"`
	State  string `help:"State directory, instead of the configured one. 状态目录" type:"path" placeholder:"DIR"`
	HTTP   string `help:"Serve plain HTTP on this loopback address instead of HTTPS. 明文 HTTP（仅限本机）" placeholder:"ADDR"`
	Debug  bool   `help:"Log every packet. 调试日志"`
}

// Run runs the gateway until it is told to stop.
func (c *serveCommand) Run(ctx context.Context, s streamsOut) (err error) {
	cfg, err := load(c.Config)
	if err != nil {
		return err
	}
	if c.State != "" {
		cfg.State = c.State
	}
	if c.HTTP != "" {
		cfg.Gateway.HTTP, cfg.Gateway.Listen = c.HTTP, ""
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	level := slog.LevelInfo
	if c.Debug {
		level = slog.LevelDebug
	}
	st, err := open(ctx, cfg, s.logger(level))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.close()) }()
	return asked(ctx, st.run(ctx, func(at gateway.Addresses) { greet(s.out, st, at) }))
}

// greet says where the gateway is and how the first person comes in.
func greet(out io.Writer, st *station, at gateway.Addresses) {
	fmt.Fprintf(out, "console 控制台: %s\n", at.URL())
	if fingerprint := st.server.Fingerprint(); fingerprint != "" {
		fmt.Fprintf(out, "certificate SHA-256 证书指纹: %s\n", fingerprint)
	}
	if token := st.accounts.SetupToken(); token != "" {
		fmt.Fprintf(out, "setup token, makes the first person, shown once 初始化令牌: %s\n", token)
	}
}

type checkCommand struct {
	Config string `arg:"" help:"Configuration file. 配置文件" type:"path"`
}

// Run tells every fault of the file, and of the user's own templates, at once.
func (c *checkCommand) Run(s streamsOut) error {
	cfg, err := load(c.Config)
	ps := devices.AllProblems(err)
	templates, err := template.Open(cfg.Templates)
	if err != nil {
		return err
	}
	if err := append(ps, templates.Faults()...).Err(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s: 没有问题 / no faults\n", c.Config)
	return err
}
