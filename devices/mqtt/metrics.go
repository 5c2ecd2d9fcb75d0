package mqtt

import "github.com/prometheus/client_golang/prometheus"

var (
	descSessions  = prometheus.NewDesc("offsite_mqtt_sessions", "Sessions with external brokers that are connected.", nil, nil)
	descDevices   = prometheus.NewDesc("offsite_mqtt_devices", "Devices at external brokers.", nil, nil)
	descMessages  = prometheus.NewDesc("offsite_mqtt_messages_total", "Messages from external brokers by what became of them; one that several devices want counts for each.", []string{"result"}, nil)
	descUnclaimed = prometheus.NewDesc("offsite_mqtt_unclaimed_messages_total", "Messages from external brokers that no device wanted.", nil, nil)
	descLost      = prometheus.NewDesc("offsite_mqtt_lost_connections_total", "Connections to external brokers that failed or ended.", nil, nil)
)

// Metrics gives the pool's counts to Prometheus.
func (p *Pool) Metrics() prometheus.Collector { return metrics{p} }

type metrics struct{ pool *Pool }

// Describe is that of [prometheus.Collector].
func (m metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descSessions, descDevices, descMessages, descUnclaimed, descLost} {
		ch <- d
	}
}

// Collect is that of [prometheus.Collector].
func (m metrics) Collect(ch chan<- prometheus.Metric) {
	c := m.pool.Counts()
	gauge := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	count := func(d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge(descSessions, c.Sessions)
	gauge(descDevices, c.Devices)
	count(descMessages, c.Accepted, "accepted")
	count(descMessages, c.Failed, "failed")
	count(descUnclaimed, c.Unclaimed)
	count(descLost, c.Lost)
}
