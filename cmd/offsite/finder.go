package main

import (
	"context"
	"time"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/modbus"
	"offsite/devices/mqtt"
	"offsite/devices/mqtt/broker"
	"offsite/devices/mqtt/payload"
)

// finder looks for devices: on the buses that are polled, on external brokers,
// on the gateway's own, and among the data loggers that connect.
type finder struct {
	*modbus.Pool
	broker  *broker.Broker
	brokers mqtt.Config
	loggers *hj212.Host // nil where none listens
}

// Listen hears what is published on an external broker.
func (f finder) Listen(ctx context.Context, dev devices.Device, what mqtt.ListenConfig) (*payload.Topics, error) {
	return mqtt.Listen(ctx, dev, f.brokers, what)
}

// Hear tells what devices publish to the gateway's own broker.
func (f finder) Hear(ctx context.Context, device string, limit time.Duration) []payload.Heard {
	return f.broker.Listen(ctx, device, limit)
}

// Loggers tells what data loggers sent last.
func (f finder) Loggers(device string) ([]hj212.Heard, error) {
	if f.loggers == nil {
		return nil, hj212.NoListener()
	}
	return f.loggers.Heard(device), nil
}
