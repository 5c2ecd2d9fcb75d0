package field

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/devices/hj212"
	"offsite/devices/mqtt/broker"
	"offsite/edge/yardtest"
)

// lossesOf adds up what is told of things that nothing is bound to.
type lossesOf struct {
	notes
	counts map[string]int64 // by subject, code and detail
}

func (l *lossesOf) Unbound(subject, detail string, _ time.Time, count int64, why *devices.Problem) {
	if l.counts == nil {
		l.counts = map[string]int64{}
	}
	l.counts[subject+" "+why.Code+" "+detail] += count
}

func TestUnboundTopicsAreToldExactlyAndFillNoTable(t *testing.T) {
	losses := &lossesOf{}
	s := NewStrays(losses, nil, nil)
	topic := func(name string, count int64) broker.Unbound {
		return broker.Unbound{Device: "d", Topic: name, At: yardtest.Noon, Count: count}
	}
	var many []broker.Unbound
	for i := range mostDetails + 10 {
		many = append(many, topic(fmt.Sprintf("t%d", i), 1))
	}
	for _, heard := range [][]broker.Unbound{
		{topic("t0", 2)},
		{topic("t0", 2)},
		{topic("t0", 5)},
		append([]broker.Unbound{topic("t0", 6)}, many[1:]...),
		{topic("t0", 1)}, // forgotten by the broker and heard again
	} {
		s.tell(ofTopics(heard))
	}
	if len(losses.counts) != mostDetails+1 {
		t.Errorf("%d rows, want %d", len(losses.counts), mostDetails+1)
	}
	at := func(detail string) int64 { return losses.counts["device/d unknown_topic "+detail] }
	if d := cmp.Diff([]int64{7, 1, 10}, []int64{at("t0"), at("t1"), at(otherDetails)}); d != "" {
		t.Error(d)
	}
}

func TestWhatTheHostNotedIsToldOnce(t *testing.T) {
	losses := &lossesOf{}
	s := NewStrays(losses, nil, nil)
	note := func(device, mn, code, detail string, count int64) hj212.Note {
		return hj212.Note{Device: device, MN: mn, Detail: detail, Remote: "192.0.2.7:1234", At: yardtest.Noon, Count: count, Problem: devices.Invalid("mn", code, code, code)}
	}
	for _, notes := range [][]hj212.Note{
		{note("", "M9", "unknown_mn", "", 1), note("cems", "M1", "unknown_factor", "a0 realtime Rtd", 2), note("", "", "garbage", "x", 1)},
		{note("", "M9", "unknown_mn", "", 4), note("cems", "M1", "unknown_factor", "a0 realtime Rtd", 2), note("", "", "garbage", "y", 2)},
		{note("cems", "M1", "replayed", "QN=1", 1)},
		{note("cems", "M1", "replayed", "QN=2", 2)},
	} {
		s.tell(ofPackets(notes))
	}
	want := map[string]int64{
		"gateway unknown_mn MN=M9": 4, "device/cems unknown_factor a0 realtime Rtd": 2, "gateway garbage 192.0.2.7": 2, "device/cems replayed MN=M1": 2,
	}
	if d := cmp.Diff(want, losses.counts); d != "" {
		t.Error(d)
	}
}
