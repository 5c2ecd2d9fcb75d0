package e2e

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"image/jpeg"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"offsite/devices"
	"offsite/streams"
	"offsite/streams/rtsp"
)

// cameraCertificate makes a certificate as cameras make themselves, and gives
// its files and fingerprint.
func cameraCertificate(t *testing.T) (certificate, key, fingerprint string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	made := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, made, made, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sum := sha256.Sum256(der)
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", secret), hex.EncodeToString(sum[:])
}

func TestEncryptedCameraThatIsNotOurs(t *testing.T) {
	certificate, key, fingerprint := cameraCertificate(t)
	gst := startGstCamera(t, cameraClip(t, "h264", 10), "--certificate", certificate, "--key", key, "--user", "admin", "--password", "Pass-w0rd")
	cam := gst.camera()
	cam.URL, cam.Username, cam.Password = "rtsps://127.0.0.1:"+gst.port+"/cam", "admin", "Pass-w0rd"
	source, err := rtsp.Open(cam, rtsp.Config{})
	if err != nil {
		t.Fatal(err)
	}
	feed := streams.NewFeed(streams.FeedConfig{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = source.Run(ctx, feed)
	if p := feed.State().Problem; p == nil || p.Code != rtsp.CodeCertificate || !bytes.Contains([]byte(p.EN), []byte(fingerprint)) {
		t.Fatalf("a certificate nobody knows: %v", p)
	}
	cam.Fingerprint = fingerprint
	trusted := superviseCamera(t, cam)
	f := nextFrame(t, trusted, func(f *streams.Frame) bool { return f.Key })
	t.Logf("%dx%d by TLS", f.Params.Width, f.Params.Height)
}

func TestStreamsOfACameraThatIsNotOurs(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, clip, codec string }{
		{"mjpeg", "jpeg", "jpeg"},
		{"h264 with B-frames", "h264b", "h264"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			gst := startGstCamera(t, cameraClip(t, tt.clip, 10), "--codec", tt.codec)
			feed := superviseCamera(t, gst.camera())
			var got []*streams.Frame
			nextFrame(t, feed, func(f *streams.Frame) bool { got = append(got, f); return len(got) == 30 })
			reordered := false
			for i, f := range got[1:] {
				if f.DTS <= got[i].DTS {
					t.Errorf("frame %d is decoded at %v, the one before at %v", f.Seq, f.DTS, got[i].DTS)
				}
				reordered = reordered || f.PTS < got[i].PTS
			}
			if reordered != (tt.clip == "h264b") {
				t.Errorf("reordered %v", reordered)
			}
			if tt.codec == "jpeg" {
				img, err := jpeg.Decode(bytes.NewReader(got[0].NALUs[0]))
				if err != nil || img.Bounds().Dx() != vtestWidth {
					t.Errorf("picture %v, %v", img, err)
				}
			}
			last := got[len(got)-1]
			t.Logf("taken %v after arrival by the %s clock; warnings %v", last.Taken.Sub(last.At), last.Source, feed.State().Warnings)
		})
	}
}

func TestSubStreamOfACameraThatIsNotOurs(t *testing.T) {
	t.Parallel()
	gst := startGstCamera(t, cameraClip(t, "h264", 10), "--sub", cameraClip(t, "h264sub", 10))
	cam := gst.camera()
	cam.SubURL = "rtsp://127.0.0.1:" + gst.port + "/sub"
	main, sub := superviseCamera(t, cam), superviseCamera(t, cam.In(devices.SubProfile))
	for _, tt := range []struct {
		feed          *streams.Feed
		width, height int
	}{{main, vtestWidth, vtestHeight}, {sub, vtestWidth / 2, vtestHeight / 2}} {
		n := 0
		f := nextFrame(t, tt.feed, func(*streams.Frame) bool { n++; return n == 20 })
		if f.Params.Width != tt.width || f.Params.Height != tt.height {
			t.Errorf("picture of %dx%d, want %dx%d", f.Params.Width, f.Params.Height, tt.width, tt.height)
		}
		if s := tt.feed.State(); s.Damaged != 0 || s.Connections != 1 || len(s.Warnings) != 0 {
			t.Errorf("state %+v", s)
		}
	}
}
