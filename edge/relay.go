package edge

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch/wire"
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/edge/relay"
	"offsite/streams"
	"offsite/streams/push"
	"offsite/streams/rtsp"
)

// PushConfig says whereto the platform may have pictures sent, and how many.
type PushConfig struct {
	Hosts    []string         `yaml:"hosts"`    // media servers, see relay.Hosts; empty: pictures go nowhere
	Insecure bool             `yaml:"insecure"` // allow plain rtsp and http off loopback
	Sessions int              `yaml:"sessions"` // most at once; default 4
	Longest  devices.Duration `yaml:"longest"`  // most that one lasts until it is renewed; default 1h
	Upload   BitRate          `yaml:"upload"`   // that all may send together; default 8Mbit/s
}

func pushDefaults() PushConfig {
	return PushConfig{Hosts: []string{}, Sessions: 4, Longest: devices.Duration(time.Hour), Upload: 8_000_000}
}

func (c *PushConfig) validate(ps *devices.Problems) {
	if _, err := relay.ReadHosts(c.Hosts); err != nil {
		*ps = append(*ps, devices.AllProblems(err)...)
	}
	if c.Sessions < 0 || c.Sessions > 64 {
		ps.Add(devices.Invalid("platform.push.sessions", "out_of_range", "推流路数上限须在 1 与 64 之间", "allow 1 to 64 streams at once"))
	}
	if d := c.Longest.D(); d != 0 && d < 10*time.Second || d > 24*time.Hour {
		ps.Add(devices.Invalid("platform.push.longest", "out_of_range", "推流时长上限须在 10s 与 24h 之间", "let a stream last 10s to 24h"))
	}
	if c.Upload != 0 && c.Upload < 64_000 {
		ps.Add(devices.Invalid("platform.push.upload", "out_of_range", "上行限额至少 64kbit/s", "allow at least 64kbit/s"))
	}
}

// BitRate is bits a second, written as 8Mbit/s, 512kbit/s or a plain number.
type BitRate int64

// UnmarshalText reads a rate.
func (r *BitRate) UnmarshalText(text []byte) error {
	s, unit := strings.TrimSuffix(string(text), "bit/s"), int64(1)
	for suffix, size := range map[string]int64{"k": 1e3, "M": 1e6, "G": 1e9} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			s, unit = rest, size
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > 1e12/unit {
		return devices.Invalid("", "bad_rate", "码率须写作 8Mbit/s、512kbit/s 或每秒比特数", `write a rate as "8Mbit/s", "512kbit/s" or a number of bits a second`)
	}
	*r = BitRate(n * unit)
	return nil
}

// MarshalText writes the number of bits.
func (r BitRate) MarshalText() ([]byte, error) { return strconv.AppendInt(nil, int64(r), 10), nil }

// openRelay prepares what sends pictures out.
func (b *Box) openRelay() error {
	cfg := b.cfg.Platform.Push
	hosts, err := relay.ReadHosts(cfg.Hosts)
	if err != nil {
		return err
	}
	hosts.Insecure = cfg.Insecure
	trust, problem := b.cfg.Platform.tls()
	if problem != nil {
		return problem
	}
	whip := push.Config{Dial: hosts.Dial, TLS: trust, Log: b.logger, Allow: func(ctx context.Context, u *url.URL) func(netip.Addr) bool { return hosts.Media(ctx, u) }}
	record := rtsp.PublishConfig{Dial: hosts.Dial, TLS: trust}
	byWHIP := func(ctx context.Context, to streams.Receiver, p *streams.Parameters, from streams.Publication) error {
		return push.Publish(ctx, to, p, from, whip)
	}
	byRTSP := func(ctx context.Context, to streams.Receiver, p *streams.Parameters, from streams.Publication) error {
		return rtsp.Publish(ctx, to, p, from, record)
	}
	b.hosts = hosts
	b.relay = relay.New(relay.Config{
		Publish:  map[string]relay.Publisher{"https": byWHIP, "http": byWHIP, "rtsps": byRTSP, "rtsp": byRTSP},
		Sessions: cfg.Sessions, Longest: cfg.Longest.D(), Upload: int64(cfg.Upload),
		Changed: b.watched, Ended: b.unwatched, Log: b.logger,
	})
	return nil
}

// watched shows who away from the site watches which camera.
func (b *Box) watched() {
	var zh, en []string
	for _, s := range b.relay.List() {
		since := s.Opened.Format("15:04")
		zh = append(zh, fmt.Sprintf("%s（%s，%s，%s 起）", s.Camera, s.Officer, s.Purpose, since))
		en = append(en, fmt.Sprintf("%s (%s, %s, since %s)", s.Camera, s.Officer, s.Purpose, since))
	}
	b.notices.Set(notice.Watched, nil)
	if len(zh) > 0 {
		b.notices.Set(notice.Watched, &devices.Problem{
			Code: "platform_watching", ZH: "监管平台正在查看摄像机：" + strings.Join(zh, "；"), EN: "the platform is watching cameras: " + strings.Join(en, "; "),
		})
	}
}

// unwatched writes the end of a stream into the trail and has the platform told,
// also while the gateway stops.
func (b *Box) unwatched(e relay.End) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	body, err := json.Marshal(streamEnd(e))
	if err == nil {
		err = b.DB.Update(ctx, func(tx *sql.Tx) error {
			key := b.Outbox.Key("stream", e.ID)
			return errors.Join(
				b.Outbox.Put(ctx, tx, outbox.Message{Key: key, Lane: key, Kind: messageStream, Body: body, Created: e.At.UTC()}),
				b.Audit.Append(ctx, tx, audit.Entry{
					At: e.At.UTC(), Who: "platform: " + e.Officer, Act: "stream.ended", What: "camera/" + e.Camera, Purpose: e.Purpose, Result: string(e.Reason), Detail: e.ID,
				}))
		})
	}
	if err != nil {
		b.logger.ErrorContext(ctx, "end of a stream was not noted", "camera", e.Camera, "err", err)
		return
	}
	b.Outbox.Wake()
}

func streamEnd(e relay.End) wire.StreamEnd {
	first := e.FirstFrame.Milliseconds()
	end := wire.StreamEnd{
		Stream: e.ID, Camera: e.Camera, Reason: wire.StreamEndReason(e.Reason), OpenedAt: wire.At(e.Opened), EndedAt: wire.At(e.At),
		Codec: string(e.Codec), FirstFrameMS: &first, Frames: e.Frames, Bytes: e.Bytes, LeftOut: e.LeftOut, Lost: e.Lost,
	}
	if e.Problem != nil {
		end.Problem = *wire.Body(e.Problem, 0)
	}
	return end
}
