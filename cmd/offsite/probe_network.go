package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"offsite/devices"
	"offsite/devices/mqtt"
	"offsite/devices/networks"
	"offsite/edge/cameras"
	"offsite/streams/rtsp"
	"offsite/streams/snapshot"
)

// broker tries an external MQTT broker, and hears what is published on the
// topics.
func (c *probeCommand) broker(ctx context.Context, s streamsOut, guard *networks.Guard) error {
	settings := &devices.MQTTSettings{}
	for _, f := range []struct {
		name string
		into func(text string)
	}{
		{c.CA, func(text string) { settings.CA = text }},
		{c.Certificate, func(text string) { settings.Certificate = text }},
		{c.Key, func(text string) { settings.Key = devices.Secret(text) }},
	} {
		if f.name == "" {
			continue
		}
		text, err := os.ReadFile(f.name)
		if err != nil {
			return err
		}
		f.into(string(text))
	}
	dev := devices.Device{Driver: devices.DriverMQTT, Endpoint: c.Address, Username: c.User, Password: devices.Secret(c.Password), MQTT: settings}
	bounds := make([]devices.Bound, len(c.Place))
	for i, text := range c.Place {
		topic, path, _ := strings.Cut(text, " ")
		bounds[i].Binding.Topic = &devices.Topic{Topic: topic, Path: path}
	}
	prober := mqtt.NewProber(mqtt.Config{Log: s.logger(0), Formats: formats(), Dial: guard.Dial, Resolve: guard.Resolve, Allow: guard.Allow})
	steps, err := prober.Probe(ctx, dev, bounds)
	if err != nil {
		return err
	}
	return c.print(s.out, steps, nil)
}

// camera tries a camera and keeps its picture where it is told to.
func (c *probeCommand) camera(ctx context.Context, s streamsOut, guard *networks.Guard) error {
	cam := devices.Camera{URL: c.Address, Username: c.User, Password: devices.Secret(c.Password), StillURL: c.StillURL}
	if c.UDP {
		cam.Transport = "udp"
	}
	log := s.logger(4) // of warnings alone: the steps tell the rest
	seen, err := cameras.New(cameras.Config{
		RTSP: rtsp.Config{Log: log, Dial: guard.Dial}, Taker: snapshot.New(snapshot.Config{Log: log, Dial: guard.Dial}),
		Places: devices.Places{Resolve: guard.Resolve, Allow: guard.Allow},
	}).Probe(ctx, cam)
	if err != nil {
		return err
	}
	var video any
	if seen.Video != nil {
		video = seen.Video
	}
	if seen.Still != nil && c.Picture != "" {
		if err := os.WriteFile(c.Picture, seen.Still.JPEG, 0o600); err != nil {
			return fmt.Errorf("write the picture: %w", err)
		}
	}
	return c.print(s.out, seen.Steps, video)
}
