package edge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"offsite/edge/notice"
)

// metrics reads the site's counters whenever they are asked for.
type metrics struct {
	box *Box
	all []*prometheus.Desc

	build, delivered, readings, repeats, refused, groups         *prometheus.Desc
	logBytes, behind, losses, waiting, dead, notices             *prometheus.Desc
	messages, signIns, closed, slowed, clients, devices, cameras *prometheus.Desc
	frames, videoBytes, damaged, framesLost, ring, viewer        *prometheus.Desc
	packets, loggers, loggersClosed                              *prometheus.Desc
	recorded, segments, unrecorded, kept                         *prometheus.Desc
	watchersLost                                                 *prometheus.Desc
}

// Metrics gives the site's counters for /metrics. Counters begin at zero with
// the program or, those of the log, with each opening of the readings' store.
func (b *Box) Metrics() prometheus.Collector {
	m := &metrics{box: b}
	d := func(name, help string, labels ...string) *prometheus.Desc {
		desc := prometheus.NewDesc("offsite_"+name, help, labels, nil)
		m.all = append(m.all, desc)
		return desc
	}
	m.build = d("build_info", "1, labelled with the program's version.", "version")
	m.delivered = d("log_deliveries_total", "Deliveries written to the log of readings.")
	m.readings = d("log_readings_total", "Readings written to the log.")
	m.repeats = d("log_repeats_total", "Messages sent again that the log held already.")
	m.refused = d("log_refused_total", "Deliveries refused because the disk does not keep up.")
	m.groups = d("log_syncs_total", "Group commits of the log.")
	m.logBytes = d("log_size_bytes", "Size of the log of readings.")
	m.behind = d("log_behind_deliveries", "Deliveries that a follower has not taken yet.", "follower")
	m.losses = d("losses_total", "What was dropped or missed, by kind.", "kind")
	m.waiting = d("outbox_waiting_messages", "Messages that wait for the platform.")
	m.dead = d("outbox_dead_messages", "Messages that the platform refused for good.")
	m.notices = d("notice", "1 while a notice about the gateway itself holds.", "name")
	m.messages = d("broker_messages_total", "Messages to the embedded broker by what became of them.", "result")
	m.signIns = d("broker_refused_sign_ins_total", "Sign-ins that the embedded broker refused.")
	m.closed = d("broker_closed_connections_total", "Connections that the embedded broker closed, by reason.", "reason")
	m.slowed = d("broker_slowed_messages_total", "Messages to the embedded broker that waited for the rate their device is allowed.")
	m.clients = d("broker_clients", "Clients of the embedded broker.")
	m.packets = d("hj212_packets_total", "Packets of data loggers by what became of them.", "result")
	m.loggers = d("hj212_loggers", "Data loggers that are connected.")
	m.loggersClosed = d("hj212_closed_connections_total", "Connections of data loggers that the gateway closed, by reason.", "reason")
	m.devices = d("device_online", "1 while the device answers.", "device")
	m.cameras = d("camera_connected", "1 while the camera plays.", "camera")
	m.frames = d("camera_frames_total", "Frames received.", "camera")
	m.videoBytes = d("camera_received_bytes_total", "Bytes of video received.", "camera")
	m.damaged = d("camera_damaged_units_total", "Access units left out because part was missing.", "camera")
	m.framesLost = d("camera_lost_frames_total", "Frames that slow readers missed.", "camera")
	m.ring = d("camera_ring_bytes", "Video kept in memory.", "camera")
	m.viewer = d("camera_readers", "Readers of the feed.", "camera")
	m.recorded = d("recording_written_bytes_total", "Bytes of recordings written.")
	m.segments = d("recording_segments_total", "Segments of recordings that were ended.")
	m.unrecorded = d("recording_lost_frames_total", "Frames that were gone before they could be recorded.")
	m.kept = d("recording_kept_bytes", "Recordings that are kept.", "camera")
	m.watchersLost = d("watchers_lost_updates_total", "Updates that slow watchers of the site missed.")
	return m
}

// Describe is that of [prometheus.Collector].
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.all {
		ch <- d
	}
}

// Collect is that of [prometheus.Collector].
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(m.build, 1, m.box.version)
	count(m.watchersLost, float64(m.box.Live.lost.Load()))
	m.collectLog(count, gauge)
	m.collectField(count, gauge)
	m.collectCameras(count, gauge)
	m.collectRecordings(count, gauge)
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
	held := map[string]bool{}
	for _, n := range m.box.Notices() {
		held[n.Name] = true
	}
	for _, name := range notice.Names {
		gauge(m.notices, truth(held[name]), name)
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
	for result, n := range map[string]int64{"accepted": b.Accepted, "failed": b.Failed, "qos0_lost": b.QoS0Lost, "forbidden": b.Forbidden} {
		count(m.messages, float64(n), result)
	}
	count(m.signIns, float64(b.Refused))
	count(m.closed, float64(b.Deaf), "deaf")
	count(m.closed, float64(b.Disconnected), "storage")
	count(m.slowed, float64(b.Slowed))
	gauge(m.clients, float64(b.Connected))
	m.collectLoggers(count, gauge)
	for _, d := range m.box.Board.Devices() {
		gauge(m.devices, truth(d.Online), d.Device)
	}
}

func (m *metrics) collectLoggers(count, gauge sampler) {
	if m.box.Loggers == nil {
		return
	}
	c := m.box.Loggers.Counts()
	for result, n := range map[string]int64{"accepted": c.Accepted, "failed": c.Failed, "refused": c.Refused, "repeated": c.Repeated, "stranger": c.Strangers} {
		count(m.packets, float64(n), result)
	}
	count(m.loggersClosed, float64(c.Deaf), "deaf")
	count(m.loggersClosed, float64(c.Disconnected), "storage")
	gauge(m.loggers, float64(c.Connected))
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

func (m *metrics) collectRecordings(count, gauge sampler) {
	c := m.box.Recordings.Counts()
	count(m.recorded, float64(c.Bytes))
	count(m.segments, float64(c.Segments))
	count(m.unrecorded, float64(c.Lost))
	for camera, u := range m.box.Recordings.Usage() {
		gauge(m.kept, float64(u.Bytes), camera)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
