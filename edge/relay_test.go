package edge

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge/audit"
	"offsite/edge/dispatch/wire"
	"offsite/edge/notice"
	"offsite/edge/relay"
	"offsite/edge/yardtest"
	"offsite/streams"
)

// openVideoBox opens a Box with a camera, which does not run.
func openVideoBox(t *testing.T, change func(*PlatformConfig)) *Box {
	t.Helper()
	cfg := Defaults()
	cfg.State, cfg.Broker.Listen, cfg.Video.FFmpeg = t.TempDir(), "127.0.0.1:0", "none"
	change(&cfg.Platform)
	b, err := Open(t.Context(), cfg, Parts{Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	yardtest.Register(t, b.Registry, yardtest.Yard()...)
	camera := devices.Camera{ID: "cam-1", Site: "plant", Name: "大门", URL: "rtsp://192.0.2.9/1"}
	yardtest.Register(t, b.Registry, &camera)
	b.Cameras.Task(camera)
	return b
}

func videoCommand(kind wire.CommandType, args string) wire.Command {
	return wire.Command{ID: "c-1", Type: kind, Args: json.RawMessage(args), Officer: wire.Officer{ID: "320100-17", Name: "李明"}, Purpose: "夜间施工检查"}
}

func TestCommandsOfVideoThatAreRefused(t *testing.T) {
	t.Parallel()
	listed := func(c *PlatformConfig) { c.Push.Hosts = []string{"media.example.cn"} }
	tests := []struct {
		name   string
		change func(*PlatformConfig)
		kind   wire.CommandType
		args   string
		want   string
	}{
		{"nowhere to push", func(*PlatformConfig) {}, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","push_url":"https://media.example.cn/1"}`, "push_off"},
		{"another host", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","push_url":"https://169.254.169.254/1"}`, "push_host"},
		{"not encrypted", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","push_url":"rtsp://media.example.cn/1"}`, "insecure"},
		{"no address", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","push_url":"::"}`, "bad_address"},
		{"no camera", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-9","profile":"main","push_url":"https://media.example.cn/1"}`, "no_camera"},
		{"no profile", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","push_url":"https://media.example.cn/1"}`, "not_one_of"},
		{"the past of no camera", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-9","profile":"main","from":"2026-03-01T12:00:00+08:00","push_url":"https://media.example.cn/1"}`, "no_camera"},
		{"a past to another host", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","from":"2026-03-01T12:00:00+08:00","push_url":"https://media.example.com/1"}`, "push_host"},
		{"for ever", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main","ttl_seconds":86400}`, "out_of_range"},
		{"to pull where nobody can", listed, wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"main"}`, "push_url_missing"},
		{"renew what is not open", listed, wire.CommandTypeStreamRenew, `{"stream":"c-9"}`, "no_stream"},
		{"close what is not open", listed, wire.CommandTypeStreamClose, `{"stream":"c-9"}`, "no_stream"},
		{"query no camera", listed, wire.CommandTypeRecordingQuery, `{"camera":"cam-9","from":"2026-03-01T12:00:00+08:00","to":"2026-03-01T13:00:00+08:00"}`, "no_camera"},
		{"query backwards", listed, wire.CommandTypeRecordingQuery, `{"camera":"cam-1","from":"2026-03-01T12:00:00+08:00","to":"2026-03-01T11:00:00+08:00"}`, "before_from"},
		{"rubbish", listed, wire.CommandTypePTZMove, `[]`, "bad_json"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := openVideoBox(t, tt.change)
			_, err := platformSite{b}.Execute(t.Context(), videoCommand(tt.kind, tt.args))
			var p *devices.Problem
			if !errors.As(err, &p) || p.Code != tt.want {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

func TestAGatewayThatCanBeReachedNamesItsAddress(t *testing.T) {
	b := openVideoBox(t, func(c *PlatformConfig) { c.Pull = "https://gw.example.cn:8443/" })
	r, err := platformSite{b}.Execute(t.Context(), videoCommand(wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"sub"}`))
	var data wire.StreamData
	if err == nil {
		err = json.Unmarshal(r.Data, &data)
	}
	if want := "https://gw.example.cn:8443/api/v1/cameras/cam-1/hls/index.m3u8?profile=sub"; err != nil || data.PullURL != want {
		t.Errorf("got %+v, %v", data, err)
	}
	r, err = platformSite{b}.Execute(t.Context(), videoCommand(wire.CommandTypeStreamOpen, `{"camera":"cam-1","profile":"sub","from":"2026-03-01T12:00:00Z","ttl_seconds":60}`))
	if err == nil {
		err = json.Unmarshal(r.Data, &data)
	}
	if want := "https://gw.example.cn:8443/api/v1/cameras/cam-1/clip?from=2026-03-01T12%3A00%3A00Z&to=2026-03-01T12%3A01%3A00Z"; err != nil || data.PullURL != want {
		t.Errorf("the past: %+v, %v", data, err)
	}
}

// TestWhoWatchesIsShownAndTheEndIsTold opens a stream to a receiver that takes
// everything.
func TestWhoWatchesIsShownAndTheEndIsTold(t *testing.T) {
	b := openVideoBox(t, func(*PlatformConfig) {})
	swallow := func(ctx context.Context, _ streams.Receiver, _ *streams.Parameters, from streams.Publication) error {
		for {
			if _, _, err := from.Next(ctx); err != nil {
				return err
			}
		}
	}
	b.relay = relay.New(relay.Config{Publish: map[string]relay.Publisher{"rtsps": swallow}, Changed: b.watched, Ended: b.unwatched})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = b.relay.Run(ctx)
	}()
	feed := streams.NewFeed(streams.FeedConfig{})
	feed.Connected()
	params := &streams.Parameters{Codec: streams.H264, SPS: []byte{0x67, 66, 0, 30}, PPS: []byte{0x68, 1, 2}, Width: 640, Height: 480}
	playing := make(chan struct{})
	go func() {
		defer close(playing)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for ctx.Err() == nil {
			feed.Publish(&streams.Frame{Params: params, NALUs: [][]byte{{0x65, 1, 2, 3}}, Key: true, At: time.Now()})
			<-tick.C
		}
	}()
	order := relay.Order{
		ID: "c-1", Camera: "cam-1", Feed: feed, For: time.Minute, Officer: "李明 (320100-17)", Purpose: "夜间施工检查",
		To: streams.Receiver{URL: &url.URL{Scheme: "rtsps", Host: "media.example.cn"}},
	}
	for { // until it has begun
		if _, err := b.relay.Open(ctx, order); err == nil {
			break
		}
	}
	if p := b.notices.Why(notice.Watched); p == nil || !strings.Contains(p.ZH, "cam-1（李明 (320100-17)，夜间施工检查") {
		t.Errorf("shown: %v", p)
	}
	if h, _ := (platformSite{b}).Status(); len(h.Streams) != 1 || h.Streams[0] != "c-1" {
		t.Errorf("heartbeat: %q", h.Streams)
	}
	r, err := platformSite{b}.Execute(ctx, videoCommand(wire.CommandTypeStreamClose, `{"stream":"c-1"}`))
	var end wire.StreamEnd
	if err == nil {
		err = json.Unmarshal(r.Data, &end)
	}
	if err != nil || end.Reason != wire.StreamEndReasonClosed || end.Frames == 0 {
		t.Errorf("closed: %+v, %v", end, err)
	}
	cancel()
	<-ended
	<-playing
	if p := b.notices.Why(notice.Watched); p != nil {
		t.Errorf("still shown: %v", p)
	}
	depth, err := b.Outbox.Depth(t.Context())
	if err != nil || depth.Waiting != 1 {
		t.Errorf("%d messages wait, %v", depth.Waiting, err)
	}
	trail, err := b.Audit.Search(t.Context(), audit.Filter{Act: "stream.ended", What: "camera/cam-1", Max: 10})
	if err != nil || len(trail) != 1 || trail[0].Result != "closed" || trail[0].Purpose != order.Purpose {
		t.Errorf("trail: %+v, %v", trail, err)
	}
}
