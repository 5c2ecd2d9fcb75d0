package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"offsite/gateway/accounts"
	"offsite/gateway/api/contract"
)

const sdp = "application/sdp"

// offer opens a camera by WebRTC.
func (b *box) offer(camera, query string, h header) answer {
	b.t.Helper()
	with := header{"Content-Type": sdp}
	for k, v := range h {
		with[k] = v
	}
	return b.call("POST", "/api/v1/cameras/"+camera+"/whep"+query, with, "v=0\r\n")
}

func TestWebRTCViewingIsAuditedFromOpeningToEnd(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	viewer := bearer(b.token(accounts.Viewer, "a"))
	got := b.offer("cam-a", "?profile=sub", viewer).want(http.StatusCreated)
	if got.header.Get("Location") != "whep/secret-sub" || got.header.Get("Content-Type") != sdp || string(got.body) != "v=0\r\n" {
		t.Errorf("answered %v %q", got.header, got.body)
	}
	session := "/api/v1/cameras/cam-a/" + got.header.Get("Location")
	b.call("PATCH", session, header{"Content-Type": "application/trickle-ice-sdpfrag"}, "a=ice-ufrag:x\r\n").want(http.StatusNoContent)
	b.call("PATCH", session, header{"Content-Type": sdp}, "x").problem(http.StatusUnsupportedMediaType, "wrong_media_type")
	b.call("DELETE", session, nil, nil).want(http.StatusOK)
	b.call("DELETE", "/api/v1/cameras/cam-a/whep/guess", nil, nil).problem(http.StatusNotFound, "no_session")
	if rows := b.acts("live.whep"); len(rows) != 1 || rows[0].What != "camera/cam-a" || rows[0].Detail != "sub" {
		t.Errorf("openings: %+v", rows)
	}
	ends := b.acts("live.whep.end")
	if len(ends) != 1 || ends[0].Who != b.acts("live.whep")[0].Who || !strings.Contains(ends[0].Detail, "3 s, 4000 bytes, 75 pictures, 2 left out: the viewer left") {
		t.Errorf("ends: %+v", ends)
	}
}

func TestWebRTCAsksForTheRight(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.root()
	b.furnish(b.token(accounts.Administrator))
	b.offer("cam-a", "", nil).problem(401, "not_signed_in")
	b.offer("cam-a", "", bearer(b.token(accounts.Viewer, "b"))).problem(404, "not_found")
	b.offer("cam-b", "", bearer(b.token(accounts.Viewer))).problem(409, "codec_not_offered")
	cookie := b.signIn("root")
	b.offer("cam-a", "", header{"Cookie": cookie, "Origin": "https://evil.example"}).problem(403, "cross_site")
	b.call("POST", "/api/v1/cameras/cam-a/whep", header{"Cookie": cookie, "Content-Type": "application/json"}, "{}").problem(http.StatusUnsupportedMediaType, "wrong_media_type")
	b.offer("cam-a", "", header{"Cookie": cookie, "Origin": b.http.URL}).want(201)
	var ticket contract.Ticket
	b.call("POST", "/api/v1/tickets", header{"Cookie": cookie}, map[string]string{"purpose": "view", "target": "cam-a"}).want(201).into(&ticket)
	_, query, _ := strings.Cut(ticket.URL, "?")
	b.offer("cam-a", "?"+query, header{"Origin": "https://scada.example"}).want(201)
	b.offer("cam-a", "?"+query, nil).problem(401, "bad_ticket")
}

func TestWebRTCEndsWithTheRight(t *testing.T) {
	t.Parallel()
	b := open(t)
	admin := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	var made contract.TokenSecret
	b.call("POST", "/api/v1/tokens", admin, map[string]any{"name": "wall", "role": "viewer", "sites": []string{"a"}}).want(201).into(&made)
	b.offer("cam-a", "", bearer(made.Secret)).want(201)
	if !b.site.viewing.Holds() {
		t.Error("the right does not hold")
	}
	b.call("DELETE", "/api/v1/tokens/"+made.Token.ID, admin, nil).want(204)
	if b.site.viewing.Holds() {
		t.Error("the right holds on although the token is retired")
	}
	b.offer("cam-a", "", admin).want(201)
	b.call("DELETE", "/api/v1/cameras/cam-a", admin, nil).want(204)
	if b.site.viewing.Holds() {
		t.Error("the right holds on although the camera is retired")
	}
}

func TestWebRTCViewingsOfOneAreBounded(t *testing.T) {
	t.Parallel()
	b := open(t)
	b.furnish(b.token(accounts.Administrator))
	one, other := bearer(b.token(accounts.Viewer)), bearer(b.token(accounts.Viewer))
	for range 32 {
		b.offer("cam-a", "", one).want(201)
	}
	b.offer("cam-a", "", one).problem(503, "too_many_playbacks")
	b.offer("cam-a", "", other).want(201)
}
