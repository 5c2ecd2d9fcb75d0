package dispatch

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// keyGrace is how long an old key still counts after a rotation.
const keyGrace = 24 * time.Hour

// identity is who the gateway is to its platform. It is never changed, only
// replaced.
type identity struct {
	Platform *url.URL
	Gateway  string
	Up       []wire.Key // sign upward requests by the first; the others still live
	Down     []wire.Key // any of them may sign a command
}

var (
	notEnrolled = &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "not_enrolled",
		ZH: "网关尚未在监管平台注册，请用平台发放的激活码注册", EN: "the gateway is not enrolled; enrol it with an activation code of the platform",
	}
	badPlatform = devices.Invalid("platform", "bad_address", "平台地址须形如 https://platform.example，且不含用户名、查询串", `write the platform's address like "https://platform.example", without user or query`)
	plainHTTP   = devices.Invalid("platform", "insecure", "平台地址须为 https；仅本机回环地址可用 http，或配置 insecure", "the platform's address must be https; plain http only on loopback or where the configuration says insecure")
)

func (c *Client) loadIdentity(ctx context.Context) error {
	raw, err := c.store.value(ctx, valuePlatform)
	if err != nil || raw == "" {
		return err
	}
	id := &identity{}
	if id.Platform, err = url.Parse(raw); err != nil {
		return err
	}
	if id.Gateway, err = c.store.value(ctx, valueGateway); err != nil {
		return err
	}
	now := c.cfg.Now()
	if id.Up, err = c.store.keys(ctx, "up", now); err != nil {
		return err
	}
	if id.Down, err = c.store.keys(ctx, "down", now); err != nil {
		return err
	}
	if len(id.Up) > 0 && id.Gateway != "" {
		c.identity.Store(id)
	}
	return nil
}

// Enrolled gives the gateway's id and the platform's address; both are empty
// before enrolment.
func (c *Client) Enrolled() (gateway, platform string) {
	id := c.identity.Load()
	if id == nil {
		return "", ""
	}
	return id.Gateway, id.Platform.String()
}

func (c *Client) platformURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, badPlatform
	}
	switch u.Scheme {
	case "https":
		return u, nil
	case "http":
		ip := net.ParseIP(u.Hostname())
		if c.cfg.Insecure || u.Hostname() == "localhost" || (ip != nil && ip.IsLoopback()) {
			return u, nil
		}
		return nil, plainHTTP
	default:
		return nil, badPlatform
	}
}

// Enrol exchanges a one-time activation code for an identity and stores it,
// sealed. Where the answer was lost it may simply be called again with the
// same code. The errors are Problems; a wrong or used code has the platform's
// code behind "platform_". Run notices the new identity by itself.
func (c *Client) Enrol(ctx context.Context, platformURL, activationCode string) error {
	platform, err := c.platformURL(platformURL)
	if err != nil {
		return err
	}
	if len(activationCode) < 4 || len(activationCode) > 128 {
		return devices.Invalid("activation_code", "bad_code", "激活码须为 4 至 128 个字符", "an activation code has 4 to 128 characters")
	}
	c.enrolling.Lock()
	defer c.enrolling.Unlock()
	key, err := c.enrolmentKey(ctx, platform, activationCode)
	if err != nil {
		return err
	}
	body, err := json.Marshal(wire.Enrolment{ActivationCode: activationCode, Version: c.cfg.Version, Algorithms: []wire.Algorithm{wire.AlgorithmHMACSHA256, wire.AlgorithmHMACSM3}})
	if err != nil {
		return err
	}
	var got wire.Enrolled
	a := c.call(ctx, &identity{Platform: platform}, call{
		method: http.MethodPost, path: "/v1/enrolments", key: key, body: body, into: &got,
	})
	if a.Class != Done {
		return a.Problem
	}
	if err := checkEnrolled(got); err != nil {
		return err
	}
	return c.adopt(ctx, platform, got)
}

// enrolmentKey gives the idempotency key of enrolling with this code at this
// platform, the same one until it has succeeded.
func (c *Client) enrolmentKey(ctx context.Context, platform *url.URL, code string) (string, error) {
	sum := sha256.Sum256([]byte(platform.String() + "\n" + code))
	what := hex.EncodeToString(sum[:8])
	stored, err := c.store.value(ctx, valueEnrolment)
	if err != nil {
		return "", err
	}
	if of, _, _ := strings.Cut(stored, ":"); of == what {
		return stored, nil
	}
	key := what + ":" + wire.NewNonce()
	return key, c.store.set(ctx, valueEnrolment, key)
}

func checkEnrolled(e wire.Enrolled) error {
	bad := &devices.Problem{
		Kind: devices.ErrUnavailable, Code: "platform_garbled",
		ZH: "监管平台的注册应答缺少网关编号或密钥，请联系平台", EN: "the platform's answer lacks the gateway's id or its keys; ask the platform",
	}
	if devices.CheckID("gateway_id", e.GatewayID) != nil {
		return bad
	}
	return checkKeys(wire.Keys{GatewayKey: e.GatewayKey, PlatformKey: e.PlatformKey}, bad)
}

func checkKeys(keys wire.Keys, bad *devices.Problem) error {
	for _, k := range []wire.Key{keys.GatewayKey, keys.PlatformKey} {
		if !k.Usable() {
			return bad
		}
	}
	return nil
}

// adopt stores a new identity: keys of an earlier one end at once, and the
// directory goes up whole.
func (c *Client) adopt(ctx context.Context, platform *url.URL, e wire.Enrolled) error {
	now := c.cfg.Now()
	err := c.store.db.Update(ctx, func(tx *sql.Tx) error {
		for _, v := range [][2]string{{valuePlatform, platform.String()}, {valueGateway, e.GatewayID}, {valueEnrolment, ""}, {valueRotation, ""}} {
			if err := setValue(ctx, tx, v[0], v[1]); err != nil {
				return err
			}
		}
		if err := c.store.putKey(ctx, tx, "up", e.GatewayKey, now, now); err != nil {
			return err
		}
		if err := c.store.putKey(ctx, tx, "down", e.PlatformKey, now, now); err != nil {
			return err
		}
		if err := setSubscription(ctx, tx, e.Subscription); err != nil {
			return err
		}
		return wantResync(ctx, tx)
	})
	if err != nil {
		return err
	}
	return c.renew(ctx)
}

// Rotate asks the platform for new keys. The old ones live on for a day, so
// that requests and commands under way still count.
func (c *Client) Rotate(ctx context.Context, reason wire.RotationReason) error {
	id := c.identity.Load()
	if id == nil {
		return notEnrolled
	}
	c.enrolling.Lock()
	defer c.enrolling.Unlock()
	key, err := c.store.value(ctx, valueRotation)
	if err != nil {
		return err
	}
	if key == "" {
		key = wire.NewNonce()
		if err := c.store.set(ctx, valueRotation, key); err != nil {
			return err
		}
	}
	body, err := json.Marshal(wire.Rotation{Reason: reason})
	if err != nil {
		return err
	}
	var got wire.Keys
	a := c.call(ctx, id, call{method: http.MethodPost, path: "/v1/gateways/" + id.Gateway + "/keys", key: key, body: body, into: &got})
	if a.Class != Done {
		return a.Problem
	}
	bad := &devices.Problem{Kind: devices.ErrUnavailable, Code: "platform_garbled", ZH: "监管平台的密钥轮换应答不完整，稍后重试", EN: "the platform's answer to the rotation lacks keys; it will be tried again"}
	if err := checkKeys(got, bad); err != nil {
		return err
	}
	now := c.cfg.Now()
	if err := c.store.db.Update(ctx, func(tx *sql.Tx) error {
		if err := c.store.putKey(ctx, tx, "up", got.GatewayKey, now, now.Add(keyGrace)); err != nil {
			return err
		}
		if err := c.store.putKey(ctx, tx, "down", got.PlatformKey, now, now.Add(keyGrace)); err != nil {
			return err
		}
		return setValue(ctx, tx, valueRotation, "")
	}); err != nil {
		return err
	}
	return c.renew(ctx)
}

// renew loads the identity that was stored and wakes whoever waits for it.
func (c *Client) renew(ctx context.Context) error {
	if err := c.loadIdentity(ctx); err != nil {
		return err
	}
	for _, wake := range []chan struct{}{c.wakeIdentity, c.wakeHeartbeat, c.wakeResources, c.wakeReadings} {
		poke(wake)
	}
	return nil
}
