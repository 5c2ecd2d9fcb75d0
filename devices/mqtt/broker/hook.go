package broker

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// hook is the broker's place inside mochi.
type hook struct {
	mqtt.HookBase
	host *host
}

// ID names the hook.
func (*hook) ID() string { return "offsite" }

// Provides says which events the hook wants.
func (*hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnACLCheck,
		mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPublish, mqtt.OnWillSent, mqtt.OnClientExpired,
	}, b) >= 0
}

// OnConnect keeps everybody out while the storage fails, and a device with too
// many connections.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	if c := (*h.host.broker.clients.Load())[string(pk.Connect.Username)]; !h.host.shut() && (c == nil || !h.host.crowded(c)) {
		return nil
	}
	_ = h.host.server.SendConnack(cl, packets.ErrServerUnavailable, false, nil)
	return packets.ErrServerUnavailable
}

// OnConnectAuthenticate checks name, password and the topic of the will, which
// mochi itself publishes unchecked.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	l, ok := cl.Net.Conn.(*line)
	if !ok {
		return false
	}
	given := credentials{string(pk.Connect.Username), pk.Connect.Password, l.fingerprint()}
	name := given.name
	c, proof, problem := h.host.broker.signIn(given)
	if problem == nil {
		name = c.id
		if h.host.crowded(c) {
			return false // by name it was told in OnConnect
		}
	}
	if problem == nil && pk.Connect.WillFlag && (!c.mayWrite(pk.Connect.WillTopic) || !mqtt.IsValidFilter(pk.Connect.WillTopic, true)) {
		problem = devices.Invalid("will.topic", "bad_will",
			"设备的遗嘱主题不属于该设备；请改为 offsite/"+name+"/ 下的主题",
			"the topic of the device's will is not its own; use one below offsite/"+name+"/")
	}
	if problem != nil {
		h.host.refuse(l, name, problem)
		return false
	}
	l.signedIn(c, proof, int(cl.Properties.Props.ReceiveMaximum))
	withoutQuota(cl)
	cl.Properties.Props.TopicAliasMaximum = 0 // mochi spends an alias on messages that it then drops
	cl.ID = name + "/" + cl.ID                // so that nobody takes over the session of another device
	return true
}

// withoutQuota turns off mochi's own account of what an MQTT 5 client has not
// acknowledged: with it every packet read takes a read lock twice in one
// goroutine (Inflight.NextImmediate), and stands still for ever when another
// wants to write between the two. The line keeps the account instead.
func withoutQuota(cl *mqtt.Client) { cl.State.Inflight.ResetSendQuota(0) }

// OnSessionEstablish comes before mochi moves what is in flight from an earlier
// connection of the session to this one and repeats it. A message passed on
// meanwhile would be lost with the earlier one, or sent twice with one packet id.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	if l, ok := cl.Net.Conn.(*line); ok {
		h.host.moving.Lock()
		l.moving = true
	}
}

// OnSessionEstablished tells that the device is there.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	if l, ok := cl.Net.Conn.(*line); ok {
		l.moved()
		h.host.joined(l)
	}
}

// client gives the device of the line as it is registered now, or nil.
func (h *hook) client(cl *mqtt.Client) *client {
	l, ok := cl.Net.Conn.(*line)
	if !ok {
		return nil
	}
	return (*h.host.broker.clients.Load())[l.device]
}

// OnACLCheck says whether a device may write to or read from a topic. To a
// device of MQTT 3.1.1, which has no word for "not allowed", mochi would close
// the connection and with it the road of its good readings: OnPublish answers
// such a message and drops it.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	c := h.client(cl)
	if c == nil {
		return false // a session that its device has left behind
	}
	if (write && c.mayWrite(topic)) || (!write && c.mayRead(unshared(topic))) {
		return true
	}
	h.host.broker.counts.forbidden.Add(1)
	topic = strings.TrimPrefix(topic, unheard)
	if write && h.host.broker.unbound.note(Unbound{Device: c.id, Topic: topic, Forbidden: true, At: time.Now().UTC()}) {
		h.host.log.Warn("device publishes to a topic that is not its own", "device", c.id, "topic", topic)
	}
	return write && cl.Properties.ProtocolVersion < 5
}

// unheard stands before the topics that mochi takes no notice of, those of the
// server ($SYS) and of shared subscriptions: without it a message to them has no
// answer, and a device that waits for one sends nothing else.
const unheard = "\x01"

// OnPacketRead keeps account of what a client acknowledges, lets a device repeat
// a QoS 2 message whose PUBREC it did not get, and has each message answered.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	l, ok := cl.Net.Conn.(*line)
	if !ok {
		return pk, nil
	}
	switch pk.FixedHeader.Type {
	case packets.Puback, packets.Pubcomp:
		l.acknowledged()
	case packets.Pubrec:
		if pk.ReasonCode >= packets.ErrUnspecifiedError.Code {
			l.acknowledged()
		}
	case packets.Publish:
		if pk.FixedHeader.Qos == 2 && pk.FixedHeader.Dup {
			h.repeated(l, cl, pk.PacketID)
		}
		if !mqtt.IsValidFilter(pk.TopicName, true) && !strings.ContainsAny(pk.TopicName, "+#") { // wildcards end the connection, as MQTT wants
			pk.TopicName = unheard + pk.TopicName
		}
	}
	return pk, nil
}

// repeated forgets the PUBREC of a message that comes again: mochi would refuse
// the message with "packet identifier in use".
func (h *hook) repeated(l *line, cl *mqtt.Client, packet uint16) {
	held, ok := cl.State.Inflight.Get(packet)
	if ok && held.FixedHeader.Type == packets.Pubrec && cl.State.Inflight.Delete(packet) {
		atomic.AddInt64(&h.host.server.Info.Inflight, -1)
		l.again = packet
	}
}

// OnPacketEncode holds messages back from a client that reads slowly; mochi
// drops what then does not fit its queue. It also mends a CONNACK of mochi's.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	l, ok := cl.Net.Conn.(*line)
	switch {
	case !ok:
	case pk.FixedHeader.Type == packets.Publish:
		l.pause(pk.FixedHeader.Qos, pk.FixedHeader.Dup)
	case pk.FixedHeader.Type == packets.Connack:
		withoutQuota(cl) // the session may have brought it back
		if cl.Properties.ProtocolVersion < 5 && pk.ReasonCode == packets.ErrUnspecifiedError.Code {
			pk.ReasonCode = packets.Err3ClientIdentifierNotValid.Code // mochi's word for a lasting session without a name; MQTT 3.1.1, 3.1.3-8
		}
	}
	return pk
}

// OnPublish takes the messages whose answer is ours to give. The only error it
// may return is ErrRejectPacket: any other is acknowledged as a success.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	l, ok := cl.Net.Conn.(*line)
	if !ok { // passed on by ourselves
		pk.Created = h.host.order.Add(1) // mochi repeats what is in flight in this order; whole seconds would not do
		return pk, nil
	}
	c := h.client(cl)
	if c == nil {
		return pk, packets.ErrRejectPacket // it is being disconnected
	}
	if c.settings.Rate > 0 {
		l.rest(h.host.turn(c))
	}
	o := owed{packet: pk.PacketID, qos: pk.FixedHeader.Qos, client: cl}
	again := o.qos == 2 && l.again == pk.PacketID && l.again != 0
	l.again = 0
	if !c.mayWrite(pk.TopicName) { // OnACLCheck has told it
		if o.qos > 0 {
			_ = l.owe(o) // a closed line owes nothing
		}
		return pk, packets.ErrRejectPacket
	}
	h.host.broker.listeners.tell(c.id, pk.TopicName, pk.Payload)
	if !again && o.qos > 0 && (pk.FixedHeader.Retain || atomic.LoadInt64(&h.host.server.Info.Subscriptions) > 0) {
		kept := pk
		o.pass = &kept
	}
	switch bound := c.inbox.Bound(pk.TopicName); {
	case bound && !again && !erasure(&pk):
		h.record(l, c, &pk, o)
	default:
		if !bound {
			h.noteUnbound(c, &pk)
		}
		if o.qos > 0 {
			_ = l.owe(o) // a closed line owes nothing
		}
	}
	if o.qos == 0 {
		return pk, nil
	}
	return pk, packets.ErrRejectPacket
}

// erasure says that the message only deletes the one that was retained.
func erasure(pk *packets.Packet) bool { return pk.FixedHeader.Retain && len(pk.Payload) == 0 }

func (h *hook) noteUnbound(c *client, pk *packets.Packet) {
	sample := bytes.Clone(pk.Payload[:min(len(pk.Payload), mostSample)])
	heard := Unbound{Device: c.id, Topic: pk.TopicName, Bytes: len(pk.Payload), Sample: sample, At: time.Now().UTC()}
	if h.host.broker.unbound.note(heard) {
		h.host.log.Info("message on a topic that no point is bound to", "device", c.id, "topic", pk.TopicName)
	}
}

// record hands a message on a bound topic to the sink.
func (h *hook) record(l *line, c *client, pk *packets.Packet, o owed) {
	o.waits = true
	if l.owe(o) != nil {
		return
	}
	m := payload.Message{Topic: pk.TopicName, Payload: pk.Payload, Received: time.Now(), Resent: pk.FixedHeader.Dup}
	if o.qos > 0 {
		m.ID = strconv.Itoa(int(o.packet))
	}
	c.recent.note(&m)
	d, reports := c.inbox.Open(m)
	h.host.sink.Accept(d, l.settle)
	for _, r := range reports {
		h.host.sink.Report(r)
	}
	l.ask(c.inbox.Asks())
}

// OnWillSent records a will on a bound topic: the gateway is its subscriber too.
func (h *hook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	c := h.client(cl)
	if c == nil || !c.inbox.Bound(pk.TopicName) {
		return
	}
	d, reports := c.inbox.Open(payload.Message{Topic: pk.TopicName, Payload: pk.Payload, Received: time.Now()})
	counts := &h.host.broker.counts
	h.host.sink.Accept(d, func(err error) {
		if err != nil {
			counts.qos0Lost.Add(1)
			return
		}
		counts.accepted.Add(1)
	})
	for _, r := range reports {
		h.host.sink.Report(r)
	}
}

// OnClientExpired removes the subscriptions of a session that mochi forgets.
func (h *hook) OnClientExpired(cl *mqtt.Client) { h.host.server.UnsubscribeClient(cl) }
