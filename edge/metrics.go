package edge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics reads the site's counters whenever they are asked for.
type metrics struct {
	box *Box

	delivered, readings, repeats, refused, groups         *prometheus.Desc
	logBytes, behind, losses, waiting, dead, notices      *prometheus.Desc
	brokerMessages, brokerClients, devices, cameras       *prometheus.Desc
	frames, videoBytes, damaged, framesLost, ring, viewer *prometheus.Desc
}

// Metrics gives the site's counters for /metrics.
func (b *Box) Metrics() prometheus.Collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("offsite_"+name, help, labels, nil)
	}
	return &metrics{
		box:            b,
		delivered:      d("log_deliveries_total", "Deliveries written to the log of readings since the store was opened."),
		readings:       d("log_readings_total", "Readings written to the log since the store was opened."),
		repeats:        d("log_repeats_total", "Messages sent again that the log held already."),
		refused:        d("log_refused_total", "Deliveries refused because the disk does not keep up."),
		groups:         d("log_syncs_total", "Group commits of the log."),
		logBytes:       d("log_bytes", "Bytes of the log of readings."),
		behind:         d("log_behind", "Deliveries that a follower has not taken yet.", "follower"),
		losses:         d("losses_total", "What was dropped or missed, by kind.", "kind"),
		waiting:        d("outbox_waiting", "Messages that wait for the platform."),
		dead:           d("outbox_dead", "Messages that the platform refused for good."),
		notices:        d("notice", "Notices about the gateway itself that hold.", "name"),
		brokerMessages: d("broker_messages_total", "Messages and connections of the embedded broker by what became of them.", "result"),
		brokerClients:  d("broker_clients", "Clients of the embedded broker."),
		devices:        d("device_online", "1 while the device answers.", "device"),
		cameras:        d("camera_connected", "1 while the camera plays.", "camera"),
		frames:         d("camera_frames_total", "Frames received.", "camera"),
		videoBytes:     d("camera_bytes_total", "Bytes of video received.", "camera"),
		damaged:        d("camera_damaged_total", "Access units left out because part was missing.", "camera"),
		framesLost:     d("camera_reader_lost_total", "Frames that slow readers missed.", "camera"),
		ring:           d("camera_ring_bytes", "Bytes of video kept in memory.", "camera"),
		viewer:         d("camera_readers", "Readers of the feed.", "camera"),
	}
}

// Describe is that of [prometheus.Collector]: the descriptions follow from what
// is collected.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, ch) }

// Collect is that of [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	m.collectLog(count, gauge)
	m.collectField(count, gauge)
	m.collectCameras(count, gauge)
}

type sampler func(d *prometheus.Desc, v float64, labels ...string)

func (m *metrics) collectLog(count, gauge sampler) {
	if r := m.box.readings.Load(); r != nil {
		s := r.log.Stats()
		count(m.delivered, float64(s.Deliveries))
		count(m.readings, float64(s.Readings))
		count(m.repeats, float64(s.Repeats))
		count(m.refused, float64(s.Refused))
		count(m.groups, float64(s.Groups))
	}
	c := m.box.Condition()
	gauge(m.logBytes, float64(c.LogBytes))
	gauge(m.behind, float64(c.HistoryBehind), followHistory)
	gauge(m.behind, float64(c.JudgingBehind), followJudging)
	for _, n := range m.box.Notices() {
		gauge(m.notices, 1, n.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for kind, n := range m.box.Ledger.LossCounts() {
		count(m.losses, float64(n), kind)
	}
	if depth, err := m.box.Outbox.Depth(ctx); err == nil {
		gauge(m.waiting, float64(depth.Waiting))
		gauge(m.dead, float64(depth.Dead))
	}
}

func (m *metrics) collectField(count, gauge sampler) {
	b := m.box.Broker.Counts()
	for result, n := range map[string]int64{
		"accepted": b.Accepted, "failed": b.Failed, "qos0_lost": b.QoS0Lost, "refused": b.Refused, "forbidden": b.Forbidden,
		"deaf": b.Deaf, "disconnected": b.Disconnected,
	} {
		count(m.brokerMessages, float64(n), result)
	}
	gauge(m.brokerClients, float64(b.Connected))
	for _, d := range m.box.Board.Devices() {
		gauge(m.devices, truth(d.Online), d.Device)
	}
}

func (m *metrics) collectCameras(count, gauge sampler) {
	for _, c := range m.box.Cameras.Status() {
		gauge(m.cameras, truth(c.Connected), c.Camera)
		count(m.frames, float64(c.Frames), c.Camera)
		count(m.videoBytes, float64(c.Bytes), c.Camera)
		count(m.damaged, float64(c.Damaged), c.Camera)
		count(m.framesLost, float64(c.Lost), c.Camera)
		gauge(m.ring, float64(c.RingBytes), c.Camera)
		gauge(m.viewer, float64(c.Readers), c.Camera)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
