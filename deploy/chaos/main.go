// Command chaos ends the gateway at random instants under full load, as often
// as is asked, and prints what it found. See package trial for what must hold.
//
//	go run ./deploy/chaos --kills 100
//	sudo go run ./deploy/chaos --cuts 20
//	go run ./deploy/chaos --faults 20
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"offsite/deploy/chaos/trial"
	"offsite/deploy/peers"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	cfg := trial.Config{Log: os.Stdout}
	flag.IntVar(&cfg.Kills, "kills", 0, "how often the gateway is killed by SIGKILL")
	flag.IntVar(&cfg.Cuts, "cuts", 0, "how often its disk's power is cut (root)")
	flag.IntVar(&cfg.Faults, "faults", 0, "how often its syncs fail or are slow for a while (strace)")
	flag.IntVar(&cfg.Points, "points", 8, "points of the device")
	flag.Parse()
	dir, err := os.MkdirTemp("", "offsite-chaos-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cfg.Dir = dir
	if cfg.Binary, err = peers.Build(ctx, dir); err != nil {
		return err
	}
	report, err := trial.Run(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Printf("ends=%d readings=%d alarms=%d violations=%d\n", report.Ends, report.Readings, report.Alarms, len(report.Violations))
	for _, v := range report.Violations {
		fmt.Println(v)
	}
	if len(report.Violations) > 0 {
		return fmt.Errorf("%d promises broken", len(report.Violations))
	}
	return nil
}
