package payload_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
	"offsite/devices/mqtt/senml"
)

func TestOffers(t *testing.T) {
	formats := payload.Formats{devices.FormatSenML: senml.New}
	at := func(topic devices.Topic) devices.Topic { topic.Topic = "t"; return topic }
	tests := []struct {
		name, payload string
		want          []payload.Offer
	}{
		{"number", "23.5", []payload.Offer{{Name: "t", Topic: at(devices.Topic{}), Value: 23.5}}},
		{"word", "hello", nil},
		{"not text", "\xff\x01", nil},
		{"value object", `{"value":1,"unit":"m"}`, []payload.Offer{
			{Name: "value", Topic: at(devices.Topic{}), Value: 1}, {Name: "value", Topic: at(devices.Topic{Path: "value"}), Value: 1},
		}},
		{"nested with a time beside", `{"head":{"id":"x"},"data":{"pm10":"81.5","on":true,"ts":1700000000,"note":"ok"}}`, []payload.Offer{
			{Name: "data.pm10", Topic: at(devices.Topic{Path: "data.pm10", TimePath: "data.ts"}), Value: 81.5},
			{Name: "data.on", Topic: at(devices.Topic{Path: "data.on", TimePath: "data.ts"}), Value: 1},
		}},
		{"batch", `{"rows":[{"t":1700000000,"pm":1},{"t":1700000060,"pm":2}]}`, []payload.Offer{{Name: "rows.pm", Topic: at(devices.Topic{Each: "rows", Path: "pm", TimePath: "t"}), Value: 2}}},
		{"names with dots", `{"a.b":{"c*":3}}`, []payload.Offer{{Name: `a\.b.c\*`, Topic: at(devices.Topic{Path: `a\.b.c\*`}), Value: 3}}},
		{"SenML", `[{"bn":"dev:","n":"temp","u":"Cel","v":4},{"n":"label","vs":"x"}]`, []payload.Offer{
			{Name: "dev:temp", Topic: at(devices.Topic{Format: "senml", Path: "dev:temp"}), Value: 4, Unit: "Cel"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, payload.Offers("t", []byte(tt.payload), formats)); diff != "" {
				t.Errorf("offers (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzOffers(f *testing.F) {
	f.Add([]byte(`{"rows":[{"t":1700000000,"pm":1,"x":{"y":[1,2]}}],"a.b":{"c*":"3"}}`))
	f.Add([]byte(`[{"n":"a","v":1}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, o := range payload.Offers("t", body, payload.Formats{devices.FormatSenML: senml.New}) {
			if o.Topic.Format != "" {
				continue
			}
			in, err := payload.OpenInbox(&devices.Device{ID: "d"}, []devices.Bound{{Binding: devices.Binding{ID: "b", Device: "d", Point: "o.p", Topic: &o.Topic}}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d, _ := in.Open(payload.Message{Topic: "t", Payload: body, Received: time.Now()}); len(d.Readings) == 0 {
				t.Fatalf("offer %+v reads nothing", o)
			}
		}
	})
}
