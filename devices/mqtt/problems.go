package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"offsite/devices"
)

// connectProblem tells a person why there is no connection.
func (d *Driver) connectProblem(err error) *devices.Problem {
	p := &devices.Problem{Kind: devices.ErrUnavailable, Cause: err}
	var dns *net.DNSError
	var refused *devices.Problem
	switch {
	case errors.As(err, &refused): // by who says where a broker may be
		return refused
	case refusedSignIn(err):
		p.Code, p.Field = "bad_password", "password"
		p.ZH = "消息服务器 " + d.address + " 拒绝登录；请核对用户名和密码"
		p.EN = "the broker at " + d.address + " refuses the sign-in; correct user name and password"
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		p.Code, p.Field = "client_id_rejected", "mqtt.client_id"
		p.ZH = "消息服务器 " + d.address + " 不接受客户端标识 " + d.clientID + "；请更换"
		p.EN = "the broker at " + d.address + " rejects the client id " + d.clientID + "; choose another"
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		p.Code = "broker_unavailable"
		p.ZH = "消息服务器 " + d.address + " 暂不提供服务；将自动重试"
		p.EN = "the broker at " + d.address + " is unavailable; the gateway goes on trying"
	case errors.As(err, &dns):
		p.Code, p.Field = "host_unknown", "endpoint"
		p.ZH = "找不到主机 " + dns.Name + "；请核对地址或 DNS"
		p.EN = "host " + dns.Name + " is unknown; correct the address or the DNS"
	case d.secure != nil && strings.Contains(err.Error(), "remote error: tls:"): // crypto/tls has no type for what the other side says
		p.Code, p.Field = "bad_certificate", "mqtt.certificate"
		p.ZH = "消息服务器 " + d.address + " 不接受网关的证书；请核对 mqtt.certificate，并请服务器管理员信任签发机构"
		p.EN = "the broker at " + d.address + " does not accept the gateway's certificate; correct mqtt.certificate, or have the broker trust who signed it"
	case d.secure != nil && hungUp(err): // the word of TLS 1.3 on a client's certificate comes after the handshake, and a reset may overtake it
		p.Code, p.Field = "bad_certificate", "mqtt.certificate"
		p.ZH = "加密连接建立后被 " + d.address + " 立即断开，多半是它要求网关出示证书，或不信任网关的证书；请核对 mqtt.certificate 与端口，或请服务器管理员信任签发机构"
		p.EN = d.address + " closed the connection as soon as it was encrypted: most likely it wants a certificate from the gateway, or does not trust the one it got; correct mqtt.certificate and the port, or have the broker trust who signed it"
	case badCertificate(err):
		p.Code, p.Field = "bad_certificate", "endpoint"
		zh, en := whyDistrusted(err)
		p.ZH = "无法与 " + d.address + " 建立加密连接：" + zh
		p.EN = "cannot set up encryption with " + d.address + ": " + en
	case errors.Is(err, syscall.ECONNREFUSED):
		p.Code, p.Field = "connection_refused", "endpoint"
		p.ZH = d.address + " 拒绝连接；请确认消息服务器已启动、端口正确"
		p.EN = d.address + " refuses the connection; make sure that the broker runs and the port is right"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		p.Code, p.Field = "unreachable", "endpoint"
		p.ZH = d.address + " 无应答；请检查网络与地址"
		p.EN = d.address + " does not answer; check the network and the address"
	default:
		p.Code, p.Field = "connect_failed", "endpoint"
		p.ZH = "无法连接消息服务器 " + d.address + "；请核对地址、端口与协议"
		p.EN = "cannot connect to the broker at " + d.address + "; check address, port and protocol"
	}
	return p
}

// whyDistrusted says what is wrong with the broker's certificate, and the cure.
func whyDistrusted(err error) (zh, en string) {
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &record):
		return "该端口没有使用 TLS；请改用 mqtt://，或填写加密端口（通常为 8883）", "this port does not speak TLS; write mqtt://, or give the encrypted port, usually 8883"
	case errors.As(err, &unknown):
		return "服务器证书的签发机构不受信任；请把其 CA 证书填入 mqtt.ca", "nobody known has signed the broker's certificate; put the certificate of its authority into mqtt.ca"
	case errors.As(err, &name):
		return "服务器证书不是签给主机名 " + name.Host + " 的；请用证书中的名称填写地址", "the broker's certificate is not for the host name " + name.Host + "; write the address with a name of the certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "服务器证书已过期或尚未生效；请更换证书，并核对网关的时钟", "the broker's certificate has expired or is not valid yet; renew it, and check the gateway's clock"
	}
	return "服务器证书无法使用；请核对服务器证书、主机名与端口", "the broker's certificate cannot be used; check certificate, host name and port"
}

func refusedSignIn(err error) bool {
	return errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword) || errors.Is(err, packets.ErrorRefusedNotAuthorised)
}

// hungUp says that the other side ended the connection without a word.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func badCertificate(err error) bool {
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	return errors.As(err, &verify) || errors.As(err, &record) || errors.As(err, &alert) || errors.As(err, &unknown) || errors.As(err, &name)
}

// lostProblem tells a person why the connection ended.
func (d *Driver) lostProblem(err error) *devices.Problem {
	if errors.Is(err, errTooLarge) {
		return &devices.Problem{
			Kind: devices.ErrUnavailable, Code: "packet_too_large", Cause: err,
			ZH: "消息服务器 " + d.address + " 发来超过 16 MiB 的报文，已断开；请在服务器上限制报文大小（Mosquitto 的 message_size_limit）",
			EN: "the broker at " + d.address + " sent a message of more than 16 MiB; limit the size there (message_size_limit of Mosquitto)",
		}
	}
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "connection_lost", Cause: err,
		ZH: "与消息服务器 " + d.address + " 的连接中断，将自动重连；若反复发生，请检查是否有另一客户端使用同一标识 " + d.clientID,
		EN: "the connection to the broker at " + d.address + " was lost and will be made again; if it keeps happening look for another client with the id " + d.clientID,
	}
}

func storageProblem(err error) *devices.Problem {
	return &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "storage_failed", Cause: err,
		ZH: "网关无法存盘，报文未确认，消息服务器会重发；请检查网关的磁盘",
		EN: "the gateway cannot store, the message was not acknowledged and the broker will send it again; check the gateway's disk",
	}
}

// scrubbed keeps the password out of what a broker or a library may have put
// into an error.
func scrubbed(err error, secret devices.Secret) error {
	if err == nil || len(secret) < 4 || !strings.Contains(err.Error(), secret.Reveal()) {
		return err
	}
	return errors.New(devices.Scrub(err.Error(), secret))
}
