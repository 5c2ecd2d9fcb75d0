package rtsp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net"

	"offsite/devices"
)

// encrypt makes a TLS session. The camera's certificate is trusted when it is the
// one whose fingerprint the camera's entry names or, where it names none, when an
// authority has signed it for the camera's name.
func (s *Source) encrypt(ctx context.Context, conn net.Conn) (net.Conn, error) {
	pin, pinned := devices.ReadFingerprint(s.camera.Fingerprint)
	name := s.url.Hostname()
	t := tls.Client(conn, &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with an error that names the fingerprint
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			sum := sha256.Sum256(leaf.Raw)
			if pinned {
				if sum != pin {
					return &certificateError{sum: sum, pinned: true}
				}
				return nil
			}
			chain := x509.NewCertPool()
			for _, c := range state.PeerCertificates[1:] {
				chain.AddCert(c)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: s.cfg.Roots, Intermediates: chain}); err != nil {
				return &certificateError{sum: sum, cause: err}
			}
			return nil
		},
	})
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}

// certificateError refuses a camera's certificate.
type certificateError struct {
	sum    [sha256.Size]byte
	pinned bool
	cause  error
}

func (e *certificateError) Error() string {
	return fmt.Sprintf("certificate %x is not trusted: %v", e.sum, e.cause)
}

func (e *certificateError) problem() *devices.Problem {
	sum := hex.EncodeToString(e.sum[:])
	if e.pinned {
		return problem("fingerprint", CodeCertificate,
			"摄像机的证书与登记的指纹不符，现为 "+sum+"；确认更换过证书后请更新指纹",
			"the camera's certificate is not the one whose fingerprint is registered; it is "+sum+" now: enter it if the certificate was changed on purpose")
	}
	return problem("fingerprint", CodeCertificate,
		"摄像机的证书不受信任；核对后可填入其指纹 "+sum,
		"the camera's certificate is not trusted; after checking it enter its fingerprint "+sum)
}
