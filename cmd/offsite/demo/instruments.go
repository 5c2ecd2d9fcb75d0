package demo

import (
	"context"
	"fmt"
	"math"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"offsite/devices"
)

// cycle is how often each simulated value crosses its limit once. It is no
// multiple of the cameras' twelve seconds, so that no two events show the same
// picture.
const cycle = 53 * time.Second

// wave is a value that swings around mean and, once in a cycle, from begin on
// for eight seconds, climbs to peak.
type wave struct {
	mean, swing, peak float64
	begin             time.Duration
}

const pulse = 8 * time.Second

func (w wave) at(since time.Duration) float64 {
	v := w.mean + w.swing*math.Sin(since.Seconds()/7) + w.swing*0.1*math.Sin(since.Seconds()*2.3)
	if in := since%cycle - w.begin; in >= 0 && in < pulse {
		v += (w.peak - w.mean) * math.Sin(math.Pi*in.Seconds()/pulse.Seconds())
	}
	return v
}

// The values of the demo.
var (
	pm10        = wave{mean: 82, swing: 12, peak: 260, begin: 5 * time.Second}
	pm25        = wave{mean: 38, swing: 6, peak: 90, begin: 5 * time.Second}
	tsp         = wave{mean: 190, swing: 30, peak: 620, begin: 5 * time.Second}
	noise       = wave{mean: 63, swing: 5, peak: 74, begin: 40 * time.Second}
	level       = wave{mean: 9.4, swing: 0.3, peak: 9.9, begin: 0}
	pressure    = wave{mean: 12.5, swing: 1.2, peak: 14, begin: 0}
	temperature = wave{mean: 21.5, swing: 1.5, peak: 23, begin: 0}
	gas         = wave{mean: 3, swing: 1, peak: 38, begin: 25 * time.Second}
)

// sensor is a client of an MQTT broker that publishes at a steady pace, QoS 1.
type sensor struct {
	broker   string // tcp://host:port
	id       string // device id, user name and client id
	password devices.Secret
	topic    string
	period   time.Duration
	payload  func(now time.Time, since time.Duration) string
}

// run publishes until ctx ends. The client connects again by itself.
func (s sensor) run(ctx context.Context) error {
	options := mqtt.NewClientOptions().AddBroker(s.broker).SetClientID(s.id).
		SetUsername(s.id).SetPassword(s.password.Reveal()).
		SetConnectRetry(true).SetConnectRetryInterval(time.Second).SetMaxReconnectInterval(2 * time.Second).
		SetOrderMatters(false)
	client := mqtt.NewClient(options)
	client.Connect()
	defer client.Disconnect(100)
	started := time.Now()
	ticker := time.NewTicker(s.period)
	defer ticker.Stop()
	for {
		select {
		case now := <-ticker.C:
			client.Publish(s.topic, 1, false, s.payload(now, now.Sub(started)))
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// dust is what the dust station publishes.
func dust(now time.Time, since time.Duration) string {
	return fmt.Sprintf(`{"ts":%q,"pm10":%.0f,"pm25":%.0f,"tsp":%.0f}`, now.Format("2006-01-02T15:04:05.000Z07:00"),
		pm10.at(since), pm25.at(since), tsp.at(since))
}

// DustStation publishes as one dust station to broker, host:port, each second
// until ctx ends.
func DustStation(ctx context.Context, broker, device, password string) error {
	s := sensor{broker: "tcp://" + broker, id: device, password: devices.Secret(password), topic: "offsite/" + device, period: time.Second, payload: dust}
	return s.run(ctx)
}

// sensors are the MQTT instruments of the construction site.
func sensors(size Size, broker string, password devices.Secret) []sensor {
	make1 := func(id, topic string, payload func(time.Time, time.Duration) string) sensor {
		return sensor{broker: "tcp://" + broker, id: id, password: password, topic: topic, period: size.Period, payload: payload}
	}
	list := []sensor{
		make1(deviceDust, "offsite/"+deviceDust, dust),
		make1(deviceNoise, "offsite/"+deviceNoise+"/leq", func(_ time.Time, since time.Duration) string {
			return fmt.Sprintf("%.1f", noise.at(since))
		}),
	}
	for i := 3; i <= size.Sensors; i++ {
		id := fmt.Sprintf("dust-sensor-%d", i)
		calm := wave{mean: 60 + float64(i%20), swing: 8, peak: 60 + float64(i%20)}
		list = append(list, make1(id, "offsite/"+id+"/pm10", func(_ time.Time, since time.Duration) string {
			return fmt.Sprintf("%.1f", calm.at(since))
		}))
	}
	return list[:max(1, min(len(list), size.Sensors))]
}
