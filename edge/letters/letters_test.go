package letters

import (
	"database/sql"
	"testing"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
	"offsite/timeseries"
)

func letterAt(seq uint64, device, payload string) timeseries.Record {
	return timeseries.Record{Seq: seq, Delivery: devices.Delivery{
		Origin: devices.Origin{Device: device}, Received: yardtest.Noon,
		Letter: &devices.DeadLetter{Topic: "t", Payload: []byte(payload), Problem: devices.Invalid("t", "not_json", "不是 JSON", "not JSON")},
	}}
}

func openOffice(t *testing.T) *Office {
	t.Helper()
	o, err := Open(t.Context(), yardtest.OpenDB(t, t.TempDir()), Config{})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func bury(t *testing.T, o *Office, letters ...timeseries.Record) {
	t.Helper()
	if err := o.db.Update(t.Context(), func(tx *sql.Tx) error { _, err := o.Bury(t.Context(), tx, letters); return err }); err != nil {
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
	o := openOffice(t)
	bury(t, o, letterAt(2, "a", "x"), letterAt(5, "b", "y"), letterAt(9, "a", "z"))
	list := func(f Filter) []uint64 {
		t.Helper()
		letters, err := o.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return seqsOf(letters)
	}
	for _, tt := range []struct {
		name   string
		filter Filter
		want   []uint64
	}{
		{"all", Filter{}, []uint64{9, 5, 2}},
		{"of a device", Filter{Device: "a"}, []uint64{9, 2}},
		{"a page", Filter{Before: 9, Most: 1}, []uint64{5}},
		{"by number", Filter{Seqs: []uint64{2, 5, 77}}, []uint64{5, 2}},
	} {
		if diff := cmp.Diff(tt.want, list(tt.filter)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
	if err := o.settle(t.Context(), []Letter{{Seq: 9}}, []Letter{{Seq: 5, Problem: devices.Invalid("v", "path_missing", "没有", "none")}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint64{5, 2}, list(Filter{})); diff != "" {
		t.Error(diff)
	}
	if letters, _ := o.List(t.Context(), Filter{Device: "b"}); letters[0].Problem.Code != "path_missing" || string(letters[0].Payload) != "y" || !letters[0].Received.Equal(yardtest.Noon) {
		t.Errorf("letter %+v", letters[0])
	}
	bury(t, o, letterAt(9, "a", "z")) // the log is judged again after a restart
	if diff := cmp.Diff([]uint64{5, 2}, list(Filter{})); diff != "" {
		t.Errorf("what was understood came back: %s", diff)
	}
}

func TestBuriedPayloadsAreBounded(t *testing.T) {
	o := openOffice(t)
	large := string(make([]byte, devices.MaxPayload))
	var batch []timeseries.Record
	most := keepPayloads / devices.MaxPayload
	for i := range most + 40 {
		if batch = append(batch, letterAt(uint64(i+1), "d", large)); len(batch) == lettersAtOnce {
			bury(t, o, batch...)
			batch = nil
		}
	}
	bury(t, o, batch...)
	var n, bytes int
	if err := o.db.Read().QueryRow(`SELECT count(*), sum(length(payload)) FROM dead_letters`).Scan(&n, &bytes); err != nil || bytes > keepPayloads || n < most-1 {
		t.Errorf("%d letters of %d bytes, %v", n, bytes, err)
	}
}

func TestDeadLettersAreGivenOnce(t *testing.T) {
	o := openOffice(t)
	batch := []timeseries.Record{letterAt(4, "d", "?"), letterAt(7, "e", "?")}
	for i, want := range [][]uint64{{4}, {7}, nil} {
		err := o.db.Update(t.Context(), func(tx *sql.Tx) error {
			fresh, err := o.Bury(t.Context(), tx, batch[:min(i+1, 2)])
			var seqs []uint64
			for _, rec := range fresh {
				seqs = append(seqs, rec.Seq)
			}
			if diff := cmp.Diff(want, seqs); diff != "" {
				t.Errorf("time %d: %s", i, diff)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
