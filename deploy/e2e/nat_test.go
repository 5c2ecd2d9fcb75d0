package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"image/jpeg"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sync/errgroup"

	"offsite/deploy/peers"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/streams/rtsp/rtsptest"
)

// insideNAT names the variable by which the test starts itself again inside the
// site's namespace; it holds the parameters as JSON.
const insideNAT = "OFFSITE_E2E_INSIDE_NAT"

// natInside is what the site's half of the test is told.
type natInside struct {
	Binary, Dir, CA, Platform, Code string
}

// TestDispatchFromBehindNAT runs the gateway, its broker, a sensor and a camera
// in a site that cannot be dialled. The platform outside takes a snapshot and a
// reading by command, and its list of current values follows the site's.
func TestDispatchFromBehindNAT(t *testing.T) {
	if raw := os.Getenv(insideNAT); raw != "" {
		siteBehindNAT(t, raw)
		return
	}
	w := newNATWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	w.cannotBeDialled(ctx, t)

	dir := t.TempDir()
	binary, err := peers.Build(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	p, url, ca := w.platform(t, dir)
	media := w.mediaServer(t, dir, ca)
	s := w.startSite(t, natInside{Binary: binary, Dir: dir, CA: ca, Platform: url, Code: p.Code()})

	s.await(ctx, t, "ready", time.Minute)
	follows(ctx, t, p, s)

	ask := func(kind wire.CommandType, args string) wire.Result {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		r, err := p.Command(ctx, wire.Command{
			Type: kind, Args: json.RawMessage(args), Purpose: "夜间施工检查", Officer: wire.Officer{ID: "320100-17", Name: "李明"},
		})
		if err != nil || r.Status != wire.ResultStatusDone {
			t.Fatalf("%s: %v %+v\n%s", kind, err, r, s.out())
		}
		return r
	}
	snapshot := ask(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`)
	picture, err := jpeg.Decode(bytes.NewReader(p.Blob(snapshot.Blobs[0])))
	if err != nil || picture.Bounds().Dx() < 320 {
		t.Errorf("snapshot: %v", err)
	}
	var read wire.ReadingData
	r := ask(wire.CommandTypeReadingRead, `{"points":["gate.pm10","gate.nothing"]}`)
	if err := json.Unmarshal(r.Data, &read); err != nil || len(read.Readings) != 1 || read.Readings[0].Value != s.held || len(read.Missing) != 1 {
		t.Errorf("reading: %v %s, want %v", err, r.Data, s.held)
	}
	ask(wire.CommandTypeResourcesSync, `{}`)
	kinds := map[wire.ResourceKind]int{}
	for _, r := range p.Resources() {
		kinds[r.Kind]++
	}
	if kinds[wire.ResourceKindPoint] != 1 || kinds[wire.ResourceKindCamera] != 1 || kinds[wire.ResourceKindDevice] != 1 {
		t.Errorf("directory: %v", kinds)
	}
	media.receives(ctx, t, p, ask)
	if n := len(p.Acts()); n == 0 {
		t.Error("no act was recorded")
	}
	if v := p.Violations(); len(v) > 0 {
		t.Errorf("contract broken:\n%s", strings.Join(v, "\n"))
	}
}

// cannotBeDialled shows that the site is what it is said to be: something
// listening there is reached from the router and from nowhere outside.
func (w natWorld) cannotBeDialled(ctx context.Context, t *testing.T) {
	t.Helper()
	ln, err := listenIn(ctx, w.site, "0.0.0.0:8443")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := dialIn(ctx, w.router, natSite+":8443"); err != nil {
		t.Fatalf("the site is not there at all: %v", err)
	}
	for _, addr := range []string{natSite + ":8443", natOutside + ":8443"} {
		if err := dialIn(ctx, w.world, addr); err == nil {
			t.Fatalf("%s can be dialled from outside", addr)
		}
	}
}

// platform serves a reference platform over TLS in the world.
func (w natWorld) platform(t *testing.T, dir string) (p *platformtest.Platform, url, ca string) {
	t.Helper()
	p, err := platformtest.Open(platformtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listenIn(t.Context(), w.world, natWorldIP+":0")
	if err != nil {
		t.Fatal(err)
	}
	cert, pemText := selfSigned(t, natWorldIP)
	ca = filepath.Join(dir, "platform-ca.pem")
	if err := os.WriteFile(ca, pemText, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var g errgroup.Group
	g.Go(func() error {
		return p.Run(ctx, tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}))
	})
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("platform: %v", err)
		}
	})
	return p, "https://" + ln.Addr().String(), ca
}

func selfSigned(t *testing.T, ip string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "platform"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// natSiteProcess is the site's half of the test, a process of its own.
type natSiteProcess struct {
	stdin io.WriteCloser
	lines chan string

	mu   sync.Mutex
	log  []string
	held float64 // the value that the sensor has stopped at
}

func (w natWorld) startSite(t *testing.T, in natInside) *natSiteProcess {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ip", "netns", "exec", w.site, os.Args[0], "-test.run=^TestDispatchFromBehindNAT$", "-test.v", "-test.timeout=4m")
	cmd.Env = append(os.Environ(), insideNAT+"="+string(raw))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	s := &natSiteProcess{lines: make(chan string, 10_000)}
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var read sync.WaitGroup
	read.Go(func() {
		for scan := bufio.NewScanner(out); scan.Scan(); {
			s.mu.Lock()
			s.log = append(s.log, scan.Text())
			s.mu.Unlock()
			s.lines <- scan.Text()
		}
		close(s.lines)
	})
	t.Cleanup(func() {
		_ = s.stdin.Close() // tells it to end
		read.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("site: %v\n%s", err, s.out())
		}
	})
	return s
}

func (s *natSiteProcess) out() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.log, "\n")
}

// await gives what stands behind prefix in the next line that has it.
func (s *natSiteProcess) await(ctx context.Context, t *testing.T, prefix string, within time.Duration) string {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case line, open := <-s.lines:
			if !open {
				t.Fatalf("the site ended before it said %q:\n%s", prefix, s.out())
			}
			if rest, found := strings.CutPrefix(line, prefix); found {
				return strings.TrimSpace(rest)
			}
		case <-late:
			t.Fatalf("the site did not say %q:\n%s", prefix, s.out())
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}

// follows watches the platform's current value change while the sensor sends,
// and then agree with the value that it has stopped at.
func follows(ctx context.Context, t *testing.T, p *platformtest.Platform, s *natSiteProcess) {
	t.Helper()
	seen := map[float64]bool{}
	current := func() (float64, error) {
		for _, r := range p.Readings() {
			if r.Point == "gate.pm10" {
				return r.Value, nil
			}
		}
		return 0, errors.New("no value yet")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := peers.Await(ctx, func() error {
		v, err := current()
		if err != nil {
			return err
		}
		if seen[v] = true; len(seen) < 3 {
			return fmt.Errorf("%d values seen", len(seen))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("current values: %v\n%s", err, s.out())
	}
	if _, err := io.WriteString(s.stdin, "hold\n"); err != nil {
		t.Fatal(err)
	}
	if s.held, err = strconv.ParseFloat(s.await(ctx, t, "held", 10*time.Second), 64); err != nil {
		t.Fatal(err)
	}
	err = peers.Await(ctx, func() error {
		if v, err := current(); err != nil || v != s.held {
			return fmt.Errorf("the platform has %v, the site %v", v, s.held)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// siteBehindNAT is the half that runs inside: gateway, sensor and camera. It
// ends when its standard input does.
func siteBehindNAT(t *testing.T, raw string) {
	var in natInside
	if err := json.Unmarshal([]byte(raw), &in); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	camera, err := rtsptest.Listen(rtsptest.Config{Paths: []string{"cam"}})
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error { return camera.Run(ctx) })
	defer func() { cancel(); _ = g.Wait() }()

	o, err := peers.StartOffsite(ctx, in.Binary, in.Dir, filepath.Join(in.Dir, "state"), "platform:\n  ca: "+in.CA+"\n  push:\n    hosts: ["+natWorldIP+"]\n")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Kill()
	for _, thing := range []struct {
		path string
		body map[string]any
	}{
		{"/sites", map[string]any{"id": "yard", "name": "工地", "kind": "construction"}},
		{"/outlets", map[string]any{"id": "gate", "site": "yard", "name": "大门", "kind": "dust"}},
		{"/points", map[string]any{"id": "gate.pm10", "name": "PM10", "factor": "a34002", "unit": "ug/m3", "digits": 1}},
		{"/devices", map[string]any{"id": "dust-1", "site": "yard", "name": "扬尘仪", "driver": "broker", "password": "dust-secret-1"}},
		{"/bindings", map[string]any{"id": "dust-1-pm10", "point": "gate.pm10", "device": "dust-1", "from": time.Now().Add(-time.Minute).UTC()}},
		{"/cameras", map[string]any{"id": "cam-1", "site": "yard", "name": "大门摄像机", "url": camera.URL("cam"), "outlets": []string{"gate"}}},
		{"/platform", map[string]any{"url": in.Platform, "code": in.Code}},
	} {
		if err := o.Do(ctx, "POST", thing.path, thing.body, nil); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Println("ready")
	publishUntilHeld(ctx, t, o.Broker)
}

// publishUntilHeld sends a rising value until "hold" is read, says where it
// stopped, and waits for the end of its input.
func publishUntilHeld(ctx context.Context, t *testing.T, broker string) {
	client := paho.NewClient(paho.NewClientOptions().AddBroker("tcp://" + broker).
		SetClientID("dust-1").SetUsername("dust-1").SetPassword("dust-secret-1").SetConnectTimeout(5 * time.Second))
	err := peers.Await(ctx, func() error {
		token := client.Connect()
		token.Wait()
		return token.Error()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(100)
	hold, end := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(end)
		for scan := bufio.NewScanner(os.Stdin); scan.Scan(); {
			if scan.Text() == "hold" {
				close(hold)
			}
		}
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for v := 40.0; ; v += 0.5 {
		token := client.Publish("offsite/dust-1/pm10", 1, false, strconv.FormatFloat(v, 'f', -1, 64))
		if token.Wait(); token.Error() != nil {
			t.Fatal(token.Error())
		}
		select {
		case <-tick.C:
		case <-hold:
			fmt.Println("held", v)
			<-end
			return
		case <-end:
			return
		}
	}
}
