package gateway

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"offsite/devices"
)

// A self-signed certificate lives as long as phones accept one to live, and is
// made again at the first start in its last month.
const (
	certificateLife  = 825 * 24 * time.Hour
	certificateRenew = 30 * 24 * time.Hour
)

// certificate loads the owner's certificate, or the self-signed one of the
// state directory, which it makes when there is none.
func (s *Server) certificate(state string) (tls.Certificate, error) {
	if s.cfg.Certificate != "" {
		s.trusted = true
		c, problem := s.cfg.pair()
		if problem != nil {
			return c, problem
		}
		return c, nil
	}
	certFile, keyFile := filepath.Join(state, "tls.crt"), filepath.Join(state, "tls.key")
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	switch {
	case err == nil && time.Until(c.Leaf.NotAfter) > certificateRenew:
	case err == nil || errors.Is(err, fs.ErrNotExist):
		if c, err = makeCertificate(certFile, keyFile, s.cfg.Listen); err != nil {
			return c, fmt.Errorf("make certificate: %w", err)
		}
		s.log.Info("self-signed certificate made", "file", certFile)
	default:
		p := devices.Invalid("", "bad_certificate",
			"状态目录中的 tls.crt 或 tls.key 已损坏，请删除二者后重新启动", "tls.crt or tls.key in the state directory is damaged; delete both and start again")
		p.Cause = err
		return c, p
	}
	s.log.Info("certificate", "sha256", fingerprint(c.Certificate[0]), "until", c.Leaf.NotAfter)
	return c, nil
}

// pair is the owner's own certificate.
func (c Config) pair() (tls.Certificate, *devices.Problem) {
	pair, err := tls.LoadX509KeyPair(c.Certificate, c.Key)
	if err != nil {
		p := devices.Invalid("gateway.certificate", "bad_certificate",
			"证书或私钥无法使用，请检查文件是否存在、可读且互相匹配", "certificate or key cannot be used; see that the files are there, can be read and belong together")
		p.Cause = err
		return pair, p
	}
	return pair, nil
}

// fingerprint is what a person compares with the browser's.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func makeCertificate(certFile, keyFile, listen string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	now := time.Now()
	template := x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Offsite gateway", Organization: []string{"self-signed"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	template.DNSNames, template.IPAddresses = names(listen)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return tls.Certificate{}, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	// The certificate goes first: a start that finds it without its key makes both again.
	for _, f := range []struct {
		path    string
		content []byte
		mode    fs.FileMode
	}{{certFile, certPEM, 0o644}, {keyFile, keyPEM, 0o600}} {
		if err := writeFile(f.path, f.content, f.mode); err != nil {
			return tls.Certificate{}, err
		}
	}
	return tls.X509KeyPair(certPEM, keyPEM)
}

// names are those under which the gateway may be opened: this machine's own,
// and the addresses it listens on.
func names(listen string) ([]string, []net.IP) {
	dns, ips := []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		dns = append(dns, host)
	}
	host, _, _ := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	switch {
	case host == "" || (ip != nil && ip.IsUnspecified()):
		addresses, _ := net.InterfaceAddrs()
		for _, a := range addresses {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				ips = append(ips, n.IP)
			}
		}
	case ip != nil && !ip.IsLoopback():
		ips = append(ips, ip)
	case ip == nil && !slices.Contains(dns, host):
		dns = append(dns, host)
	}
	return dns, ips
}

// writeFile puts content in place whole or not at all.
func writeFile(path string, content []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tls-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Fingerprint is the SHA-256 of the certificate in hex, for comparing with the
// browser's; empty without HTTPS.
func (s *Server) Fingerprint() string {
	if s.tls == nil {
		return ""
	}
	return fingerprint(s.tls.Certificates[0].Certificate[0])
}

// ownCertificate gives the certificate, which everybody who connects is shown
// anyway, and its fingerprint in X-Certificate-SHA256; nothing, 204, without HTTPS.
func (s *Server) ownCertificate(c echo.Context) error {
	if s.tls == nil {
		return c.NoContent(http.StatusNoContent)
	}
	h := c.Response().Header()
	h.Set("X-Certificate-SHA256", s.Fingerprint())
	h.Set(echo.HeaderContentDisposition, `attachment; filename="offsite.crt"`)
	h.Set(echo.HeaderCacheControl, "no-store")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.tls.Certificates[0].Certificate[0]})
	return c.Blob(http.StatusOK, "application/x-x509-ca-cert", text)
}
