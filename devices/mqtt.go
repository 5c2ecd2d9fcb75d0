package devices

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Bounds of a device's settings in the embedded broker.
const (
	mostConnections  = 64
	mostRate         = 100_000
	mostFingerprints = 8
)

// MQTTSettings are those of a session with an external broker.
type MQTTSettings struct {
	ClientID string `json:"client_id,omitempty"` // stable; empty: one of the gateway, broker and user, whose devices share a session
	Share    string `json:"share,omitempty"`     // group of a shared subscription; empty means none
	QoS      *byte  `json:"qos,omitempty"`       // 0 or 1; nil means 1

	CA          string `json:"ca,omitempty"`          // of an mqtts broker: certificates that sign for it, PEM; empty means the system's
	Certificate string `json:"certificate,omitempty"` // with which the gateway signs in to an mqtts broker, PEM; empty means none
	Key         Secret `json:"key,omitempty"`         // of Certificate, PEM

	NextPassword Secret   `json:"next_password,omitempty"` // embedded broker: as good as the password, while the two are exchanged
	Fingerprints []string `json:"fingerprints,omitempty"`  // embedded broker: SHA-256 of the certificates with which the device signs in without password, hexadecimal
	Connections  int      `json:"connections,omitempty"`   // embedded broker: at once; zero means 64
	Rate         int      `json:"rate,omitempty"`          // embedded broker: messages a second, beyond which it is read more slowly; zero means no limit
	Size         int      `json:"size,omitempty"`          // embedded broker: bytes of one payload, beyond which it is a dead letter; zero means 64 KiB

	Status *StatusTopic `json:"status,omitempty"` // where the device, or its last will, says that it is there; nil means nowhere
}

// StatusTopic is where a device says that it is there, and its last will that
// it has gone.
type StatusTopic struct {
	Topic   string `json:"topic"`             // {device} stands for the device's id
	Path    string `json:"path,omitempty"`    // gjson path of the word; empty: the payload is the word
	Offline string `json:"offline,omitempty"` // the word for gone; empty: offline, false, 0, dead, disconnected or lost
	Online  string `json:"online,omitempty"`  // the word for there; empty: online, true, 1, alive or connected
}

var (
	errNoCertificate = errors.New("no certificate in PEM")
	errAlone         = errors.New("certificate and key come together")
)

// TLSConfig gives the encryption of a session with an external broker, on top of
// base. It returns a Problem of field mqtt.ca, mqtt.certificate or mqtt.key.
func (m *MQTTSettings) TLSConfig(base *tls.Config) (*tls.Config, error) {
	c := base.Clone()
	if m == nil {
		return c, nil
	}
	if m.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(m.CA)) {
			return nil, badCertificate("mqtt.ca", errNoCertificate)
		}
	}
	if m.Certificate == "" && m.Key == "" {
		return c, nil
	}
	if m.Certificate == "" || m.Key == "" {
		return nil, badCertificate("mqtt.certificate", errAlone)
	}
	pair, err := tls.X509KeyPair([]byte(m.Certificate), []byte(m.Key.Reveal()))
	if err != nil {
		return nil, badCertificate("mqtt.certificate", err) // its text names no key
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func badCertificate(field string, err error) *Problem {
	p := Invalid(field, "bad_certificate",
		"证书或私钥无法使用；请粘贴 PEM 文本（-----BEGIN CERTIFICATE-----），证书与私钥须成对",
		"certificate or key cannot be used; paste PEM text (-----BEGIN CERTIFICATE-----), and a certificate with its own key")
	p.Cause = err
	return p
}

// checkCertificates tells what is wrong with the certificates for an external
// broker. A key that is kept is not here to be compared.
func (d *Device) checkCertificates(ps *Problems) {
	m := d.MQTT
	if m == nil || (m.CA == "" && m.Certificate == "" && m.Key == "") {
		return
	}
	if !strings.HasPrefix(d.Endpoint, "mqtts:") {
		ps.Add(Invalid("endpoint", "not_encrypted", "使用证书的服务器地址须以 mqtts:// 开头", "the address of a broker with certificates begins with mqtts://"))
	}
	seen := *m
	if seen.Key.Kept() {
		seen.Certificate, seen.Key = "", ""
	}
	if _, err := seen.TLSConfig(&tls.Config{MinVersion: tls.VersionTLS12}); err != nil {
		*ps = append(*ps, AllProblems(err)...)
	}
}

// checkClient tells what is wrong with the settings of a client of the embedded
// broker.
func (d *Device) checkClient(ps *Problems) {
	m := d.MQTT
	if m == nil {
		return
	}
	for i, f := range m.Fingerprints {
		if _, ok := ReadFingerprint(f); !ok {
			ps.Add(badFingerprint(fmt.Sprintf("mqtt.fingerprints[%d]", i)))
		}
	}
	if len(m.Fingerprints) > mostFingerprints {
		ps.Add(Invalid("mqtt.fingerprints", "too_many", "一台设备最多 8 个证书指纹", "a device has at most 8 certificates"))
	}
	for _, n := range [...]struct {
		field      string
		value, max int
	}{{"mqtt.connections", m.Connections, mostConnections}, {"mqtt.rate", m.Rate, mostRate}, {"mqtt.size", m.Size, MaxPayload}} {
		if n.value < 0 || n.value > n.max {
			ps.Add(Invalid(n.field, "out_of_range", fmt.Sprintf("须在 0 与 %d 之间，0 为默认", n.max), fmt.Sprintf("choose 0 to %d; 0 means the default", n.max)))
		}
	}
}

func badFingerprint(field string) *Problem {
	return Invalid(field, "bad_fingerprint",
		"指纹须为证书 SHA-256 的 64 位十六进制数（openssl x509 -noout -fingerprint -sha256）",
		"a fingerprint is the SHA-256 of the certificate, 64 hexadecimal digits (openssl x509 -noout -fingerprint -sha256)")
}

// ReadFingerprint reads the SHA-256 of a certificate, with colons or without.
func ReadFingerprint(text string) (sum [sha256.Size]byte, ok bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), ":", ""))
	if err != nil || len(b) != len(sum) {
		return sum, false
	}
	return [sha256.Size]byte(b), true
}

// checkStatus tells what is wrong with the status topic.
func (d *Device) checkStatus(ps *Problems) {
	if d.MQTT == nil || d.MQTT.Status == nil {
		return
	}
	s := d.MQTT.Status
	if topic := s.Listens(d.ID); topic == "" || HasWildcard(topic) || strings.HasPrefix(topic, "$share/") || len(topic) > longestTopic || strings.ContainsRune(topic, 0) {
		ps.Add(Invalid("mqtt.status.topic", "bad_topic", "状态主题须为不含通配符的完整主题，最长 1024 字节", "write the whole status topic, without wildcards, in at most 1024 bytes"))
	}
	if !goodPath(s.Path) {
		ps.Add(Invalid("mqtt.status.path", "bad_path", "路径须为 UTF-8 文本，最长 256 字节", "a path is UTF-8 text of at most 256 bytes"))
	}
	if s.Offline != "" && strings.EqualFold(s.Offline, s.Online) {
		ps.Add(Invalid("mqtt.status.online", "ambiguous", "在线与离线须用不同的词", "the words for there and gone must differ"))
	}
}

// Listens gives the topic itself, for a device of this id.
func (s *StatusTopic) Listens(device string) string {
	return strings.ReplaceAll(s.Topic, devicePlace, device)
}
