package edge

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/letters"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

func TestReplayAfterTheMappingIsMended(t *testing.T) {
	b := startBox(t, t.TempDir(), nil)
	client := b.connect()
	began := time.Now()
	b.publish(client, `{"pm10":41}`)
	b.publish(client, `{"pm10":42,"time":"2026-02-03T04:05:06Z"}`)
	b.publish(client, `dry`)
	b.publish(client, "50")
	awaitLetters := func(n int) []letters.Letter {
		t.Helper()
		limit, again := time.After(time.Minute), time.NewTicker(20*time.Millisecond)
		defer again.Stop()
		for {
			list, err := b.Letters.List(t.Context(), letters.Filter{})
			if err == nil && len(list) == n {
				return list
			}
			select {
			case <-again.C:
			case <-limit:
				t.Fatalf("%d letters, want %d: %v", len(list), n, err)
			}
		}
	}
	awaitLetters(3)
	got, err := b.Letters.Replay(t.Context(), letters.Filter{})
	if err != nil || got.Understood != 0 || got.Readings != 0 || len(got.Failed) != 3 {
		t.Errorf("before the mapping is mended: %+v, %v", got, err)
	}
	binding := *b.Registry.Snapshot().Bindings["b-gate"]
	binding.Topic = &devices.Topic{Topic: "offsite/gate/gate", Path: "pm10", TimePath: ""}
	yardtest.Register(t, b.Registry, &binding)
	got, err = b.Letters.Replay(t.Context(), letters.Filter{Device: "gate"})
	if err != nil || got.Understood != 2 || got.Readings != 2 || len(got.Failed) != 1 || got.Failed[0].Problem.Code != "not_json" {
		t.Errorf("after it: %+v, %v", got, err)
	}
	if list := awaitLetters(1); list[0].Problem.Code != "not_json" {
		t.Errorf("letter %+v", list[0])
	}
	if again, err := b.Letters.Replay(t.Context(), letters.Filter{Device: "gate"}); err != nil || again.Readings != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	b.stop()
	client.Disconnect(0)
	again := startBox(t, b.cfg.State, nil)
	var samples []timeseries.Sample
	eventually(t, "history lacks what was replayed", func() bool {
		samples, err = again.History.Range(t.Context(), timeseries.Series{Site: "plant", Point: "stack.gate"}, yardtest.Noon.AddDate(-50, 0, 0), yardtest.Noon.AddDate(50, 0, 0), 0)
		return err != nil || len(samples) >= 3
	})
	if err != nil || len(samples) != 3 {
		t.Fatalf("history %+v, %v", samples, err)
	}
	values := make([]float64, len(samples)) // of one millisecond, in any order
	for i, s := range samples {
		if values[i] = s.Value; s.At.Before(began.Add(-time.Second)) || s.At.After(time.Now()) {
			t.Errorf("sample %d is %+v, want it at its receipt", i, s)
		}
	}
	slices.Sort(values)
	if diff := cmp.Diff([]float64{41, 42, 50}, values); diff != "" {
		t.Error(diff)
	}
}
