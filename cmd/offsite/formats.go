package main

import (
	"offsite/devices"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
	"offsite/devices/mqtt/sparkplug"
)

// formats are the payloads of MQTT that are read besides JSON.
func formats() payload.Formats {
	return payload.Formats{devices.FormatSenML: senml.New, devices.FormatSparkplug: sparkplug.New}
}
