package gateway_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"offsite/devices"
	"offsite/edge"
	"offsite/edge/dispatch/platformtest"
	"offsite/gateway"
	"offsite/gateway/accounts"
	"offsite/gateway/live"
)

// openSite starts a gateway before a real site, which runs without a single
// driver: what its instruments would say is accepted by hand.
func openSite(t *testing.T) (*box, *edge.Box) {
	t.Helper()
	cfg := edge.Defaults()
	cfg.State, cfg.Broker.Listen = t.TempDir(), "127.0.0.1:0"
	site, err := edge.Open(t.Context(), cfg, edge.Parts{Version: "test", Openers: map[string]devices.Opener{}})
	must(t, err)
	t.Cleanup(func() { must(t, site.Close()) })
	b := &box{t: t, registry: site.Registry, log: site.Audit}
	b.accounts, err = accounts.Open(t.Context(), site.DB, site.Audit, accounts.Config{})
	must(t, err)
	b.server, err = gateway.Open(gateway.Config{HTTP: "127.0.0.1:0"}, gateway.Parts{
		Backend: gateway.Site(site), Ready: site.Ready, Decoder: site.Cameras.Decoder, Accounts: b.accounts, State: t.TempDir(), Live: live.Config{Coalesce: 5 * time.Millisecond},
	})
	must(t, err)
	b.doc, err = document()
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan gateway.Addresses, 1), make(chan error, 2)
	go func() { ended <- site.Run(ctx) }()
	go func() { ended <- b.server.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	at := <-ready
	b.http = &httptest.Server{URL: at.URL()}
	t.Cleanup(func() {
		stop()
		<-ended
		<-ended
	})
	return b, site
}

// until asks again and again, at most for 20 s.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func TestARealSiteFitsTheDocument(t *testing.T) {
	t.Parallel() // the collector of evidence waits for its silent camera
	b, site := openSite(t)
	root := bearer(b.token(accounts.Administrator))
	b.furnish(b.token(accounts.Administrator))
	until(t, "ready", func() bool { return b.call("GET", "/readyz", nil, nil).status == 200 })
	s := b.listen(b.http.URL, "", b.token(accounts.Viewer, "a"))
	defer func() { _ = s.resp.Body.Close() }()
	if name, _ := s.next(b); name != "state" {
		t.Fatalf("first message is %s", name)
	}
	done := make(chan error, 1)
	at := time.Now().UTC().Truncate(time.Millisecond)
	site.Pipeline.Accept(devices.Delivery{
		Origin: devices.Origin{Device: "dust-a", ID: "1"}, Received: at,
		Readings: []devices.Reading{{Site: "a", Point: "gate-a.pm10", Value: 200, At: at}},
	}, func(err error) { done <- err })
	must(t, <-done)
	for heard := map[string]bool{}; !heard["readings"] || !heard["event"]; {
		name, data := s.next(b)
		if name == "" {
			t.Fatal("the stream ended")
		}
		heard[name] = true
		if name == "readings" {
			if !strings.Contains(string(data), `"value":200`) {
				t.Errorf("readings: %s", data)
			}
		}
	}
	var list struct{ Items []struct{ ID string } }
	b.call("GET", "/api/v1/events?state=open", root, nil).want(200).into(&list)
	if len(list.Items) != 1 {
		t.Fatalf("events: %+v", list)
	}
	event := "/api/v1/events/" + list.Items[0].ID
	b.call("POST", event+":acknowledge", root, map[string]string{"note": "看过"}).want(200)
	until(t, "evidence", func() bool {
		var ev struct {
			Evidence string
			Pictures []json.RawMessage
		}
		b.call("GET", event, root, nil).want(200).into(&ev)
		return ev.Evidence == "none" && len(ev.Pictures) == 4
	})
	b.call("GET", "/api/v1/points/gate-a.pm10/last", root, nil).want(200)
	until(t, "history", func() bool {
		var r struct{ Samples []json.RawMessage }
		b.call("GET", "/api/v1/readings?point=gate-a.pm10", root, nil).want(200).into(&r)
		return len(r.Samples) == 1
	})
	b.call("GET", "/api/v1/readings?point=gate-a.pm10&window=1m&fn=mean,first", root, nil).want(200)
	for _, path := range []string{"/status", "/platform", "/losses", "/last", "/audit"} {
		b.call("GET", "/api/v1"+path, root, nil).want(200)
	}
	b.call("GET", "/api/v1/cameras/cam-a/still.jpg", root, nil).want(503)
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "http://127.0.0.1:1", "code": "x"}).problem(400, "bad_code")
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "http://platform.example", "code": "activation"}).problem(400, "insecure")
	b.call("POST", "/api/v1/platform", root, map[string]string{"url": "http://127.0.0.1:1", "code": "activation"}).want(503)
	b.call("POST", "/api/v1/dispatch/commands", nil, map[string]string{"id": "1"})
	must(t, site.Audit.Verify(t.Context()))
}

func TestEnrolmentAnswersWithoutTheFaultThatItMended(t *testing.T) {
	t.Parallel()
	platform, err := platformtest.Open(platformtest.Config{Codes: []string{"activation"}})
	must(t, err)
	t.Cleanup(platform.Close)
	server := httptest.NewServer(platform)
	t.Cleanup(server.Close)
	b, _ := openSite(t) // ends first, and with it its long poll
	root := bearer(b.token(accounts.Administrator))
	a := b.call("POST", "/api/v1/platform", root, map[string]string{"url": server.URL, "code": "activation"}).want(200)
	if !strings.Contains(string(a.body), `"enrolled":true`) || strings.Contains(string(a.body), "not_enrolled") {
		t.Errorf("enrolled: %s", a.body)
	}
	until(t, "online", func() bool {
		return strings.Contains(string(b.call("GET", "/api/v1/platform", root, nil).want(200).body), `"online":true`)
	})
}
