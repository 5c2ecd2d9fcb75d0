package edge

import (
	"database/sql"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/timeseries"
)

func letterAt(seq uint64, device, payload string) timeseries.Record {
	return timeseries.Record{Seq: seq, Delivery: devices.Delivery{
		Origin: devices.Origin{Device: device}, Received: noon,
		Letter: &devices.DeadLetter{Topic: "t", Payload: []byte(payload), Problem: devices.Invalid("t", "not_json", "不是 JSON", "not JSON")},
	}}
}

func bury(t *testing.T, g *Ledger, letters ...timeseries.Record) {
	t.Helper()
	if err := g.db.Update(t.Context(), func(tx *sql.Tx) error { return g.bury(t.Context(), tx, letters) }); err != nil {
		t.Fatal(err)
	}
}

func seqsOf(letters []Letter) []uint64 {
	var seqs []uint64
	for _, l := range letters {
		seqs = append(seqs, l.Seq)
	}
	return seqs
}

func TestLettersAreListedUntilTheyAreUnderstood(t *testing.T) {
	g := openLedger(t)
	bury(t, g, letterAt(2, "a", "x"), letterAt(5, "b", "y"), letterAt(9, "a", "z"))
	list := func(f LetterFilter) []uint64 {
		t.Helper()
		letters, err := g.Letters(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return seqsOf(letters)
	}
	for _, tt := range []struct {
		name   string
		filter LetterFilter
		want   []uint64
	}{
		{"all", LetterFilter{}, []uint64{9, 5, 2}},
		{"of a device", LetterFilter{Device: "a"}, []uint64{9, 2}},
		{"a page", LetterFilter{Before: 9, Most: 1}, []uint64{5}},
		{"by number", LetterFilter{Seqs: []uint64{2, 5, 77}}, []uint64{5, 2}},
	} {
		if diff := cmp.Diff(tt.want, list(tt.filter)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if err := g.settle(t.Context(), []Letter{{Seq: 9}}, []Letter{{Seq: 5, Problem: devices.Invalid("v", "path_missing", "没有", "none")}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{5, 2}, list(LetterFilter{})); diff != "" {
		t.Error(diff)
	}
	if letters, _ := g.Letters(t.Context(), LetterFilter{Device: "b"}); letters[0].Problem.Code != "path_missing" || string(letters[0].Payload) != "y" || !letters[0].Received.Equal(noon) {
		t.Errorf("letter %+v", letters[0])
	}
	bury(t, g, letterAt(9, "a", "z")) // the log is judged again after a restart
	if diff := cmp.Diff([]uint64{5, 2}, list(LetterFilter{})); diff != "" {
		t.Errorf("what was understood came back: %s", diff)
	}
}

func TestBuriedPayloadsAreBounded(t *testing.T) {
	g := openLedger(t)
	large := string(make([]byte, devices.MaxPayload))
	var batch []timeseries.Record
	most := keepPayloads / devices.MaxPayload
	for i := range most + 40 {
		if batch = append(batch, letterAt(uint64(i+1), "d", large)); len(batch) == lettersAtOnce {
			bury(t, g, batch...)
			batch = nil
		}
	}
	bury(t, g, batch...)
	var n, bytes int
	if err := g.db.Read().QueryRow(`SELECT count(*), sum(length(payload)) FROM dead_letters`).Scan(&n, &bytes); err != nil || bytes > keepPayloads || n < most-1 {
		t.Errorf("%d letters of %d bytes, %v", n, bytes, err)
	}
}

func TestReplayAfterTheMappingIsMended(t *testing.T) {
	b := startBox(t, t.TempDir(), nil)
	client := b.connect()
	began := time.Now()
	b.publish(client, `{"pm10":41}`)
	b.publish(client, `{"pm10":42,"time":"2026-02-03T04:05:06Z"}`)
	b.publish(client, `dry`)
	b.publish(client, "50")
	awaitLetters := func(n int) []Letter {
		t.Helper()
		limit, again := time.After(20*time.Second), time.NewTicker(20*time.Millisecond)
		defer again.Stop()
		for {
			letters, err := b.Ledger.Letters(t.Context(), LetterFilter{})
			if err == nil && len(letters) == n {
				return letters
			}
			select {
			case <-again.C:
			case <-limit:
				t.Fatalf("%d letters, want %d: %v", len(letters), n, err)
			}
		}
	}
	awaitLetters(3)
	got, err := b.Replay(t.Context(), LetterFilter{})
	if err != nil || got.Understood != 0 || got.Readings != 0 || len(got.Failed) != 3 {
		t.Errorf("before the mapping is mended: %+v, %v", got, err)
	}
	binding := *b.Registry.Snapshot().Bindings["b-gate"]
	binding.Topic = &devices.Topic{Topic: "offsite/gate/gate", Path: "pm10", TimePath: ""}
	register(t, b.Registry, &binding)
	got, err = b.Replay(t.Context(), LetterFilter{Device: "gate"})
	if err != nil || got.Understood != 2 || got.Readings != 2 || len(got.Failed) != 1 || got.Failed[0].Problem.Code != "not_json" {
		t.Errorf("after it: %+v, %v", got, err)
	}
	if letters := awaitLetters(1); letters[0].Problem.Code != "not_json" {
		t.Errorf("letter %+v", letters[0])
	}
	if again, err := b.Replay(t.Context(), LetterFilter{Device: "gate"}); err != nil || again.Readings != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	b.stop()
	client.Disconnect(0)
	again := startBox(t, b.cfg.State, nil)
	samples, err := again.History.Range(t.Context(), timeseries.Series{Site: "plant", Point: "stack.gate"}, noon.AddDate(-50, 0, 0), noon.AddDate(50, 0, 0), 0)
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
