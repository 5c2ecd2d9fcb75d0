package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
)

const (
	signInTime  = 10 * time.Second // from the connection to its CONNECT
	shutTime    = 2 * time.Second  // CONNECT is refused for this long after the storage failed
	perDevice   = 64               // connections of one device
	maxPacket   = 256 << 10        // larger packets end the connection
	writeBuffer = 128 << 10        // bytes that the kernel holds for one connection
	outbound    = 4096             // messages that wait for one subscriber, there or away; what comes then it loses
	sessionLife = 24 * 60 * 60     // seconds that a session outlives its connection
)

// host is one run of the broker.
type host struct {
	broker *Broker
	sink   devices.Sink
	server *mqtt.Server
	log    *slog.Logger

	order     atomic.Int64 // of the messages passed on
	moving    sync.RWMutex // held by a line that takes over a session; it is not held together with any other lock of ours
	shutUntil atomic.Int64 // Unix nanoseconds: the storage failed shortly before

	mu    sync.Mutex
	lines map[*line]struct{}
	state map[string]*presence // by device id
}

// presence is what was told of a device.
type presence struct {
	lines int       // connections signed in
	turn  time.Time // of its next message, where its rate is limited
	told  string    // code of the last problem told; "" when the last report was good or there was none
}

func newHost(b *Broker, sink devices.Sink) (*host, error) {
	h := &host{broker: b, sink: sink, log: b.cfg.Log, lines: make(map[*line]struct{}), state: make(map[string]*presence)}
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumClients = int64(b.cfg.Clients)
	limits.MaximumMessageExpiryInterval = 0 // otherwise retained messages vanish after a day
	limits.MaximumSessionExpiryInterval = sessionLife
	limits.MaximumClientWritesPending = outbound
	limits.MaximumInflight = outbound
	limits.ReceiveMaximum = uint16(min(b.cfg.Waiting, 65535))
	limits.MaximumPacketSize = maxPacket
	limits.TopicAliasMaximum = 0 // the right to write is checked before an alias is resolved
	limits.Compatibilities.NoInheritedPropertiesOnAck = true
	h.server = mqtt.New(&mqtt.Options{
		Capabilities:             limits,
		ClientNetWriteBufferSize: 1, // none: the line gathers writes, and what stood in mochi's buffer while pause holds would never leave
		ClientNetReadBufferSize:  16 << 10,
		Logger:                   slog.New(slog.DiscardHandler), // its lines hold whole packets, passwords too
		SysTopicResendInterval:   3600,                          // each stops the world to measure memory
	})
	if err := h.server.AddHook(&hook{host: h}, nil); err != nil {
		return nil, err
	}
	return h, nil
}

// serve accepts connections until ctx ends or the listener fails.
func (h *host) serve(ctx context.Context, listener net.Listener) error {
	if err := h.server.Serve(); err != nil { // without listeners of its own it only starts its housekeeping
		_ = listener.Close()
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	var lines sync.WaitGroup
	err := h.broker.port.Accept(ctx, listener, func(conn net.Conn) {
		limitBuffer(conn)
		lines.Go(func() { h.serveLine(conn) })
	})
	_ = listener.Close()
	h.closeLines()
	lines.Wait()
	_ = h.server.Close()
	return err
}

// limitBuffer keeps the kernel from holding megabytes of answers for a device
// that reads none.
func limitBuffer(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetWriteBuffer(writeBuffer)
	}
}

// closeLines tells every client that the broker goes and closes its line.
func (h *host) closeLines() {
	for _, cl := range h.server.Clients.GetAll() {
		if !cl.Closed() && !cl.Net.Inline {
			_ = h.server.DisconnectClient(cl, packets.ErrServerShuttingDown)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.lines {
		_ = l.Close()
	}
}

// serveLine serves one connection to its end.
func (h *host) serveLine(conn net.Conn) {
	l := newLine(conn, h)
	_ = l.SetReadDeadline(time.Now().Add(signInTime))
	h.mu.Lock()
	h.lines[l] = struct{}{}
	h.mu.Unlock()
	var writer sync.WaitGroup
	writer.Go(l.runWriter)
	err := h.server.EstablishConnection("devices", l)
	l.moved() // where the line was closed before its session was established
	_ = l.Close()
	writer.Wait()
	h.left(l, err)
}

// left takes note that the line has ended.
func (h *host) left(l *line, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lines, l)
	if !l.online {
		h.log.Debug("connection ended without sign-in", "addr", l.remote, "err", err)
		return
	}
	h.broker.counts.connected.Add(-1)
	p := h.state[l.device]
	p.lines--
	if p.lines > 0 {
		return
	}
	problem := l.cause
	if problem == nil {
		problem = goneBecause(err)
	}
	h.tell(p, l.device, problem)
}

// goneBecause says why a session ended that the broker itself did not end.
func goneBecause(err error) *devices.Problem {
	if errors.Is(err, packets.ErrPacketTooLarge) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "packet_too_large", Cause: err,
			ZH: fmt.Sprintf("设备发送的 MQTT 报文超过 %d KiB，连接已断开；请让设备分成较小的消息发送", maxPacket>>10),
			EN: fmt.Sprintf("the device sent an MQTT packet above %d KiB and was disconnected; have it send smaller messages", maxPacket>>10),
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "device_offline", Cause: err,
		ZH: "设备已从内置代理断开；请检查设备的电源与网络", EN: "the device has left the embedded broker; check its power and network",
	}
}

// joined takes note that a device has signed in on the line.
func (h *host) joined(l *line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broker.counts.connected.Add(1)
	l.mu.Lock()
	l.online, l.served = true, true
	l.room.Broadcast()
	l.mu.Unlock()
	p := h.presence(l.device)
	p.lines++
	if p.lines == 1 {
		p.told = ""
		h.sink.Report(devices.Report{Device: l.device, At: time.Now().UTC()})
	}
}

// presence is called with h.mu held.
func (h *host) presence(device string) *presence {
	p := h.state[device]
	if p == nil {
		p = &presence{}
		h.state[device] = p
	}
	return p
}

// tell reports a problem of a device once. It is called with h.mu held, so that
// reports leave in the order of what happened; Report never blocks.
func (h *host) tell(p *presence, device string, problem *devices.Problem) {
	if p.told == problem.Code {
		return
	}
	p.told = problem.Code
	h.sink.Report(devices.Report{Device: device, At: time.Now().UTC(), Problem: problem})
}

// refuse takes note of a sign-in that failed.
func (h *host) refuse(l *line, username string, problem *devices.Problem) {
	h.broker.counts.refused.Add(1)
	if h.broker.refused.note(username, l.remote, problem, time.Now().UTC()) {
		h.log.Warn("sign-in refused", "device", username, "addr", l.remote, "err", problem)
	}
	if _, known := (*h.broker.clients.Load())[username]; !known {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.presence(username); p.lines == 0 { // else it is somebody else who tries its name
		h.tell(p, username, problem)
	}
}

// crowded says that a device has too many connections.
func (h *host) crowded(c *client) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.state[c.id]
	return p != nil && p.lines >= c.connections()
}

// burst is how long a device may have been silent to send the faster after it.
const burst = time.Second

// turn gives the time at which a device's next message may be taken. All its
// connections share its rate.
func (h *host) turn(c *client) time.Time {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.presence(c.id)
	if earliest := now.Add(-burst); p.turn.Before(earliest) {
		p.turn = earliest
	}
	p.turn = p.turn.Add(time.Second / time.Duration(c.settings.Rate))
	return p.turn
}

// dropStrangers closes the lines of devices that may no longer be here.
func (h *host) dropStrangers(clients map[string]*client) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for l := range h.lines {
		l.mu.Lock()
		if l.device != "" {
			if c := clients[l.device]; c == nil || !c.admits(l.proof) {
				l.closeLocked(&devices.Problem{
					Kind: devices.ErrUnavailable, Code: "sign_in_changed",
					ZH: "设备已停用或密码已更改，连接已断开", EN: "the device was retired or its password changed; it was disconnected",
				})
			}
		}
		l.mu.Unlock()
	}
}

// storageFailed keeps clients out for a short while, so that they do not come
// back at once with the same messages.
func (h *host) storageFailed() { h.shutUntil.Store(time.Now().Add(shutTime).UnixNano()) }

func (h *host) shut() bool { return time.Now().UnixNano() < h.shutUntil.Load() }

// passOn gives a message that is about to be answered to its subscribers and, if
// it wants to be, to retention.
func (h *host) passOn(l *line, pk *packets.Packet) {
	if l.inline == nil || l.inline.ID != pk.Origin {
		l.inline = h.server.NewClient(nil, mqtt.LocalListener, pk.Origin, true)
	}
	l.inline.Properties.ProtocolVersion = pk.ProtocolVersion
	pk.FixedHeader.Dup = false
	h.moving.RLock()
	defer h.moving.RUnlock()
	if err := h.server.InjectPacket(l.inline, *pk); err != nil {
		h.log.Warn("message not passed on", "device", l.device, "err", err)
	}
}

// hold marks the packet id as received, so that mochi answers its PUBREL.
func (h *host) hold(cl *mqtt.Client, packet uint16) {
	held := packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Pubrec},
		PacketID:    packet,
		Created:     time.Now().Unix(),
	}
	if cl.State.Inflight.Set(held) {
		atomic.AddInt64(&h.server.Info.Inflight, 1)
	}
}
