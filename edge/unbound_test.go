package edge

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices/broker"
)

func TestUnboundTopicsAreToldExactlyAndFillNoTable(t *testing.T) {
	ledger := openLedger(t)
	u := newUnbound(ledger)
	topic := func(name string, count int64) broker.Unbound {
		return broker.Unbound{Device: "d", Topic: name, At: noon, Count: count}
	}
	var many []broker.Unbound
	for i := range mostTopics + 10 {
		many = append(many, topic(fmt.Sprintf("t%d", i), 1))
	}
	for _, heard := range [][]broker.Unbound{
		{topic("t0", 2)},
		{topic("t0", 2)},
		{topic("t0", 5)},
		append([]broker.Unbound{topic("t0", 6)}, many[1:]...),
		{topic("t0", 1)}, // forgotten by the broker and heard again
	} {
		if err := u.tell(t.Context(), heard); err != nil {
			t.Fatal(err)
		}
	}
	losses, err := ledger.Losses(t.Context(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	for _, l := range losses {
		if l.Kind != LossUnbound || l.Why.Field != "topic" {
			t.Errorf("loss %+v", l)
		}
		got[l.Detail] = l.Count
	}
	if len(losses) != mostTopics+1 {
		t.Errorf("%d rows, want %d", len(losses), mostTopics+1)
	}
	if d := cmp.Diff([]int64{7, 1, 10}, []int64{got["t0"], got["t1"], got[otherTopics]}); d != "" {
		t.Error(d)
	}
}
