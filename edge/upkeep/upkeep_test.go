package upkeep

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/yardtest"
)

// openBook gives a Book and what it told to have ended by the clock.
func openBook(t *testing.T) (*Book, *[]string) {
	t.Helper()
	var ended []string
	b, err := Open(t.Context(), yardtest.OpenDB(t, t.TempDir()), func(_ context.Context, _ *sql.Tx, subject string, _ time.Time) error {
		ended = append(ended, subject)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b, &ended
}

func nothingElse(context.Context, *sql.Tx) error { return nil }

func TestMaintenanceRefused(t *testing.T) {
	u, _ := openBook(t)
	tests := []struct {
		name  string
		m     Maintenance
		codes []string
	}{
		{"nothing said", Maintenance{}, []string{"until missing", "reason missing"}},
		{"in the past", Maintenance{To: time.Now().Add(-time.Minute), Reason: "x"}, []string{"until in_the_past"}},
		{"for ever", Maintenance{To: time.Now().Add(31 * 24 * time.Hour), Reason: "x"}, []string{"until too_long"}},
		{"a reason of blanks", Maintenance{To: time.Now().Add(time.Hour), Reason: "  "}, []string{"reason missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.m.Subject = "device/p"
			_, err := u.Begin(t.Context(), tt.m, nothingElse)
			var codes []string
			for _, p := range devices.AllProblems(err) {
				codes = append(codes, p.Field+" "+p.Code)
			}
			if diff := cmp.Diff(tt.codes, codes); diff != "" {
				t.Error(diff)
			}
		})
	}
	if p := devices.AllProblems(u.End(t.Context(), "device/p", nothingElse))[0]; p.Code != "not_maintained" {
		t.Errorf("%+v", p)
	}
}

func TestMaintenanceEndsByTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u, told := openBook(t)
		began := time.Now()
		for _, m := range []Maintenance{
			{Subject: "device/p", Reason: "first", Who: "li", To: began.Add(time.Hour)},
			{Subject: "device/p", Reason: "换传感器", Who: "wang", To: began.Add(2 * time.Hour)},
			{Subject: "point/stack.q", Reason: "校准", Who: "li", To: began.Add(time.Minute)},
		} {
			if _, err := u.Begin(t.Context(), m, nothingElse); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for _, tt := range []struct {
			device, point, want string
			after               time.Duration
		}{
			{"p", "stack.p", "", -time.Second},
			{"p", "stack.p", "first", 0},
			{"p", "stack.p", "换传感器", time.Minute},
			{"p", "stack.p", "", 2 * time.Hour},
			{"other", "stack.q", "校准", 30 * time.Second},
			{"other", "stack.q", "", time.Minute},
		} {
			got := ""
			if m := u.Of(tt.device, tt.point, began.Add(tt.after)); m != nil {
				got = m.Reason
			}
			if got != tt.want {
				t.Errorf("%s after %s: %q, want %q", tt.point, tt.after, got, tt.want)
			}
		}
		d := devices.Delivery{Origin: devices.Origin{Device: "p"}, Readings: []devices.Reading{
			{Point: "stack.p", At: began.Add(-time.Second)}, {Point: "stack.p", At: began.Add(time.Second)}, {Point: "stack.p", At: began.Add(time.Second), Mark: "D"},
		}}
		u.Mark(&d)
		if marks := d.Readings[0].Mark + "," + d.Readings[1].Mark + "," + d.Readings[2].Mark; marks != ",M,D" {
			t.Errorf("marks %s", marks)
		}
		if q := d.Readings[0].Quality.String() + "," + d.Readings[1].Quality.String() + "," + d.Readings[2].Quality.String(); q != "good,bad/maintenance,good" {
			t.Errorf("qualities %s", q)
		}
		if left := u.Judged("p", d.Readings); len(left) != 1 || len(d.Readings) != 3 {
			t.Errorf("judged %+v", left)
		}
		var ended []string
		for range 3 {
			subjects, err := u.Lapse(t.Context(), time.Now())
			if err != nil {
				t.Fatal(err)
			}
			ended = append(ended, fmt.Sprint(subjects))
			time.Sleep(90 * time.Minute)
		}
		if diff := cmp.Diff([]string{"[]", "[point/stack.q]", "[device/p]"}, ended); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"point/stack.q", "device/p"}, *told); diff != "" {
			t.Error(diff)
		}
	})
}
