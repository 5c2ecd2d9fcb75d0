package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

// client is what the broker knows of a device. It is immutable, but for the
// memory of its inbox and its recent messages.
type client struct {
	id     string
	keys   [][sha256.Size]byte // hashes of the passwords that are good; without any nobody signs in by password
	prints [][sha256.Size]byte // of the certificates that are good
	bounds []devices.Bound
	inbox  *payload.Inbox
	learnt payload.Formats // what they remember outlives the client
	recent *recent         // what it last sent to bound topics; outlives the client

	settings devices.MQTTSettings // without its secrets
}

// newClient makes what is known of a device, or keeps old where nothing changed,
// so that what it remembers lasts.
func (b *Broker) newClient(c *Client, old *client) (*client, error) {
	next := &client{id: c.Device.ID, bounds: c.Bounds, recent: &recent{}}
	if old != nil {
		next.recent = old.recent
	}
	passwords := []devices.Secret{c.Device.Password}
	if m := c.Device.MQTT; m != nil {
		next.settings = *m
		next.settings.NextPassword, next.settings.Key = "", ""
		passwords = append(passwords, m.NextPassword)
		for _, f := range m.Fingerprints {
			if sum, ok := devices.ReadFingerprint(f); ok {
				next.prints = append(next.prints, sum)
			}
		}
	}
	for _, p := range passwords {
		if p != "" {
			next.keys = append(next.keys, b.hash(p.Reveal()))
		}
	}
	if old != nil && reflect.DeepEqual(old.keys, next.keys) && reflect.DeepEqual(old.bounds, next.bounds) && reflect.DeepEqual(old.settings, next.settings) {
		return old, nil
	}
	if next.learnt = b.cfg.Formats.Remembering(); old != nil {
		next.learnt = old.learnt
	}
	inbox, err := payload.OpenInbox(&c.Device, c.Bounds, next.learnt)
	if err != nil {
		err = fmt.Errorf("device %s: %w", c.Device.ID, err)
	}
	next.inbox = inbox
	return next, err
}

// hash keeps the passwords themselves out of memory and makes all of equal
// length for the comparison. They are as long-lived as the process.
func (b *Broker) hash(password string) [sha256.Size]byte {
	return sha256.Sum256(append(b.salt[:], password...))
}

// admits says whether who signed in with proof, the hash of a password or the
// fingerprint of a certificate, may still be here.
func (c *client) admits(proof [sha256.Size]byte) bool {
	return slices.Contains(c.keys, proof) || slices.Contains(c.prints, proof)
}

// credentials are what a connection brings to sign in.
type credentials struct {
	name     string
	password []byte
	print    *[sha256.Size]byte // of its certificate; nil when it has none
}

// signIn gives the client whose credentials these are and what proved it, or the
// reason why not.
func (b *Broker) signIn(given credentials) (*client, [sha256.Size]byte, *devices.Problem) {
	clients := *b.clients.Load()
	c := clients[given.name]
	if given.print != nil {
		if given.name == "" { // the certificate alone says who it is
			for _, other := range clients {
				if slices.Contains(other.prints, *given.print) {
					return other, *given.print, nil
				}
			}
		}
		if c != nil && slices.Contains(c.prints, *given.print) {
			return c, *given.print, nil
		}
	}
	hash := b.hash(string(given.password)) // so that unknown names take as long as wrong passwords
	equal := 0
	if c != nil {
		for i := range c.keys {
			equal |= subtle.ConstantTimeCompare(hash[:], c.keys[i][:])
		}
	}
	if equal == 1 {
		return c, hash, nil
	}
	return nil, hash, signInProblem(c, given)
}

func signInProblem(c *client, given credentials) *devices.Problem {
	switch {
	case c == nil:
		return &devices.Problem{
			Code: "unknown_device", Field: "username",
			ZH: "没有编号为该用户名的设备接入内置代理；请先登记设备，并以设备编号作为用户名",
			EN: "no device of the embedded broker has this user name; register the device and sign in with its id",
		}
	case given.print != nil && len(c.prints) > 0 && len(given.password) == 0:
		return devices.Invalid("mqtt.fingerprints", "bad_certificate",
			"设备登录内置代理的证书与登记的指纹不符；请登记新证书的指纹",
			"the certificate with which the device signs in is not the registered one; register its fingerprint")
	case len(c.keys) == 0 && len(c.prints) > 0:
		return devices.Invalid("mqtt.fingerprints", "no_certificate",
			"设备须以证书登录内置代理，但没有出示证书；请在设备中配置证书",
			"the device is to sign in to the embedded broker with a certificate and shows none; give it one")
	case len(c.keys) == 0:
		return devices.Invalid("password", "no_password",
			"设备未设置密码，不能登录内置代理；请为设备设置密码",
			"the device has no password and cannot sign in to the embedded broker; give it one")
	}
	return devices.Invalid("password", "bad_password",
		"设备登录内置代理的密码不对；请核对设备中的密码",
		"the device signs in to the embedded broker with a wrong password; correct it in the device")
}

// connections is how many the device may have at once.
func (c *client) connections() int {
	if c.settings.Connections > 0 {
		return c.settings.Connections
	}
	return perDevice
}

// mayWrite says whether the device may publish to topic. A wildcard in one of
// its bindings gives it no topic that is another device's own.
func (c *client) mayWrite(topic string) bool {
	if strings.HasPrefix(topic, unheard) {
		return false
	}
	return c.owns(topic) || (c.inbox.Bound(topic) && (!strings.HasPrefix(topic, ownPrefix) || c.inbox.Names(topic)))
}

// mayRead says whether the device may subscribe to filter: to what is its own
// and to what its bindings take in, but for wildcards at the beginning.
func (c *client) mayRead(filter string) bool {
	if !strings.ContainsAny(filter, "+#") {
		return c.mayWrite(filter)
	}
	if c.owns(filter) {
		return true
	}
	return !strings.HasPrefix(filter, ownPrefix) && slices.ContainsFunc(c.inbox.Covering(filter), func(f string) bool { return f[0] != '+' && f[0] != '#' })
}

// ownPrefix begins the topics that belong to devices.
const ownPrefix = "offsite/"

// owns says whether topic is, or lies below, offsite/{device}.
func (c *client) owns(topic string) bool {
	rest, ok := strings.CutPrefix(topic, ownPrefix)
	if !ok {
		return false
	}
	rest, ok = strings.CutPrefix(rest, c.id)
	return ok && (rest == "" || rest[0] == '/')
}

// unshared gives the filter behind $share/group/.
func unshared(filter string) string {
	const prefix = "$share/"
	if len(filter) < len(prefix) || !strings.EqualFold(filter[:len(prefix)], prefix) {
		return filter
	}
	_, rest, _ := strings.Cut(filter[len(prefix):], "/")
	return rest
}
