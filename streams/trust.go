package streams

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"offsite/devices"
)

// UntrustedCertificate refuses a camera's certificate.
type UntrustedCertificate struct {
	Sum    [sha256.Size]byte // its fingerprint, SHA-256
	Pinned bool              // the camera's entry names another fingerprint
	Cause  error             // why no authority vouches for it; nil if pinned
}

func (e *UntrustedCertificate) Error() string {
	return fmt.Sprintf("certificate %x is not trusted: %v", e.Sum, e.Cause)
}

// Trust gives the TLS of connections to a camera called host. Its certificate is
// trusted when it is the one whose fingerprint the camera's entry names or, where
// it names none, when an authority among roots (nil: the system's) has signed it
// for host. Else the handshake fails with an [UntrustedCertificate].
func Trust(host, fingerprint string, roots *x509.CertPool) *tls.Config {
	pin, pinned := devices.ReadFingerprint(fingerprint)
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         host,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with an error that names the fingerprint
		VerifyConnection: func(state tls.ConnectionState) error {
			leaf := state.PeerCertificates[0]
			sum := sha256.Sum256(leaf.Raw)
			if pinned {
				if sum != pin {
					return &UntrustedCertificate{Sum: sum, Pinned: true}
				}
				return nil
			}
			chain := x509.NewCertPool()
			for _, cert := range state.PeerCertificates[1:] {
				chain.AddCert(cert)
			}
			if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: chain}); err != nil {
				return &UntrustedCertificate{Sum: sum, Cause: err}
			}
			return nil
		},
	}
}
