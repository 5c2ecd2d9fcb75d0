package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"offsite/devices"
)

// Kinds are all kinds, each after those that it refers to.
func Kinds() []devices.Kind {
	return []devices.Kind{
		devices.KindEntity, devices.KindSite, devices.KindOutlet, devices.KindPoint,
		devices.KindDevice, devices.KindBinding, devices.KindCamera, devices.KindLimit,
	}
}

// New gives an empty thing of the kind to decode JSON into, nil for a kind
// that does not exist.
func New(kind devices.Kind) devices.Thing {
	switch kind {
	case devices.KindEntity:
		return new(devices.Entity)
	case devices.KindSite:
		return new(devices.Site)
	case devices.KindOutlet:
		return new(devices.Outlet)
	case devices.KindPoint:
		return new(devices.Point)
	case devices.KindDevice:
		return new(devices.Device)
	case devices.KindBinding:
		return new(devices.Binding)
	case devices.KindCamera:
		return new(devices.Camera)
	case devices.KindLimit:
		return new(devices.Limit)
	default:
		return nil
	}
}

// Clone gives a deep copy of t, which may be changed while t, perhaps out of a
// snapshot, may not. Secrets are copied with it.
func Clone(t devices.Thing) (devices.Thing, error) {
	body, err := encode(t)
	if err != nil {
		return nil, err
	}
	return decode(t.Kind(), body, *t.Life(), secretsOf(t))
}

// words are the names of a kind for people.
func words(kind devices.Kind) (zh, en string) {
	switch kind {
	case devices.KindEntity:
		return "监管对象", "entity"
	case devices.KindSite:
		return "场所", "site"
	case devices.KindOutlet:
		return "监测点位", "outlet"
	case devices.KindPoint:
		return "测点", "point"
	case devices.KindDevice:
		return "设备", "device"
	case devices.KindBinding:
		return "绑定", "binding"
	case devices.KindCamera:
		return "摄像机", "camera"
	case devices.KindLimit:
		return "限值", "limit"
	default:
		return "对象", "thing"
	}
}

// password gives the one secret that things of some kinds hold, nil for others.
func password(t devices.Thing) *devices.Secret {
	switch t := t.(type) {
	case *devices.Device:
		return &t.Password
	case *devices.Camera:
		return &t.Password
	default:
		return nil
	}
}

// Same says that fresh would change nothing of old.
func Same(old, fresh devices.Thing) bool {
	if !maps.Equal(secretsOf(old), secretsOf(fresh)) {
		return false
	}
	a, errA := encode(old)
	b, errB := encode(fresh)
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

// secrets are the secrets of one thing by field.
type secrets map[string]devices.Secret

func secretsOf(t devices.Thing) secrets {
	var s secrets
	all := further(t)
	if p := password(t); p != nil {
		all["password"] = p
	}
	for field, p := range all {
		if *p == "" {
			continue
		}
		if s == nil {
			s = secrets{}
		}
		s[field] = *p
	}
	return s
}

// further gives the secrets that a thing holds besides its password, by field.
// Unlike a password, one that is sent empty ends.
func further(t devices.Thing) map[string]*devices.Secret {
	all := make(map[string]*devices.Secret)
	d, ok := t.(*devices.Device)
	if !ok {
		return all
	}
	if d.HJ212 != nil {
		all["hj212.sm4_key"] = &d.HJ212.SM4Key
	}
	if d.MQTT != nil {
		all["mqtt.key"] = &d.MQTT.Key
		all["mqtt.next_password"] = &d.MQTT.NextPassword
	}
	return all
}

// seal gives the secrets as one JSON object, to be sealed; "" when none.
func (s secrets) text() (devices.Secret, error) {
	if len(s) == 0 {
		return "", nil
	}
	plain := make(map[string]string, len(s))
	for field, secret := range s {
		plain[field] = secret.Reveal()
	}
	text, err := json.Marshal(plain)
	return devices.Secret(text), err
}

func parseSecrets(text devices.Secret) (secrets, error) {
	if text == "" {
		return nil, nil
	}
	var s secrets
	err := json.Unmarshal([]byte(text.Reveal()), &s)
	return s, err
}

// encode writes the JSON of t without secrets and without its Meta.
func encode(t devices.Thing) ([]byte, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", t.Kind(), t.Key(), err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, fmt.Errorf("encode %s %s: %w", t.Kind(), t.Key(), err)
	}
	for _, name := range []string{"password", "version", "created_at", "updated_at", "retired_at"} {
		delete(fields, name)
	}
	return json.Marshal(fields)
}

// decode is the reverse of encode.
func decode(kind devices.Kind, body []byte, meta devices.Meta, s secrets) (devices.Thing, error) {
	t := New(kind)
	if t == nil {
		return nil, fmt.Errorf("decode: no kind %q", kind)
	}
	if err := json.Unmarshal(body, t); err != nil {
		return nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	*t.Life() = meta
	if p := password(t); p != nil {
		*p = s["password"]
	}
	for field, p := range further(t) {
		*p = s[field]
	}
	return t, nil
}

// instant is the resolution of every time that the registry keeps.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
