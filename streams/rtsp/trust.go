package rtsp

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"net"

	"offsite/devices"
	"offsite/streams"
)

// encrypt makes a TLS session with a camera that [streams.Trust] trusts.
func (s *Source) encrypt(ctx context.Context, conn net.Conn) (net.Conn, error) {
	t := tls.Client(conn, streams.Trust(s.url.Hostname(), s.camera.Fingerprint, s.cfg.Roots))
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return t, nil
}

// untrustedProblem says what to do about a certificate that was refused.
func untrustedProblem(e *streams.UntrustedCertificate) *devices.Problem {
	sum := hex.EncodeToString(e.Sum[:])
	if e.Pinned {
		return problem("fingerprint", CodeCertificate,
			"摄像机的证书与登记的指纹不符，现为 "+sum+"；确认更换过证书后请更新指纹",
			"the camera's certificate is not the one whose fingerprint is registered; it is "+sum+" now: enter it if the certificate was changed on purpose")
	}
	return problem("fingerprint", CodeCertificate,
		"摄像机的证书不受信任；核对后可填入其指纹 "+sum,
		"the camera's certificate is not trusted; after checking it enter its fingerprint "+sum)
}
