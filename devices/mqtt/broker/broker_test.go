package broker

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/mqtt/mqtttest"
	"offsite/devices/mqtt/payload"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "offsite/dev-1/p"

func TestAcknowledgesOnlyWhatIsOnDisk(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for _, tt := range []struct {
			name string
			qos  byte
			ack  byte
		}{{"QoS 1", 1, packets.Puback}, {"QoS 2", 2, packets.Pubrec}} {
			t.Run(fmt.Sprintf("MQTT %d %s", version, tt.name), func(t *testing.T) {
				s := mqtttest.NewShelf()
				s.Set(true, nil)
				b := start(t, s)
				p := signIn(t, b, version, "dev-1")
				for id := range uint16(20) {
					p.Publish(topic, fmt.Sprint(id), tt.qos, id+1)
				}
				s.AwaitDeliveries(t, 20)
				p.quiet()
				s.Release()
				for id := range uint16(20) {
					if got := p.Want(tt.ack); got.PacketID != id+1 || got.ReasonCode != 0 {
						t.Fatalf("acknowledgement of %d with %#x, want %d", got.PacketID, got.ReasonCode, id+1)
					}
				}
				if tt.qos == 2 {
					p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: 3})
					if got := p.Want(packets.Pubcomp); got.PacketID != 3 || got.ReasonCode != 0 {
						t.Fatalf("PUBCOMP of %d with %#x", got.PacketID, got.ReasonCode)
					}
				}
				if c := b.Counts(); c.Accepted != 20 || c.Connected != 1 {
					t.Errorf("counts %+v", c)
				}
			})
		}
	}
}

func TestDeliveryTellsWhatCame(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	p := signIn(t, b, 4, "dev-1")
	p.Publish(topic, `{"v":1.5,"ts":1700000000}`, 1, 7, mqtttest.Dup)
	p.Publish(topic, `broken`, 1, 8)
	p.Publish(topic, `2`, 0, 0)
	p.Want(packets.Puback)
	p.Want(packets.Puback)
	got := s.AwaitDeliveries(t, 3)
	want := devices.Origin{Device: "dev-1", ID: "7", Hash: payload.Fingerprint(topic, []byte(`{"v":1.5,"ts":1700000000}`)), Resent: true}
	if diff := cmp.Diff(want, got[0].Origin); diff != "" {
		t.Error(diff)
	}
	reading := []devices.Reading{{Site: "site-1", Point: "out.p", Value: 1.5, At: time.Unix(1700000000, 0).UTC()}}
	if diff := cmp.Diff(reading, got[0].Readings); diff != "" {
		t.Error(diff)
	}
	if got[1].Letter == nil || got[1].Letter.Problem.Code != "not_a_number" || got[1].Origin.Resent {
		t.Errorf("delivery %+v", got[1])
	}
	if got[2].Origin.ID != "" || len(got[2].Readings) != 1 || got[2].Readings[0].Value != 2 {
		t.Errorf("delivery %+v", got[2])
	}
	s.AwaitReport(t, "dev-1", "not_a_number")
}

func TestUnboundMessagesKeepTheirPlaceInTheQueue(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	b := start(t, s)
	p := signIn(t, b, 4, "dev-1")
	p.Publish(topic, "1", 1, 1)
	p.Publish("offsite/dev-1/log", "started", 1, 2)
	p.Publish(topic, "2", 1, 3)
	s.AwaitDeliveries(t, 2)
	p.quiet()
	s.Release()
	for id := range uint16(3) {
		if got := p.Want(packets.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
	p.Publish("offsite/dev-1/log", "still here", 1, 4)
	p.Want(packets.Puback)
	got := b.Unbound()
	if len(got) != 1 || got[0].Device != "dev-1" || got[0].Topic != "offsite/dev-1/log" || got[0].Count != 2 || got[0].Bytes != 10 {
		t.Errorf("unbound topics %+v", got)
	}
	if err := b.Update([]Client{member("dev-1", bound("dev-1", "out.log", nil))}); err != nil {
		t.Fatal(err)
	}
	if got := b.Unbound(); len(got) != 0 {
		t.Errorf("unbound topics after the binding %+v", got)
	}
}

func TestOtherSubscribersGetWhatIsOnDisk(t *testing.T) {
	for _, version := range []byte{4, 5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("MQTT %d QoS %d", version, qos), func(t *testing.T) {
				s := mqtttest.NewShelf()
				s.Set(qos > 0, nil)
				b := start(t, s)
				sub := signIn(t, b, version, "dev-1", func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "viewer" })
				if code := sub.subscribe("offsite/dev-1/#", 1); code != 1 {
					t.Fatalf("SUBACK %#x", code)
				}
				p := signIn(t, b, version, "dev-1")
				p.Publish(topic, "1", qos, uint16(qos)*5, mqtttest.Retained)
				s.AwaitDeliveries(t, 1)
				if qos > 0 {
					sub.quiet()
				}
				s.Release()
				got := sub.Want(packets.Publish)
				if got.TopicName != topic || string(got.Payload) != "1" || got.FixedHeader.Qos != min(qos, 1) || got.FixedHeader.Retain {
					t.Errorf("subscriber got %+v", got)
				}
				late := signIn(t, b, version, "dev-1", func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "late" })
				late.subscribe(topic, 0)
				if got := late.Want(packets.Publish); string(got.Payload) != "1" || !got.FixedHeader.Retain {
					t.Errorf("late subscriber got %+v", got)
				}
				p.Publish(topic, "", qos, uint16(qos)*6, mqtttest.Retained)
				if got := late.Want(packets.Publish); len(got.Payload) != 0 {
					t.Errorf("late subscriber got %+v", got)
				}
				if got := s.AwaitDeliveries(t, 1); len(got) != 1 {
					t.Errorf("the deletion of a mqtttest.Retained message became a delivery: %+v", got[1])
				}
			})
		}
	}
}

func TestStorageErrorAcknowledgesNothing(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	b := start(t, s)
	p := signIn(t, b, 4, "dev-1")
	for id := range uint16(3) {
		p.Publish(topic, "1", 1, id+1)
	}
	p.Publish(topic, "1", 0, 0)
	s.AwaitDeliveries(t, 4)
	s.Set(true, errors.New("no space left"))
	s.Release()
	p.wantEnd()
	s.AwaitReport(t, "dev-1", "storage_failed")
	if code := dial(t, b, 4).connect("dev-1"); code != 3 {
		t.Errorf("CONNACK %d while the storage fails, want 3, server unavailable", code)
	}
	if code := dial(t, b, 5).connect("dev-1"); code != 0x88 {
		t.Errorf("CONNACK %#x while the storage fails, want 0x88", code)
	}
	c := b.Counts()
	if c.Accepted != 0 || c.Failed != 3 || c.QoS0Lost != 1 || c.Disconnected != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestFullQueueStopsReading(t *testing.T) {
	s := mqtttest.NewShelf()
	s.Set(true, nil)
	b := start(t, s, func(c *Config) { c.Waiting = 4 })
	p := signIn(t, b, 4, "dev-1")
	for id := range uint16(10) {
		p.Publish(topic, "1", 1, id+1)
	}
	s.AwaitDeliveries(t, 4)
	other := signIn(t, b, 4, "dev-2")
	other.Publish("offsite/dev-2/x", "1", 1, 1)
	other.Want(packets.Puback) // nobody else is held up
	if got := s.AwaitDeliveries(t, 4); len(got) != 4 {
		t.Errorf("%d deliveries while 4 wait", len(got))
	}
	s.Set(false, nil)
	s.Release()
	for id := range uint16(10) {
		if got := p.Want(packets.Puback); got.PacketID != id+1 {
			t.Fatalf("PUBACK of %d, want %d", got.PacketID, id+1)
		}
	}
}

func TestDeafDeviceIsDisconnected(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s, func(c *Config) { c.Patience = 100 * time.Millisecond })
	deaf := signIn(t, b, 4, "dev-1")
	var burst []byte
	for id := range uint16(4000) {
		burst = append(burst, 0x32, 19, 0, 15)
		burst = append(burst, "offsite/dev-1/q"...)
		burst = append(burst, byte((id+1)>>8), byte(id+1))
	}
	go func() {
		for err := error(nil); err == nil; {
			_, err = deaf.Conn.Write(burst)
		}
	}()
	other := signIn(t, b, 4, "dev-2")
	for id := range uint16(50) {
		other.Publish("offsite/dev-2/x", "1", 1, id+1)
		other.Want(packets.Puback)
	}
	s.AwaitReport(t, "dev-1", "deaf_device")
	if c := b.Counts(); c.Deaf != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestSignIn(t *testing.T) {
	bad := func(f func(*packets.ConnectParams)) func(*packets.Packet) {
		return func(pk *packets.Packet) { f(&pk.Connect) }
	}
	tests := []struct {
		name   string
		device string
		change func(*packets.Packet)
		code   string // of the refusal; empty when it may come in
	}{
		{name: "right password", device: "dev-1"},
		{name: "empty client id", device: "dev-1", change: bad(func(c *packets.ConnectParams) { c.ClientIdentifier = "" })},
		{name: "own will", device: "dev-1", change: will("offsite/dev-1/state")},
		{name: "wrong password", device: "dev-1", change: bad(func(c *packets.ConnectParams) { c.Password = []byte("guess") }), code: "bad_password"},
		{name: "no password", device: "dev-1", change: bad(func(c *packets.ConnectParams) { c.Password, c.PasswordFlag = nil, false }), code: "bad_password"},
		{name: "nobody", device: "", change: bad(func(c *packets.ConnectParams) {
			c.Username, c.UsernameFlag, c.Password, c.PasswordFlag = nil, false, nil, false
		}), code: "unknown_device"},
		{name: "unknown device", device: "dev-9", code: "unknown_device"},
		{name: "device without a password", device: "open", change: bad(func(c *packets.ConnectParams) { c.Password, c.PasswordFlag = nil, false }), code: "no_password"},
		{name: "will of another", device: "dev-1", change: will("offsite/dev-2/state"), code: "bad_will"},
		{name: "will for the broker itself", device: "dev-1", change: will("$SYS/broker/version"), code: "bad_will"},
	}
	for _, version := range []byte{4, 5} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("MQTT %d %s", version, tt.name), func(t *testing.T) {
				s := mqtttest.NewShelf()
				b := start(t, s)
				_ = b.Update([]Client{member("dev-1", bound("dev-1", "out.p", nil)), member("dev-2"), {Device: devices.Device{ID: "open"}}})
				if tt.change == nil {
					tt.change = func(*packets.Packet) {}
				}
				code := dial(t, b, version).connect(tt.device, tt.change)
				refused := b.Refused()
				if tt.code == "" {
					if code != 0 || len(refused) != 0 {
						t.Errorf("CONNACK %#x, refused %+v", code, refused)
					}
					s.AwaitReport(t, tt.device, "")
					return
				}
				want := byte(5)
				if version == 5 {
					want = 0x86
				}
				if code != want || len(refused) != 1 || refused[0].Code != tt.code || refused[0].Username != tt.device {
					t.Errorf("CONNACK %#x, refused %+v, want %s", code, refused, tt.code)
				}
				if tt.code != "unknown_device" {
					s.AwaitReport(t, tt.device, tt.code)
				}
			})
		}
	}
}

func will(topic string) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload, pk.Connect.WillQos = true, topic, []byte("0"), 1
	}
}

func TestWillReachesSubscribersAndTheSink(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	sub := signIn(t, b, 4, "dev-1", func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "viewer" })
	sub.subscribe(topic, 1)
	p := signIn(t, b, 4, "dev-1", will(topic))
	_ = p.Conn.Close()
	if got := sub.Want(packets.Publish); string(got.Payload) != "0" {
		t.Errorf("subscriber got %+v", got)
	}
	if got := s.AwaitDeliveries(t, 1); len(got[0].Readings) != 1 || got[0].Readings[0].Value != 0 {
		t.Errorf("delivery %+v", got[0])
	}
}

func TestOwnTopicsOnly(t *testing.T) {
	filters := []struct {
		filter string
		want   byte
	}{
		{"offsite/dev-1/#", 0},
		{"offsite/dev-1", 0},
		{"offsite/dev-1/+/x", 0},
		{"$share/g/offsite/dev-1/x", 0},
		{"plant/7/pm", 0},
		{"offsite/dev-2/#", 0x80},
		{"offsite/+/p", 0x80},
		{"offsite/dev-12/p", 0x80},
		{"#", 0x80},
		{"$SYS/#", 0x80},
		{"$share/g/offsite/#", 0x80},
	}
	s := mqtttest.NewShelf()
	b := start(t, s)
	_ = b.Update([]Client{member("dev-1", bound("dev-1", "out.p", &devices.Topic{Topic: "plant/7/pm"})), member("dev-2")})
	p := signIn(t, b, 4, "dev-1")
	for _, f := range filters {
		if got := p.subscribe(f.filter, 0); got != f.want {
			t.Errorf("SUBACK of %s is %#x, want %#x", f.filter, got, f.want)
		}
	}
	p.Publish("plant/7/pm", "1", 0, 0)
	s.AwaitDeliveries(t, 1)
	p.Want(packets.Publish)
	p.Publish("offsite/dev-2/x", "1", 0, 0)
	p.quiet()
	p.Publish("offsite/dev-2/x", "1", 1, 3) // MQTT 3.1.1 cannot say no, and the device's other topics go on
	p.Want(packets.Puback)
	five := signIn(t, b, 5, "dev-1")
	five.Publish("offsite/dev-2/x", "1", 1, 3)
	if got := five.Want(packets.Puback); got.ReasonCode != packets.ErrNotAuthorized.Code {
		t.Errorf("PUBACK %#x", got.ReasonCode)
	}
	if got := b.Unbound(); len(got) != 1 || !got[0].Forbidden || got[0].Count != 3 {
		t.Errorf("topics told: %+v", got)
	}
}

// A device that waits for its answer sends nothing else meanwhile.
func TestTopicsOfTheServerAreAnsweredAndTold(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	_ = b.Update([]Client{member("dev-1", bound("dev-1", "out.p", &devices.Topic{Topic: "offsite/dev-1/p"}), bound("dev-1", "out.q", &devices.Topic{Topic: "+/load"}))})
	p := signIn(t, b, 4, "dev-1")
	for i, topic := range []string{"$SYS/load", "$sys/x", "$SHARE"} {
		p.Publish(topic, "1", 1, uint16(i+1))
		if got := p.Want(packets.Puback); got.PacketID != uint16(i+1) {
			t.Errorf("%s: PUBACK of %d", topic, got.PacketID)
		}
	}
	five := signIn(t, b, 5, "dev-1", named("five"))
	five.Publish("$SYS/load", "1", 2, 7)
	if got := five.Want(packets.Pubrec); got.PacketID != 7 || got.ReasonCode != packets.ErrNotAuthorized.Code {
		t.Errorf("PUBREC of %d: %#x", got.PacketID, got.ReasonCode)
	}
	told := map[string]int64{}
	for _, u := range b.Unbound() {
		if u.Forbidden {
			told[u.Topic] = u.Count
		}
	}
	if diff := cmp.Diff(map[string]int64{"$SYS/load": 2, "$sys/x": 1, "$SHARE": 1}, told); diff != "" {
		t.Error(diff)
	}
	p.Publish("offsite/dev-1/p", "2", 1, 9)
	if got := s.AwaitDeliveries(t, 1); len(got[0].Readings) != 1 || got[0].Readings[0].Point != "out.p" {
		t.Errorf("delivery %+v", got[0])
	}
}

func TestUpdateTakesEffectWithoutDisturbingOthers(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	one, two := signIn(t, b, 4, "dev-1"), signIn(t, b, 4, "dev-2")
	changed := member("dev-2", bound("dev-2", "out.q", nil))
	if err := b.Update([]Client{changed}); err != nil {
		t.Fatal(err)
	}
	one.wantEnd()
	s.AwaitReport(t, "dev-1", "sign_in_changed")
	two.Publish("offsite/dev-2/q", "4", 1, 1)
	two.Want(packets.Puback)
	if got := s.AwaitDeliveries(t, 1); got[0].Readings[0].Point != "out.q" {
		t.Errorf("delivery %+v", got[0])
	}
	if code := dial(t, b, 4).connect("dev-1"); code != 5 {
		t.Errorf("CONNACK %d for a retired device", code)
	}
	changed.Device.Password = "another"
	_ = b.Update([]Client{changed})
	two.wantEnd()
	bad := member("dev-2", bound("dev-2", "out.q", nil), bound("dev-2", "out.r", &devices.Topic{Topic: "a/#/b"}))
	err := b.Update([]Client{bad})
	if ps := devices.AllProblems(err); len(ps) != 1 || ps[0].Code != "wildcard" {
		t.Errorf("Update: %v", err)
	}
	signIn(t, b, 4, "dev-2").Publish("offsite/dev-2/q", "5", 0, 0)
	s.AwaitDeliveries(t, 2)
}

func TestDevicesMayShareAClientID(t *testing.T) {
	s := mqtttest.NewShelf()
	b := start(t, s)
	same := func(pk *packets.Packet) { pk.Connect.ClientIdentifier = "sensor" }
	one := signIn(t, b, 4, "dev-1", same)
	two := signIn(t, b, 4, "dev-2", same)
	one.quiet()
	two.quiet()
	again := signIn(t, b, 4, "dev-1", same)
	one.wantEnd()
	again.quiet()
}

func TestQoS2RepeatedAfterItsAnswerWasLost(t *testing.T) {
	for _, version := range []byte{4, 5} {
		t.Run(fmt.Sprintf("MQTT %d", version), func(t *testing.T) {
			s := mqtttest.NewShelf()
			b := start(t, s)
			stay := func(pk *packets.Packet) {
				pk.Connect.Clean = false
				pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
			}
			p := signIn(t, b, version, "dev-1", stay)
			p.Publish(topic, "1", 2, 9)
			p.Want(packets.Pubrec)
			_ = p.Conn.Close()
			p = signIn(t, b, version, "dev-1", stay)
			p.Want(packets.Pubrec) // mochi repeats what is in flight
			p.Publish(topic, "1", 2, 9, mqtttest.Dup)
			if got := p.Want(packets.Pubrec); got.ReasonCode != 0 {
				t.Errorf("PUBREC %#x", got.ReasonCode)
			}
			p.Send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: 9})
			p.Want(packets.Pubcomp)
			if got := s.AwaitDeliveries(t, 1); len(got) != 1 {
				t.Errorf("%d deliveries of one QoS 2 message", len(got))
			}
		})
	}
}

func TestNewRefusesPlainMQTTOffLoopback(t *testing.T) {
	for _, tt := range []struct {
		name, address string
		insecure      bool
		code          string
	}{
		{"default", "", false, ""},
		{"loopback 6", "[::1]:1883", false, ""},
		{"everywhere", ":1883", false, "insecure"},
		{"a network", "10.0.0.7:1883", false, "insecure"},
		{"accepted risk", "0.0.0.0:1883", true, ""},
		{"no port", "127.0.0.1", false, "bad_address"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := New(Config{Address: tt.address, Insecure: tt.insecure})
			ps := devices.AllProblems(err)
			if (tt.code == "") != (len(ps) == 0) || (len(ps) > 0 && ps[0].Code != tt.code) {
				t.Errorf("New: %v, want %q", err, tt.code)
			}
		})
	}
}
