package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"offsite/cmd/offsite/decode"
	"offsite/devices"
)

// program is the command line.
type program struct {
	Serve    serveCommand    `cmd:"" help:"Run the gateway. 运行网关"`
	Demo     demoCommand     `cmd:"" help:"Run a gateway among simulated instruments, cameras and a platform. 演示"`
	Simulate simulateCommand `cmd:"" help:"Run one simulated instrument, camera or platform. 模拟设备"`
	Decode   decode.Command  `cmd:"" help:"Read frames from standard input and print them as JSON. 解析报文"`
	Probe    probeCommand    `cmd:"" help:"Try a device step by step, or look for units. 测试设备或扫描单元号"`
	Devices  devicesCommand  `cmd:"" help:"Import and export what is registered, as CSV. 批量导入导出"`
	Check    checkCommand    `cmd:"" help:"Explain every fault of a configuration file. 检查配置文件"`
	Version  versionCommand  `cmd:"" help:"Print the version. 版本"`
}

// streamsOut is where commands write; they are tested with buffers.
type streamsOut struct {
	out, err io.Writer
}

// logger writes text for people to the error stream.
func (s streamsOut) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
}

// run reads the command line and carries the command out.
func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	var p program
	exited := false
	parser, err := kong.New(&p,
		kong.Name("offsite"), kong.Description("Off-site supervision gateway 非现场监管网关"),
		kong.Writers(out, errOut), kong.Exit(func(int) { exited = true }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(streamsOut{out, errOut}), kong.BindTo(out, (*io.Writer)(nil)),
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	switch {
	case exited: // help was shown
		return nil
	case err != nil:
		return misunderstood(err)
	}
	return asked(ctx, command.Run())
}

// asked gives err, or nil when it only says that ctx has ended as it was asked to.
func asked(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// explain gives what a person reads on the terminal: every Problem in both
// languages, a line each.
func explain(err error) string {
	var p *devices.Problem
	var ps devices.Problems
	if !errors.As(err, &p) && !errors.As(err, &ps) {
		return "offsite: " + err.Error()
	}
	lines := make([]string, 0, 4)
	for _, p := range devices.AllProblems(err) {
		line := "offsite: " + p.Bilingual()
		if p.Cause != nil {
			line += " (" + p.Cause.Error() + ")"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

type versionCommand struct{}

// Run prints the version that the build recorded.
func (versionCommand) Run(s streamsOut) error {
	_, err := fmt.Fprintln(s.out, "offsite", version())
	return err
}

// version is the module's version, else the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
