package payload_test

import (
	"strings"
	"testing"
	"time"

	"offsite/devices/mqtt/payload"
)

func TestTopicsAreBounded(t *testing.T) {
	topics := payload.Topics{Most: 2}
	for _, name := range []string{"b", "a", "c", "b"} {
		topics.Add(payload.Message{Topic: name, Payload: []byte(strings.Repeat("1", 100)), Received: time.Now()})
	}
	list, missed := topics.List()
	if len(list) != 2 || list[0].Topic != "a" || list[1].Count != 2 || missed != 1 {
		t.Errorf("%+v, %d missed", list, missed)
	}
}
