package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"offsite/deploy/peers"
	"offsite/devices"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
	"offsite/edge/relay"
	"offsite/streams"
	"offsite/streams/rtsp"
	"offsite/streams/rtsp/rtsptest"
)

// gstReceiver is a running gstrecorder.py.
type gstReceiver struct {
	port, file string
}

// startGstReceiver skips the test where GStreamer lacks what the script needs.
// inside is the network namespace it runs in, "" for the test's own.
func startGstReceiver(t *testing.T, inside string, args ...string) gstReceiver {
	t.Helper()
	const script = "gstrecorder.py"
	const python = "/usr/bin/python3" // Debian's own, for which its bindings are made
	r := gstReceiver{file: filepath.Join(t.TempDir(), "pushed")}
	command := append([]string{python, script, r.file}, args...)
	if inside != "" {
		command = append([]string{"ip", "netns", "exec", inside}, command...)
	}
	cmd := exec.Command(command[0], command[1:]...) //nolint:noctx,gosec // ended by the cleanup
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skipf("%s: %v", script, err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", script, complaints.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, scanned := fmt.Sscanf(line, "ready %s", &r.port); err != nil || scanned != nil {
		_ = cmd.Wait()
		if strings.Contains(complaints.String(), "not available") || strings.Contains(complaints.String(), "No module") {
			t.Skipf("GStreamer lacks what %s needs: %s", script, complaints.String())
		}
		t.Fatalf("%s said %q: %s", script, line, complaints.String())
	}
	return r
}

// decoded is how many pictures ffmpeg makes of what the receiver has; it
// complains about none of them.
func (r gstReceiver) decoded(codec string) (int, error) {
	if _, err := os.Stat(r.file); err != nil {
		return 0, err
	}
	cmd := exec.Command("ffmpeg", "-v", "error", "-f", codec, "-i", r.file, "-vf", "scale=8:8,format=gray", "-f", "rawvideo", "-") //nolint:noctx,gosec // reads a file
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	pixels, err := cmd.Output()
	if err == nil && complaints.Len() > 0 {
		err = errors.New(complaints.String())
	}
	return len(pixels) / 64, err
}

// TestPicturesAreRecordedByAServerThatIsNotOurs pushes a camera to GStreamer by
// RTSP and decodes what has come there.
func TestPicturesAreRecordedByAServerThatIsNotOurs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key, trust := certificateFiles(t, dir, "127.0.0.1")
	tests := []struct {
		name, codec, scheme, user string
		args                      []string
		want                      string // problem
	}{
		{"plain", "h264", "rtsp", "", nil, ""},
		{"with a password", "h264", "rtsp", "gate", []string{"--user", "gate", "--password", "secret-1"}, ""},
		{"with a wrong password", "h264", "rtsp", "gate", []string{"--user", "gate", "--password", "another"}, rtsp.CodePushRefused},
		{"TLS", "h264", "rtsps", "", []string{"--certificate", cert, "--key", key}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := startGstReceiver(t, "", append(tt.args, "--codec", tt.codec)...)
			u := &url.URL{Scheme: tt.scheme, Host: "127.0.0.1:" + server.port, Path: "/live"}
			end, err := pushOnce(t, u, tt.user, func(ctx context.Context, to streams.Receiver, p *streams.Parameters, from streams.Publication) error {
				return rtsp.Publish(ctx, to, p, from, rtsp.PublishConfig{TLS: trust})
			}, 5*time.Second)
			var p *devices.Problem
			if errors.As(err, &p); p != nil != (tt.want != "") || p != nil && p.Code != tt.want {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if err != nil {
				return
			}
			// Those of the last second may be under way when the stream is closed.
			if n, err := server.decoded(tt.codec); err != nil || int64(n) < end.Frames-13 || n < 50 {
				t.Errorf("%d of %d pictures, %v", n, end.Frames, err)
			}
		})
	}
}

// certificateFiles writes a certificate of an address and its key, and gives what
// trusts it.
func certificateFiles(t *testing.T, dir, ip string) (certificate, key string, trust *tls.Config) {
	t.Helper()
	pair, text := selfSigned(t, ip)
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, key = filepath.Join(dir, "media.pem"), filepath.Join(dir, "media.key")
	for path, body := range map[string][]byte{certificate: text, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(path, body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	return certificate, key, &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}

// pushOnce pushes a camera of ours to a receiver for a while.
func pushOnce(t *testing.T, to *url.URL, user string, publish relay.Publisher, lasts time.Duration) (relay.End, error) {
	t.Helper()
	camera, err := rtsptest.Listen(rtsptest.Config{Paths: []string{"cam"}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = camera.Run(ctx) })
	feed := superviseCamera(t, devices.Camera{ID: "cam-1", Site: "site-1", Name: "大门", URL: camera.URL("cam")})
	room := relay.New(relay.Config{Publish: map[string]relay.Publisher{to.Scheme: publish}})
	wg.Go(func() { _ = room.Run(ctx) })
	short, stop := context.WithTimeout(ctx, 20*time.Second)
	defer stop()
	order := relay.Order{ID: "s-1", Camera: "cam-1", Feed: feed, For: time.Minute, To: streams.Receiver{URL: to, User: user, Secret: "secret-1"}}
	var opened error
	err = peers.Await(short, func() error {
		_, opened = room.Open(short, order)
		var p *devices.Problem
		if errors.As(opened, &p) && p.Code == "gateway_stopping" { // it has not begun yet
			return opened
		}
		return nil
	})
	if opened != nil {
		return relay.End{}, errors.Join(opened, err)
	}
	pause := time.NewTimer(lasts)
	defer pause.Stop()
	<-pause.C
	return room.Close(ctx, "s-1")
}

// mediaServer is one of the world, to which the platform has pictures pushed.
type mediaServer struct {
	gstReceiver
	url string
}

// mediaServer starts it. Its certificate joins what the site trusts.
func (w natWorld) mediaServer(t *testing.T, dir, ca string) mediaServer {
	t.Helper()
	cert, key, _ := certificateFiles(t, dir, natWorldIP)
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	trusted, err := os.OpenFile(ca, os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = trusted.Write(text)
	if err := errors.Join(err, trusted.Close()); err != nil {
		t.Fatal(err)
	}
	record := startGstReceiver(t, w.world, "--address", natWorldIP, "--certificate", cert, "--key", key)
	return mediaServer{record, "rtsps://" + net.JoinHostPort(natWorldIP, record.port) + "/live"}
}

// receives has the platform open a stream to the server, renew and close it, and
// looks at what has come.
func (m mediaServer) receives(ctx context.Context, t *testing.T, p *platformtest.Platform, ask func(wire.CommandType, string) wire.Result) {
	t.Helper()
	var opened wire.StreamData
	r := ask(wire.CommandTypeStreamOpen, fmt.Sprintf(`{"camera":"cam-1","profile":"main","ttl_seconds":60,"push_url":%q,"push_token":"secret-1"}`, m.url))
	if err := json.Unmarshal(r.Data, &opened); err != nil || opened.Stream != r.Command || opened.Codec != wire.StreamDataCodecH264 || opened.FirstFrameMS == nil {
		t.Fatalf("%s: opened %s, %v", m.url, r.Data, err)
	}
	t.Logf("%s: first frame after %d ms", m.url, *opened.FirstFrameMS)
	err := peers.Await(ctx, func() error {
		if n, err := m.decoded("h264"); err != nil || n < 50 {
			return fmt.Errorf("%d pictures, %w", n, err)
		}
		return nil
	})
	if err != nil {
		t.Errorf("%s: %v", m.url, err)
	}
	ask(wire.CommandTypeStreamRenew, fmt.Sprintf(`{"stream":%q,"ttl_seconds":120}`, opened.Stream))
	var end wire.StreamEnd
	r = ask(wire.CommandTypeStreamClose, fmt.Sprintf(`{"stream":%q}`, opened.Stream))
	if err := json.Unmarshal(r.Data, &end); err != nil || end.Reason != wire.StreamEndReasonClosed || end.Frames < 50 {
		t.Errorf("%s: closed %s, %v", m.url, r.Data, err)
	}
	err = peers.Await(ctx, func() error {
		for _, told := range p.Streams() {
			if told.Stream == opened.Stream {
				return nil
			}
		}
		return errors.New("the end was not told")
	})
	if err != nil {
		t.Errorf("%s: %v", m.url, err)
	}
}
