package payload

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
)

func TestInboxTellsEachChangeOnce(t *testing.T) {
	in, err := OpenInbox(&devices.Device{ID: "dev-1"}, []devices.Bound{topicBound("out.a", &devices.Topic{Path: "a"}), topicBound("out.b", &devices.Topic{Path: "b"}), topicBound("out.c", nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	type change struct {
		Points []string
		Code   string
	}
	steps := []struct {
		name, topic, payload string
		want                 []change
	}{
		{"all is well", "offsite/dev-1", `{"a":1,"b":2}`, nil},
		{"one fails", "offsite/dev-1", `{"a":1}`, []change{{[]string{"out.b"}, "path_missing"}}},
		{"still fails", "offsite/dev-1", `{"a":1}`, nil},
		{"the other topic is not concerned", "offsite/dev-1/c", `3`, nil},
		{"both fail", "offsite/dev-1", `{`, []change{{[]string{"out.a"}, "bad_json"}}},
		{"one heals", "offsite/dev-1", `{"b":1}`, []change{{[]string{"out.b"}, ""}}},
		{"they change places", "offsite/dev-1", `{"a":1}`, []change{{[]string{"out.a"}, ""}, {[]string{"out.b"}, "path_missing"}}},
		{"a topic of nobody", "offsite/dev-1/z", `1`, nil},
		{"all is well again", "offsite/dev-1", `{"a":1,"b":2}`, []change{{[]string{"out.b"}, ""}}},
	}
	for _, tt := range steps {
		_, reports := in.Open(Message{Topic: tt.topic, Payload: []byte(tt.payload), Received: receipt})
		var got []change
		for _, r := range reports {
			c := change{Points: r.Points}
			if r.Problem != nil {
				c.Code = r.Problem.Code
			}
			got = append(got, c)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestInboxMarksWhatABrokerHadKept(t *testing.T) {
	in, err := OpenInbox(&devices.Device{ID: "dev-1"}, []devices.Bound{topicBound("out.a", nil)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, _ := in.Open(Message{Topic: "offsite/dev-1/a", Payload: []byte("1"), ID: "7", Received: receipt, Resent: true, Retained: true})
	want := devices.Origin{Device: "dev-1", ID: "7", Hash: Fingerprint("offsite/dev-1/a", []byte("1")), Resent: true}
	if diff := cmp.Diff(want, d.Origin); diff != "" {
		t.Error(diff)
	}
	if len(d.Readings) != 1 || !d.Readings[0].Repeat || !d.Received.Equal(receipt) {
		t.Errorf("delivery %+v", d)
	}
}
