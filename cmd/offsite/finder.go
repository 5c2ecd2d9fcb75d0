package main

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/payload"
)

// finder looks for devices: on the buses that are polled, on external brokers
// and on the gateway's own.
type finder struct {
	*modbus.Pool
	broker  *broker.Broker
	brokers mqtt.Config
}

// Listen hears what is published on an external broker.
func (f finder) Listen(ctx context.Context, dev devices.Device, what mqtt.ListenConfig) (*payload.Topics, error) {
	return mqtt.Listen(ctx, dev, f.brokers, what)
}

// Hear tells what devices publish to the gateway's own broker.
func (f finder) Hear(ctx context.Context, device string, limit time.Duration) []payload.Heard {
	return f.broker.Listen(ctx, device, limit)
}
