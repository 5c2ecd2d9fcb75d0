package dispatch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"offsite/devices"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
	"offsite/edge/dispatch/wire"
)

func TestTheWholeRoad(t *testing.T) {
	for _, alg := range []wire.Algorithm{wire.AlgorithmHMACSHA256, wire.AlgorithmHMACSM3} {
		t.Run(string(alg), func(t *testing.T) {
			p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Algorithm: alg})
			g, s := open(t, t.TempDir(), url, "code-1"), newSite()
			g.run(t, s)
			eventually(t, "heartbeat with revision", func() bool {
				h := p.Heartbeats()
				return len(h) == 1 && h[0].ResourcesRevision == 2 && h[0].Buffer.Waiting == 3 && h[0].Clock.State == wire.ClockStateSynced &&
					len(h[0].Maintenance) == 1 && h[0].Maintenance[0].Reason == "换滤芯" && cmp.Equal(h[0].Stale, []string{"gate.pm10"})
			})
			eventually(t, "current values", func() bool { return len(p.Readings()) == 2 })
			s.put("limit", "pm10-h") // not for the platform's directory
			s.put(wire.ResourceKindCamera, "cam-1")
			s.retire("gate.pm10")
			eventually(t, "changes of resources", func() bool {
				var ids []string
				for _, r := range p.Resources() {
					ids = append(ids, r.ID)
				}
				return cmp.Equal(ids, []string{"cam-1", "yard"})
			})
			result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeSnapshotTake, `{"camera":"cam-1"}`))
			if err != nil || result.Status != wire.ResultStatusDone || !bytes.Equal(p.Blob(result.Blobs[0]), picture) {
				t.Fatalf("snapshot: %v %+v", err, result)
			}
			if result, err = p.Command(within(t, 10*time.Second), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil || result.Status != wire.ResultStatusDone {
				t.Fatalf("reading: %v %+v", err, result)
			}
			eventually(t, "acts", func() bool { return len(p.Acts()) == 2 })
			if a := p.Acts()[0]; a.What != "camera/cam-1" || a.Officer != officer || a.Kind != wire.ActKindRemoteView || a.Result != wire.ActResultDone {
				t.Errorf("act: %+v", a)
			}
			if got := g.audit.list("snapshot.take"); len(got) != 2 || !strings.HasPrefix(got[0], "taken camera/cam-1 ") || !strings.HasPrefix(got[1], "done camera/cam-1 ") {
				t.Errorf("audit: %q", got)
			}
			noViolations(t, p)
		})
	}
}

func TestSubscriptionDecidesWhatIsSent(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}, Subscription: &wire.Subscription{Items: []wire.SubscriptionItem{}}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	stop := g.run(t, s)
	result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeSubscriptionSet, `{"items":[{"points":["gate.noise"],"every_seconds":1}]}`))
	if err != nil || result.Status != wire.ResultStatusDone {
		t.Fatalf("%v %+v", err, result)
	}
	eventually(t, "first value", func() bool { return len(p.Readings()) == 1 })
	s.read("gate.noise", 71.5)
	eventually(t, "next value", func() bool { return p.Readings()[0].Value == 71.5 })
	if n := p.ReadingCount(); n != 2 {
		t.Errorf("%d readings were sent, want only the two that are new", n)
	}
	for _, bad := range []string{`{"items":[{"points":["*"],"every_seconds":0}]}`, `{"items":[{"points":["Gate"],"every_seconds":1}]}`, `{"items":3}`} {
		if result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeSubscriptionSet, bad)); err != nil || result.Status != wire.ResultStatusFailed {
			t.Errorf("%s: %v %+v", bad, err, result)
		}
	}
	stop()
	g.close()
	g = open(t, g.dir, "", "")
	s.read("gate.noise", 72)
	g.run(t, s)
	eventually(t, "a value after a restart", func() bool { return p.Readings()[0].Value == 72 })
	noViolations(t, p)
}

func TestReadingsAreResent(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Status, Status: 503, Route: "postReadings"})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	g.run(t, s)
	eventually(t, "a failure", func() bool { return p.Met() > 2 })
	s.read("gate.pm10", 99)
	heal()
	eventually(t, "the newest value", func() bool { return len(p.Readings()) == 2 && p.Readings()[1].Value == 99 })
	if r := p.Readings()[0]; !r.Resent {
		t.Errorf("not marked as resent: %+v", r)
	}
}

func TestResourcesAreSentWholeOnRequest(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	for i := range 1200 {
		s.put(wire.ResourceKindDevice, fmt.Sprintf("dev-%d", i))
	}
	g.run(t, s)
	eventually(t, "directory in batches", func() bool { return len(p.Resources()) == 1202 })
	s.mu.Lock() // lost without a trace in the change feed
	delete(s.things, "dev-7")
	s.mu.Unlock()
	result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeResourcesSync, `{}`))
	if err != nil || !strings.Contains(string(result.Data), `"resources":1201`) {
		t.Fatalf("%v %+v", err, result)
	}
	eventually(t, "full run by command", func() bool { return len(p.Resources()) == 1201 })
	s.mu.Lock()
	delete(s.things, "dev-8")
	s.mu.Unlock()
	p.AskResync()
	eventually(t, "full run by heartbeat", func() bool { return len(p.Resources()) == 1200 })
	noViolations(t, p)
}

func TestKeysRotateWhileMessagesFlow(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g, s := open(t, t.TempDir(), url, "code-1"), newSite()
	g.run(t, s)
	p.Inject(platformtest.Fault{Kind: platformtest.CommitReset, Route: "rotateKeys", Times: 1})
	p.AskRotation()
	eventually(t, "an answer lost", func() bool { return p.Met() == 1 })
	p.AskRotation()
	ending := func() (n int) {
		if err := g.db.Read().QueryRow(`SELECT count(*) FROM dispatch_key WHERE ends_at IS NOT NULL`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	eventually(t, "old keys that will end", func() bool { return ending() >= 2 })
	for range 3 {
		if _, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil {
			t.Fatal(err)
		}
	}
	noViolations(t, p)
}

func TestEnrolment(t *testing.T) {
	tests := []struct {
		name, url, code string
		fault           *platformtest.Fault
		want            string
	}{
		{name: "wrong code", code: "nope", want: "platform_unknown_code"},
		{name: "used code", code: "used", want: "platform_code_used"},
		{name: "no code", code: "", want: "bad_code"},
		{name: "plain http abroad", url: "http://192.0.2.1", code: "good", want: "insecure"},
		{name: "no address", url: "platform", code: "good", want: "bad_address"},
		{name: "password in the address", url: "https://u:p@192.0.2.1", code: "good", want: "bad_address"},
		{name: "garbage", code: "good", fault: &platformtest.Fault{Kind: platformtest.Garbage}, want: "platform_garbled"},
		{name: "redirect", code: "good", fault: &platformtest.Fault{Kind: platformtest.Redirect}, want: "platform_redirects"},
		{name: "right", code: "good", want: ""},
		{name: "answer lost, then again", code: "good", fault: &platformtest.Fault{Kind: platformtest.CommitReset, Times: 1}, want: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, url, _ := serve(t, platformtest.Config{Codes: []string{"good", "used"}})
			open(t, t.TempDir(), url, "used")
			if tt.fault != nil {
				p.Inject(*tt.fault)
			}
			if tt.url != "" {
				url = tt.url
			}
			g := open(t, t.TempDir(), "", "")
			err := g.Enrol(t.Context(), url, tt.code)
			if tt.fault != nil && tt.fault.Times == 1 { // the person tries again
				if err == nil {
					t.Error("a lost answer went unnoticed")
				}
				err = g.Enrol(t.Context(), url, tt.code)
			}
			got := ""
			if err != nil {
				got = devices.AllProblems(err)[0].Code
			}
			if got != tt.want {
				t.Errorf("got %q, want %q (%v)", got, tt.want, err)
			}
			if id, _ := g.Enrolled(); (id != "") != (tt.want == "") {
				t.Errorf("enrolled as %q", id)
			}
		})
	}
}

func TestSecretsAreSealed(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	g := open(t, t.TempDir(), url, "code-1")
	rows, err := g.db.Read().Query(`SELECT sealed FROM dispatch_key`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		var sealed []byte
		if err := rows.Scan(&sealed); err != nil {
			t.Fatal(err)
		}
		if len(sealed) != 32+29 {
			t.Errorf("a key of 32 bytes is stored in %d", len(sealed))
		}
		n++
	}
	if err := rows.Err(); err != nil || n != 2 {
		t.Errorf("%d keys, %v", n, err)
	}
	_ = p
}

func TestClockIsCorrected(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	slow := func(c *dispatch.Config) { c.Now = func() time.Time { return time.Now().Add(-time.Hour) } }
	g, s := open(t, t.TempDir(), url, "code-1", slow), newSite()
	g.run(t, s)
	eventually(t, "an offset of an hour", func() bool {
		k := g.Clock()
		return k.State == wire.ClockStateOff && k.OffsetMS > 3_599_000 && k.OffsetMS < 3_601_000
	})
	if result, err := p.Command(within(t, 10*time.Second), command(wire.CommandTypeReadingRead, `{"points":["gate.pm10"]}`)); err != nil || result.Status != wire.ResultStatusDone {
		t.Errorf("%v %+v", err, result)
	}
}

func TestReportsTellChangesOnly(t *testing.T) {
	p, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	var mu sync.Mutex
	var got []string
	g := open(t, t.TempDir(), "", "", func(c *dispatch.Config) {
		c.Report = func(r dispatch.Report) {
			if r.Part != dispatch.PartPlatform {
				return
			}
			text := "works"
			if r.Problem != nil {
				text = r.Problem.Code
			}
			mu.Lock()
			got = append(got, text)
			mu.Unlock()
		}
	})
	saw := func(n int) func() bool {
		return func() bool { mu.Lock(); defer mu.Unlock(); return len(got) >= n }
	}
	stop := g.run(t, newSite())
	eventually(t, "not enrolled", saw(1))
	if err := g.Enrol(t.Context(), url, "code-1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "works", saw(2))
	heal := p.Inject(platformtest.Fault{Kind: platformtest.Reset})
	eventually(t, "fails", saw(3))
	heal()
	eventually(t, "works again", saw(4))
	eventually(t, "a heartbeat at the platform", func() bool { return len(p.Heartbeats()) == 1 })
	stop()
	if want := []string{"not_enrolled", "works", "platform_unreachable", "works"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}

func TestDialFunctionIsUsed(t *testing.T) {
	_, url, _ := serve(t, platformtest.Config{Codes: []string{"code-1"}})
	refused := errors.New("address not allowed")
	g := open(t, t.TempDir(), "", "", func(c *dispatch.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, refused }
	})
	if err := g.Enrol(t.Context(), url, "code-1"); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}
