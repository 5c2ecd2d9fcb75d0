package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"offsite/devices"
)

// publisherDevice is the device and the one binding of publisher i.
func publisherDevice(i int) (devices.Device, devices.Bound) {
	id := fmt.Sprintf("pub-%03d", i)
	dev := devices.Device{ID: id, Driver: devices.DriverBroker, Password: devices.Secret("password-of-" + id)}
	point := "dust." + id
	return dev, devices.Bound{
		Site: "bench", Point: devices.Point{ID: point},
		Binding: devices.Binding{ID: id, Device: id, Point: point, Topic: &devices.Topic{Path: "data.pm10", TimePath: "time"}},
	}
}

// publish is the child process: so many connections that each publish their
// share with QoS 1. It prints a line when all are signed in, begins when its
// input ends, and prints the median and the 99th percentile from PUBLISH to
// PUBACK in milliseconds.
func publish(ctx context.Context, f ingestFlags) error {
	g, ctx := errgroup.WithContext(ctx)
	begin := make(chan struct{})
	var ready sync.WaitGroup
	ready.Add(f.publishers)
	var all delays
	for i := range f.publishers {
		g.Go(func() error {
			p, err := newPublisher(ctx, i, f)
			ready.Done()
			if err != nil {
				return err
			}
			defer func() { _ = p.conn.Close() }()
			<-begin
			return p.run(&all)
		})
	}
	ready.Wait()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
	close(begin)
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Println(all.percentile(0.50), all.percentile(0.99))
	return nil
}

// publisher speaks just enough MQTT 3.1.1 to cost little beside the gateway.
type publisher struct {
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	packet []byte // a PUBLISH; id and time are written into it
	idAt   int
	timeAt int
	n      int
	gather bool // write what fits the window at once
	window chan struct{}
	sent   [1 << 16]time.Time // by packet id
}

const payloadSize = 256

func newPublisher(ctx context.Context, i int, f ingestFlags) (*publisher, error) {
	dev, bound := publisherDevice(i)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", f.publish)
	if err != nil {
		return nil, err
	}
	p := &publisher{
		conn: conn, r: bufio.NewReaderSize(conn, 16<<10), w: bufio.NewWriterSize(conn, 32<<10),
		n: f.n / f.publishers, gather: f.gather, window: make(chan struct{}, f.inflight),
	}
	p.prepare("offsite/"+bound.Binding.Device, i)
	return p, p.signIn(dev)
}

// prepare makes the packet: 256 bytes of JSON behind the topic.
func (p *publisher) prepare(topic string, i int) {
	head := fmt.Sprintf(`{"device":"pub-%03d","model":"dust monitor","time":`, i)
	tail := `,"data":{"pm25":38.2,"pm10":81.25,"noise":61.4,"temp":23.5,"hum":40.1,"wind":2.3,"dir":180},"status":"ok","battery":97,"note":""}`
	pad := strings.Repeat(".", payloadSize-len(head)-13-len(tail))
	payload := head + "0000000000000" + tail[:len(tail)-2] + pad + `"}`
	body := binary.BigEndian.AppendUint16(nil, uint16(len(topic)))
	body = append(append(body, topic...), 0, 0)
	idAt := len(body) - 2
	timeAt := len(body) + len(head)
	body = append(body, payload...)
	p.packet = append([]byte{0x32, byte(len(body)&0x7f | 0x80), byte(len(body) >> 7)}, body...)
	p.idAt, p.timeAt = idAt+3, timeAt+3
}

func (p *publisher) signIn(dev devices.Device) error {
	body := []byte{0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 60}
	for _, s := range []string{"bench-" + dev.ID, dev.ID, dev.Password.Reveal()} {
		body = append(binary.BigEndian.AppendUint16(body, uint16(len(s))), s...)
	}
	if _, err := p.conn.Write(append([]byte{0x10, byte(len(body))}, body...)); err != nil {
		return err
	}
	var answer [4]byte
	if _, err := io.ReadFull(p.r, answer[:]); err != nil {
		return err
	}
	if answer[3] != 0 {
		return fmt.Errorf("sign-in of %s refused with %d", dev.ID, answer[3])
	}
	return nil
}

func (p *publisher) run(all *delays) error {
	var g errgroup.Group
	g.Go(func() error { return p.readAcks(all) })
	g.Go(p.send)
	return g.Wait()
}

// send publishes as fast as the window allows, each message by itself as devices
// do, or gathered until the window is full.
func (p *publisher) send() error {
	for i := range p.n {
		select {
		case p.window <- struct{}{}:
		default:
			if err := p.w.Flush(); err != nil {
				return err
			}
			p.window <- struct{}{}
		}
		id := uint16(i%65535 + 1)
		now := time.Now()
		p.sent[id] = now
		binary.BigEndian.PutUint16(p.packet[p.idAt:], id)
		putMillis(p.packet[p.timeAt:p.timeAt+13], now.UnixMilli())
		if _, err := p.w.Write(p.packet); err != nil {
			return err
		}
		if !p.gather {
			if err := p.w.Flush(); err != nil {
				return err
			}
		}
	}
	return p.w.Flush()
}

func putMillis(digits []byte, ms int64) {
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = byte('0' + ms%10)
		ms /= 10
	}
}

func (p *publisher) readAcks(all *delays) error {
	var ack [4]byte
	for i := range p.n {
		if _, err := io.ReadFull(p.r, ack[:]); err != nil {
			return fmt.Errorf("after %d acknowledgements: %w", i, err)
		}
		if ack[0] != 0x40 {
			return fmt.Errorf("packet of type %#x, want a PUBACK", ack[0])
		}
		if i%64 == 0 {
			all.add(time.Since(p.sent[binary.BigEndian.Uint16(ack[2:])]))
		}
		<-p.window
	}
	return nil
}

// delays are samples of a delay.
type delays struct {
	mu   sync.Mutex
	list []time.Duration
}

func (d *delays) add(v time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list = append(d.list, v)
}

// percentile gives the delay that the share of samples does not exceed, in ms.
func (d *delays) percentile(share float64) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.list) == 0 {
		return "0"
	}
	sort.Slice(d.list, func(i, j int) bool { return d.list[i] < d.list[j] })
	return fmt.Sprintf("%.2f", float64(d.list[int(share*float64(len(d.list)-1))].Microseconds())/1e3)
}
