package gateway_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

// playback opens a camera's HLS and gives the address that the player is sent to.
func (b *box) playback(camera, query string, h header) string {
	b.t.Helper()
	base := "/api/v1/cameras/" + camera + "/hls/"
	got := b.call("GET", base+"index.m3u8"+query, h, nil).want(http.StatusTemporaryRedirect)
	to := got.header.Get("Location")
	if secret, file, ok := strings.Cut(to, "/"); !ok || len(secret) < 26 || file != "index.m3u8" {
		b.t.Fatalf("sent to %q", to)
	}
	return base + to
}

func TestPlaybackNeedsNoMoreThanItsAddress(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := b.token(accounts.Viewer)
	var ticket contract.Ticket
	b.call("POST", "/api/v1/tickets", bearer(viewer), map[string]string{"purpose": "hls", "target": "cam-a"}).want(201).into(&ticket)
	_, query, _ := strings.Cut(ticket.URL, "?")
	url := b.playback("cam-a", "?"+query+"&profile=sub", nil)
	if got := b.call("GET", url, nil, nil).want(200); string(got.body) != "sub/index.m3u8" || got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("playlist %q, %v", got.body, got.header)
	}
	b.call("GET", strings.Replace(url, "index.m3u8", "gone.m3u8", 1), nil, nil).problem(404, "hls_renewed")
	b.call("GET", "/api/v1/cameras/cam-a/hls/index.m3u8?"+query, nil, nil).problem(401, "bad_ticket") // its one use
	b.call("GET", strings.Replace(url, "cam-a", "cam-b", 1), nil, nil).problem(404, "playback_over")
	b.call("GET", "/api/v1/cameras/cam-a/hls/guess/index.m3u8", nil, nil).problem(404, "playback_over")
	b.call("GET", "/api/v1/cameras/cam-a/hls/index.m3u8", nil, nil).problem(401, "not_signed_in")
	if rows := b.acts("live.hls"); len(rows) != 1 || rows[0].What != "camera/cam-a" || rows[0].Detail != "sub" {
		t.Errorf("the trail has %+v", rows)
	}
}

func TestPlaybackEndsWithTheRight(t *testing.T) {
	t.Parallel()
	b := open(t)
	admin := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	var made contract.TokenSecret
	b.call("POST", "/api/v1/tokens", admin, map[string]any{"name": "wall", "role": "viewer", "sites": []string{"a"}}).want(201).into(&made)
	url := b.playback("cam-a", "", bearer(made.Secret))
	b.call("GET", url, nil, nil).want(200)
	b.call("DELETE", "/api/v1/tokens/"+made.Token.ID, admin, nil).want(204)
	b.call("GET", url, nil, nil).problem(404, "playback_over")
}

func TestPlaybacksOfOneAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := bearer(b.token(accounts.Viewer))
	for range 32 {
		b.playback("cam-a", "", viewer)
	}
	b.call("GET", "/api/v1/cameras/cam-a/hls/index.m3u8", viewer, nil).problem(503, "too_many_playbacks")
	b.playback("cam-a", "", bearer(b.token(accounts.Viewer))) // of another one
}

func TestEndOfAPlaybackIsWrittenWithItsBytes(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	base, stop := b.running()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v1/cameras/cam-a/hls/index.m3u8", nil)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+b.token(accounts.Viewer))
	resp, err := http.DefaultClient.Do(r) // follows
	must(t, err)
	must(t, resp.Body.Close())
	if resp.StatusCode != http.StatusOK || !strings.HasSuffix(resp.Request.URL.Path, "/index.m3u8") {
		t.Fatalf("%s: %s", resp.Request.URL, resp.Status)
	}
	stop()
	want := "main, 0 s, " + strconv.Itoa(len("main/index.m3u8")) + " bytes"
	if rows := b.acts("live.hls.end"); len(rows) != 1 || rows[0].Detail != want || rows[0].What != "camera/cam-a" {
		t.Errorf("the trail has %+v, want %q", rows, want)
	}
}
