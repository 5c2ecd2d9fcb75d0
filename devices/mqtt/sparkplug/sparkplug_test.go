package sparkplug

import (
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
)

const t0 = 1_700_000_000_000 // Unix milliseconds

var receipt = time.UnixMilli(t0 + 500).UTC()

func neg(v int32) uint32 { return uint32(v) }

func TestNumbers(t *testing.T) {
	tests := []struct {
		name string
		put  put
		want float64
	}{
		{"Int8 in two's complement of 32 bits", put{datatype: Int8, value: neg(-5)}, -5},
		{"Int8 in eight bits", put{datatype: Int8, value: uint32(0xfb)}, -5},
		{"Int16", put{datatype: Int16, value: neg(-3000)}, -3000},
		{"Int32", put{datatype: Int32, value: neg(math.MinInt32)}, math.MinInt32},
		{"Int64", put{datatype: Int64, value: uint64(math.MaxUint64)}, -1},
		{"UInt8", put{datatype: UInt8, value: uint32(255)}, 255},
		{"UInt32", put{datatype: UInt32, value: uint32(math.MaxUint32)}, math.MaxUint32},
		{"UInt64", put{datatype: UInt64, value: uint64(1 << 53)}, 1 << 53},
		{"Float", put{datatype: Float, value: float32(1.5)}, 1.5},
		{"Double", put{datatype: Double, value: -2.25}, -2.25},
		{"Boolean", put{datatype: Boolean, value: true}, 1},
		{"DateTime", put{datatype: DateTime, value: uint64(t0)}, t0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.put.name = "m"
			p, err := Parse(encode(t0, 3, tt.put))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := p.Metrics[0].Value.Number(p.Metrics[0].Datatype)
			if !ok || got != tt.want || *p.Seq != 3 || p.Time.UnixMilli() != t0 {
				t.Errorf("got %v, %v in %+v", got, ok, p)
			}
		})
	}
}

// site is an inbox with points of an edge node, its device and another device.
type site struct {
	t     *testing.T
	inbox *payload.Inbox
	now   time.Time
}

func newSite(t *testing.T) *site {
	t.Helper()
	bind := func(point, topic, name string) devices.Bound {
		return devices.Bound{Site: "site-1", Point: devices.Point{ID: point}, Binding: devices.Binding{
			ID: strings.ReplaceAll(point, ".", "-"), Point: point, Device: "gw",
			Topic: &devices.Topic{Topic: topic, Format: devices.FormatSparkplug, Path: name},
		}}
	}
	in, err := payload.OpenInbox(&devices.Device{ID: "gw"}, []devices.Bound{
		bind("out.volt", "spBv1.0/plant/+/e1", "Supply"),
		bind("out.pm", "spBv1.0/plant/+/e1/dust", "Air/PM10"),
		bind("out.temp", "spBv1.0/plant/+/e1/tank", "Temp"),
	}, payload.Formats{devices.FormatSparkplug: New})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"spBv1.0/plant/+/e1/#"}, in.Filters()); diff != "" {
		t.Error(diff)
	}
	return &site{t, in, receipt}
}

// told is what a message brought, in short.
type told struct {
	Values  map[string]float64
	Reports []string // "out.pm out.temp: device_offline"
	Letter  string   // code
	Asked   string   // topic
}

func (s *site) send(topic string, body []byte) told {
	s.t.Helper()
	if !s.inbox.Bound(topic) {
		s.t.Errorf("%s is not bound", topic)
	}
	d, reports := s.inbox.Open(payload.Message{Topic: topic, Payload: body, Received: s.now})
	var got told
	for _, r := range d.Readings {
		if got.Values == nil {
			got.Values = map[string]float64{}
		}
		got.Values[r.Point] = r.Value
	}
	for _, r := range reports {
		text := strings.Join(r.Points, " ") + ":"
		if r.Problem != nil {
			text += " " + r.Problem.Code
		}
		got.Reports = append(got.Reports, text)
	}
	if d.Letter != nil {
		got.Letter = d.Letter.Problem.Code
	}
	for _, a := range s.inbox.Asks() {
		got.Asked += a.Topic
	}
	return got
}

func (s *site) want(name string, got, want told) {
	s.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func bd(n uint64) put { return put{name: "bdSeq", datatype: Int64, value: n} }

func (s *site) birth() {
	s.t.Helper()
	s.want("NBIRTH", s.send("spBv1.0/plant/NBIRTH/e1", encode(t0, 0, bd(7), put{name: "Supply", datatype: Float, value: float32(24)})),
		told{Values: map[string]float64{"out.volt": 24}})
	s.want("DBIRTH", s.send("spBv1.0/plant/DBIRTH/e1/dust", encode(t0, 1, put{name: "Air/PM10", alias: 11, datatype: Int16, value: uint32(80)})),
		told{Values: map[string]float64{"out.pm": 80}})
	s.want("DBIRTH of the other", s.send("spBv1.0/plant/DBIRTH/e1/tank", encode(t0, 2, put{name: "Temp", alias: 12, datatype: Double, value: 20.5})),
		told{Values: map[string]float64{"out.temp": 20.5}})
}

func TestLifeOfAnEdgeNode(t *testing.T) {
	s := newSite(t)
	s.birth()
	s.want("data by alias, datatype of the birth", s.send("spBv1.0/plant/DDATA/e1/dust", encode(t0, 3, put{alias: 11, value: neg(-4)})),
		told{Values: map[string]float64{"out.pm": -4}})
	s.want("data by name", s.send("spBv1.0/plant/NDATA/e1", encode(t0, 4, put{name: "Supply", value: float32(23)})),
		told{Values: map[string]float64{"out.volt": 23}})
	s.want("a metric that nobody wants", s.send("spBv1.0/plant/NDATA/e1", encode(t0, 5, put{name: "Uptime", datatype: UInt32, value: uint32(9)})), told{})
	s.want("DDEATH", s.send("spBv1.0/plant/DDEATH/e1/tank", encode(t0, 6)), told{Reports: []string{"out.temp: device_offline"}})
	s.want("DBIRTH again", s.send("spBv1.0/plant/DBIRTH/e1/tank", encode(t0, 7, put{name: "Temp", alias: 12, datatype: Double, value: 21.0})),
		told{Values: map[string]float64{"out.temp": 21}, Reports: []string{"out.temp:"}})
	s.want("will of an earlier session", s.send("spBv1.0/plant/NDEATH/e1", encode(t0, -1, bd(6))), told{})
	s.want("NDEATH", s.send("spBv1.0/plant/NDEATH/e1", encode(t0, -1, bd(7))), told{Reports: []string{"out.pm out.temp out.volt: device_offline"}})
	s.want("NDEATH again", s.send("spBv1.0/plant/NDEATH/e1", encode(t0, -1, bd(7))), told{})
	s.want("NBIRTH", s.send("spBv1.0/plant/NBIRTH/e1", encode(t0, 0, bd(8), put{name: "Supply", datatype: Float, value: float32(24)})),
		told{Values: map[string]float64{"out.volt": 24}, Reports: []string{"out.volt:"}})
	s.want("a command is none of ours", s.send("spBv1.0/plant/NCMD/e1", encode(t0, -1)), told{})
}

func TestSequence(t *testing.T) {
	s := newSite(t)
	s.birth()
	data := func(seq int, v float64) told {
		return s.send("spBv1.0/plant/DDATA/e1/tank", encode(t0, seq, put{alias: 12, value: v}))
	}
	value := func(v float64) map[string]float64 { return map[string]float64{"out.temp": v} }
	for seq := 3; seq <= 255; seq++ {
		data(seq, 1)
	}
	s.want("round to 0", data(0, 2), told{Values: value(2)})
	s.want("the same again", data(0, 2), told{Values: value(2)})
	s.want("gap", data(3, 3), told{
		Values: value(3), Asked: "spBv1.0/plant/NCMD/e1",
		Reports: []string{"out.pm out.temp out.volt: sequence_gap", "out.temp:"},
	})
	s.want("another gap is told where it is news, and not asked at once", data(9, 4), told{
		Values: value(4), Reports: []string{"out.temp: sequence_gap", "out.temp:"},
	})
	s.now = s.now.Add(askAgain)
	s.want("after a while it is asked again", data(20, 5), told{
		Values: value(5), Reports: []string{"out.temp: sequence_gap", "out.temp:"}, Asked: "spBv1.0/plant/NCMD/e1",
	})
	s.want("rebirth", s.send("spBv1.0/plant/NBIRTH/e1", encode(t0, 0, bd(7), put{name: "Supply", datatype: Float, value: float32(24)})),
		told{Values: map[string]float64{"out.volt": 24}, Reports: []string{"out.volt:"}})
}

func TestDataBeforeTheBirth(t *testing.T) {
	s := newSite(t)
	s.want("alias", s.send("spBv1.0/plant/DDATA/e1/dust", encode(t0, 77, put{alias: 11, value: uint32(3)})),
		told{Letter: "unknown_alias", Asked: "spBv1.0/plant/NCMD/e1", Reports: []string{"out.pm: unknown_alias"}})
	s.want("name", s.send("spBv1.0/plant/DDATA/e1/tank", encode(t0, 78, put{name: "Temp", datatype: Double, value: 3.0})),
		told{Values: map[string]float64{"out.temp": 3}})
	s.birth2()
}

// birth2 is a birth after which out.pm can be read again.
func (s *site) birth2() {
	s.t.Helper()
	s.send("spBv1.0/plant/NBIRTH/e1", encode(t0, 0, bd(7), put{name: "Supply", datatype: Float, value: float32(24)}))
	s.want("DBIRTH", s.send("spBv1.0/plant/DBIRTH/e1/dust", encode(t0, 1, put{name: "Air/PM10", alias: 11, datatype: Int16, value: uint32(80)})),
		told{Values: map[string]float64{"out.pm": 80}, Reports: []string{"out.pm:"}})
}

func TestWhatIsNoNumber(t *testing.T) {
	bad := int32(0)
	s := newSite(t)
	s.birth()
	s.want("text", s.send("spBv1.0/plant/DDATA/e1/dust", encode(t0, 3, put{name: "Air/PM10", datatype: String, value: "dry"})),
		told{Letter: "not_a_number", Reports: []string{"out.pm: not_a_number"}})
	s.want("null", s.send("spBv1.0/plant/DDATA/e1/tank", encode(t0, 4, put{alias: 12})), told{Letter: "null_value", Reports: []string{"out.temp: null_value"}})
	s.want("NaN", s.send("spBv1.0/plant/NDATA/e1", encode(t0, 5, put{name: "Supply", value: float32(math.NaN())})),
		told{Letter: "not_finite", Reports: []string{"out.volt: not_finite"}})
	s.want("null in a birth is no fault", s.send("spBv1.0/plant/DBIRTH/e1/tank", encode(t0, 6, put{name: "Temp", alias: 12, datatype: Double})),
		told{Reports: []string{"out.temp:"}})
	s.want("missing in a birth", s.send("spBv1.0/plant/DBIRTH/e1/tank", encode(t0, 7, put{name: "Level", alias: 13, datatype: Double, value: 1.0})),
		told{Letter: "name_missing", Reports: []string{"out.temp: name_missing"}})
	s.want("garbage", s.send("spBv1.0/plant/DDATA/e1/dust", []byte("{}")), told{Letter: "bad_sparkplug"})
	d, _ := s.inbox.Open(payload.Message{Topic: "spBv1.0/plant/DDATA/e1/dust", Payload: encode(t0, 8, put{alias: 11, at: t0 + 9, value: uint32(1), quality: &bad}), Received: receipt})
	if len(d.Readings) != 1 || d.Readings[0].Quality != devices.BadDevice || d.Readings[0].At.UnixMilli() != t0+9 || d.Readings[0].Stamped {
		t.Errorf("readings %+v, letter %+v", d.Readings, d.Letter)
	}
}

func TestRebirthIsReadByOthers(t *testing.T) {
	p, err := Parse(askForBirth(receipt))
	if err != nil || len(p.Metrics) != 1 {
		t.Fatal(p, err)
	}
	m := p.Metrics[0]
	if m.Name != "Node Control/Rebirth" || m.Datatype != Boolean || m.Value.bits != 1 || !p.Time.Equal(receipt) || p.Seq != nil {
		t.Errorf("metric %+v of %+v", m, p)
	}
	if got, want := askForBirth(receipt), encode(uint64(receipt.UnixMilli()), -1, put{name: rebirth, at: uint64(receipt.UnixMilli()), datatype: Boolean, value: true}); !slices.Equal(got, want) {
		t.Errorf("written %s, want %s", hex.EncodeToString(got), hex.EncodeToString(want))
	}
}

func TestPayloadAsJSON(t *testing.T) {
	p, err := Parse(encode(t0, 1, put{name: "a", alias: 3, at: t0, datatype: Int8, value: uint32(0xff)}, put{name: "b", datatype: Float, value: float32(math.Inf(1))}, put{name: "c", datatype: String, value: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(p)
	want := `{"time":"2023-11-14T22:13:20Z","seq":1,"metrics":[{"name":"a","alias":3,"time":"2023-11-14T22:13:20Z","datatype":"Int8","value":-1},{"name":"b","datatype":"Float","value":null},{"name":"c","datatype":"String","value":"x"}]}`
	if string(got) != want || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

func FuzzFormat(f *testing.F) {
	f.Add("NBIRTH", encode(t0, 0, bd(7), put{name: "Supply", datatype: Float, value: float32(24)}))
	q := int32(192)
	f.Add("DDATA", encode(t0, 3, put{alias: 11, value: uint32(3), quality: &q}))
	f.Add("NDEATH", encode(t0, -1, bd(7)))
	f.Fuzz(func(t *testing.T, verb string, payload []byte) {
		format := New()
		for _, topic := range []string{"spBv1.0/g/" + verb + "/e", "spBv1.0/g/" + verb + "/e/d", "spBv1.0/g/DDATA/e/d"} {
			sheet, p := format.Read(topic, payload, receipt)
			if p != nil && (p.ZH == "" || p.EN == "") {
				t.Fatalf("problem %+v", p)
			}
			for _, s := range sheet.Samples {
				if s.Name == "" || s.At.Year() > 9999 {
					t.Fatalf("sample %+v", s)
				}
			}
		}
		if p, err := Parse(payload); err == nil {
			if _, err := json.Marshal(p); err != nil {
				t.Fatal(err)
			}
		}
	})
}
