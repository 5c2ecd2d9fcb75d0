// Command bench measures what the gateway promises about speed. Each
// measurement prints one line of key=value pairs: bench, n, seconds,
// rate_per_s, cpu_us_per_unit, rss_peak_mib, p50_ms, p99_ms, those that apply.
// CPU and memory are those of the gateway's part alone: publishers, cameras
// and servers run as processes of their own.
//
//	go run ./deploy/bench             lists the measurements
//	go run ./deploy/bench NAME -h     shows the flags of one
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// measurement is one program of this command.
type measurement struct {
	name, what string
	run        func(ctx context.Context, args []string) error
}

func measurements() []measurement {
	return []measurement{
		{"breach", "breach published to the embedded broker -> opened at the platform, whole gateway", breach},
		{"ingest-broker", "QoS 1 messages by the embedded broker: decoded, fsynced, acknowledged", ingestBroker},
		{"ingest-mqtt", "QoS 1 messages from Mosquitto by paho: decoded, fsynced, acknowledged", ingestMQTT},
		{"ingest-mqtt-defaults", "the same from a Mosquitto with its defaults: 20 in flight, 1,000 queued", ingestDefaults},
		{"hj212", "5,000 data loggers with a packet a second each: decoded, fsynced, answered", benchHJ212},
		{"history-local", "readings into the embedded store, log included", historyLocal},
		{"history-influx", "readings into InfluxDB 1.8", historyInflux},
		{"modbus", "100 Modbus units x 50 registers each second: CPU, and polls on time", benchModbus},
		{"modbus-silent", "the same, one unit of each shared connection never answers", benchModbusSilent},
		{"pull", "cameras pulled at once, 1080p at 2 Mbit/s", pull},
		{"record", "the same, and recorded to files that are fsynced every two seconds", record},
		{"viewers", "one camera watched by 20 and by 200 over WebSocket: cost of a picture to a viewer", viewers},
		{"wall", "16 cameras on the console's wall in Chromium: stalls, dropped pictures, growth", wall},
		{"viewers-webrtc", "the same by WebRTC, viewers in a process of their own", webrtcViewers},
		{"first-picture", "the console's player in Chromium: asked for -> first picture of a running feed", firstPicture},
		{"glass", "the console's player in Chromium: drawn at the camera -> shown, by a time code in the picture", glass},
		{"clip", "clips of an event: from their end to hashed and fsynced in the vault", clips},
		{"still", "JPEG from the cached key frame: embedded decoder, ffmpeg child, and kept ones made smaller", still},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	all := measurements()
	if len(args) == 0 {
		for _, m := range all {
			fmt.Printf("%-20s %s\n", m.name, m.what)
		}
		return nil
	}
	for _, m := range all {
		if m.name == args[0] {
			return m.run(ctx, args[1:])
		}
	}
	return fmt.Errorf("no measurement %q; without a name they are listed", args[0])
}
