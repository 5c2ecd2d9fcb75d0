package mqtt

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wire "github.com/mochi-mqtt/server/v2/packets"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

func TestListen(t *testing.T) {
	h := newHub(t)
	type result struct {
		topics *payload.Topics
		err    error
	}
	ended := make(chan result, 1)
	go func() {
		topics, err := Listen(t.Context(), devices.Device{ID: "dev-1", Endpoint: "mqtt://" + h.address(), Username: "dev-1", Password: "secret-of-dev-1"}, Config{}, ListenConfig{For: 500 * time.Millisecond})
		ended <- result{topics, err}
	}()
	l, hello := h.meet()
	if c := hello.Connect; !c.Clean || c.ClientIdentifier == "offsite-dev-1" || string(c.Username) != "dev-1" {
		t.Errorf("CONNECT %+v", c)
	}
	l.accept()
	if diff := cmp.Diff([]string{"#"}, l.subscribed(0)); diff != "" {
		t.Error(diff)
	}
	retain := func(pk *wire.Packet) { pk.FixedHeader.Retain = true }
	l.Publish("tele/x/SENSOR", `{"Time":"2026-03-01T12:00:00+08:00","AM2301":{"Temperature":23.5}}`, 0, 0, retain)
	l.Publish("plant/pm10", "81", 0, 0)
	l.Publish("plant/pm10", "82", 0, 0)
	got := <-ended
	if got.err != nil {
		t.Fatal(got.err)
	}
	list, missed := got.topics.List()
	if len(list) != 2 || missed != 0 || list[0].Count != 2 || list[0].Offers[0].Value != 82 || !list[1].Retained || list[0].Retained {
		t.Fatalf("heard %+v, %d missed", list, missed)
	}
	want := []payload.Offer{{Name: "AM2301.Temperature", Topic: devices.Topic{Topic: "tele/x/SENSOR", Path: "AM2301.Temperature"}, Value: 23.5}}
	if diff := cmp.Diff(want, list[1].Offers); diff != "" {
		t.Errorf("offers (-want +got):\n%s", diff)
	}
}

func TestListenIsRefused(t *testing.T) {
	b := startBroker(t)
	_, err := Listen(t.Context(), devices.Device{ID: "dev-1", Endpoint: "mqtt://" + b.Addr().String(), Username: "dev-1", Password: "secret-of-dev-1"}, Config{}, ListenConfig{For: time.Minute})
	if ps := devices.AllProblems(err); len(ps) != 1 || ps[0].Code != "subscription_refused" {
		t.Errorf("Listen: %v", err)
	}
	_, err = Listen(t.Context(), devices.Device{ID: "dev-1", Endpoint: "mqtt://" + b.Addr().String(), Username: "dev-1", Password: "wrong"}, Config{}, ListenConfig{For: time.Minute})
	if ps := devices.AllProblems(err); len(ps) != 1 || ps[0].Code != "bad_password" {
		t.Errorf("Listen with a wrong password: %v", err)
	}
}
