package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"slices"
	"strings"

	"offsite/devices"
)

// client is what the broker knows of a device. It is immutable, but for the
// memory of its inbox.
type client struct {
	id     string
	hash   [sha256.Size]byte
	open   bool // it has a password: without one nobody signs in
	bounds []devices.Bound

	settings *devices.MQTTSettings
	inbox    *devices.Inbox
}

// hash keeps the passwords themselves out of memory and makes all of equal
// length for the comparison. They are as long-lived as the process.
func (b *Broker) hash(password string) [sha256.Size]byte {
	return sha256.Sum256(append(b.salt[:], password...))
}

// signIn gives the client whose name and password these are, or the reason why not.
func (b *Broker) signIn(name string, password []byte) (*client, *devices.Problem) {
	c := (*b.clients.Load())[name]
	known := c != nil
	if !known {
		c = &client{} // so that unknown names take as long as wrong passwords
	}
	given := b.hash(string(password))
	equal := subtle.ConstantTimeCompare(given[:], c.hash[:]) == 1
	switch {
	case !known:
		return nil, &devices.Problem{
			Kind: devices.ErrNotFound, Code: "unknown_device", Field: "username",
			ZH: "没有编号为该用户名的设备接入内置代理；请先登记设备，并以设备编号作为用户名",
			EN: "no device of the embedded broker has this user name; register the device and sign in with its id",
		}
	case !c.open:
		return nil, devices.Invalid("password", "no_password",
			"设备未设置密码，不能登录内置代理；请为设备设置密码",
			"the device has no password and cannot sign in to the embedded broker; give it one")
	case !equal:
		return nil, devices.Invalid("password", "bad_password",
			"设备登录内置代理的密码不对；请核对设备中的密码",
			"the device signs in to the embedded broker with a wrong password; correct it in the device")
	}
	return c, nil
}

// mayWrite says whether the device may publish to topic. A wildcard in one of
// its bindings gives it no topic that is another device's own.
func (c *client) mayWrite(topic string) bool {
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
