package edge

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch/wire"
	"offsite/edge/footage"
	"offsite/edge/notice"
	"offsite/edge/outbox"
	"offsite/edge/relay"
	"offsite/streams"
	"offsite/streams/push"
	"offsite/streams/rtsp"
)

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

// defaultTTL is how long a stream lasts whose command does not say.
const defaultTTL = 5 * time.Minute

// arguments reads those of a command.
func arguments[T any](c wire.Command) (args T, err error) {
	if json.Unmarshal(c.Args, &args) != nil {
		return args, devices.Invalid("args", "bad_json", "参数无法解析", "the arguments cannot be read")
	}
	return args, nil
}

// given is the Result of a command that gave data.
func given(data any, blobs ...wire.SHA256) (wire.Result, error) {
	raw, err := json.Marshal(data)
	return wire.Result{Data: raw, Blobs: blobs}, err
}

// officer names who has sent a command.
func officer(c wire.Command) string { return c.Officer.Name + " (" + c.Officer.ID + ")" }

// openStream sends a camera's pictures to where the command says: those that it
// shows now, or its recording.
func (s platformSite) openStream(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.StreamOpenArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	profile := devices.Profile(args.Profile)
	if profile != devices.MainProfile && profile != devices.SubProfile {
		return wire.Result{}, devices.Invalid("profile", "not_one_of", "码流须为 main 或 sub", "choose main or sub")
	}
	lasts, err := ttl(args.TTLSeconds)
	if err != nil {
		return wire.Result{}, err
	}
	order := relay.Order{ID: c.ID, Camera: args.Camera, For: lasts, Officer: officer(c), Purpose: c.Purpose}
	if args.From.IsZero() {
		order.Feed, err = s.Cameras.Feed(args.Camera, profile)
	} else {
		err = s.cameraEver(ctx, args.Camera)
	}
	if err != nil {
		return wire.Result{}, err
	}
	if args.PushURL == "" {
		return s.pullURL(args, lasts)
	}
	if order.To, err = s.receiver(args); err != nil {
		return wire.Result{}, err
	}
	var recorded wire.Time
	var turns []wire.RecordingTurn
	if order.Feed == nil {
		player, err := s.Footage.Play(ctx, args.Camera, args.From.Time)
		if err != nil {
			return wire.Result{}, err
		}
		order.Past, recorded, turns = player, wire.At(player.From), turnsOf(player, lasts)
	}
	session, err := s.relay.Open(ctx, order)
	if err != nil {
		return wire.Result{}, err
	}
	data := streamData(session)
	data.RecordedFrom, data.Sources = recorded, turns
	return given(data)
}

// turnsOf tells whose pictures will be seen from when on.
func turnsOf(p *footage.Player, lasts time.Duration) (turns []wire.RecordingTurn) {
	for _, s := range p.Plan {
		source := wire.RecordingSource(s.Source)
		if !s.From.Before(p.From.Add(lasts)) || len(turns) > 0 && turns[len(turns)-1].Source == source {
			continue
		}
		from := s.From
		if from.Before(p.From) {
			from = p.From
		}
		turns = append(turns, wire.RecordingTurn{From: wire.At(from), Source: source})
	}
	return turns
}

// cameraEver says by a Problem that there is no such camera, and never was: what a
// retired one has shown stays until its days are over.
func (s platformSite) cameraEver(ctx context.Context, id string) error {
	if s.Registry.Snapshot().Cameras[id] != nil {
		return nil
	}
	list, err := s.Registry.Retired(ctx, devices.KindCamera)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(t devices.Thing) bool { return t.Key() == id }) {
		return nil
	}
	return &devices.Problem{
		Kind: devices.ErrNotFound, Code: "no_camera", Field: "camera", ZH: "没有编号为 " + id + " 的摄像机", EN: "there is no camera " + id,
	}
}

// receiver is where pictures are to go; it looks no name up.
func (s platformSite) receiver(args wire.StreamOpenArgs) (streams.Receiver, error) {
	u, err := url.Parse(args.PushURL)
	if err != nil {
		u = &url.URL{} // the host list says how it is to look
	}
	if err := s.hosts.Check(u); err != nil {
		return streams.Receiver{}, err
	}
	return streams.Receiver{URL: u, User: args.PushUser, Secret: devices.Secret(args.PushToken)}, nil
}

// pullURL names the address at which a platform that can reach the gateway
// fetches the pictures itself with a token of its own: by HLS, or of the past as MP4.
func (s platformSite) pullURL(args wire.StreamOpenArgs, lasts time.Duration) (wire.Result, error) {
	base := strings.TrimRight(s.cfg.Platform.Pull, "/")
	if base == "" {
		return wire.Result{}, devices.Invalid("push_url", "push_url_missing", "该网关不能从外部访问，请给出 push_url", "this gateway cannot be reached from outside; give a push_url")
	}
	at := base + "/api/v1/cameras/" + url.PathEscape(args.Camera)
	if from := args.From; from.IsZero() {
		if err := s.Cameras.Admitted(); err != nil {
			return wire.Result{}, err
		}
		at += "/hls/index.m3u8?profile=" + string(args.Profile)
	} else {
		at += "/clip?" + url.Values{"from": {from.Format(time.RFC3339Nano)}, "to": {from.Add(lasts).Format(time.RFC3339Nano)}}.Encode()
	}
	return given(wire.StreamData{Camera: args.Camera, PullURL: at})
}

func ttl(seconds int) (time.Duration, error) {
	d := time.Duration(seconds) * time.Second
	switch {
	case seconds == 0:
		return defaultTTL, nil
	case d < 10*time.Second || d > time.Hour:
		return 0, devices.Invalid("ttl_seconds", "out_of_range", "时长须在 10 与 3600 秒之间", "let it last 10 to 3600 seconds")
	}
	return d, nil
}

func streamData(session relay.Session) wire.StreamData {
	first := session.FirstFrame.Milliseconds()
	return wire.StreamData{
		Stream: session.ID, Camera: session.Camera, Codec: wire.StreamDataCodec(session.Codec), Width: session.Width, Height: session.Height,
		FirstFrameMS: &first, ExpiresAt: wire.At(session.Expires),
	}
}

func (s platformSite) renewStream(_ context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.StreamArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	lasts, err := ttl(args.TTLSeconds)
	if err != nil {
		return wire.Result{}, err
	}
	session, err := s.relay.Renew(args.Stream, lasts)
	if err != nil {
		return wire.Result{}, err
	}
	return given(streamData(session))
}

func (s platformSite) closeStream(ctx context.Context, c wire.Command) (wire.Result, error) {
	args, err := arguments[wire.StreamArgs](c)
	if err != nil {
		return wire.Result{}, err
	}
	end, err := s.relay.Close(ctx, args.Stream)
	if err != nil {
		return wire.Result{}, err
	}
	return given(streamEnd(end))
}
