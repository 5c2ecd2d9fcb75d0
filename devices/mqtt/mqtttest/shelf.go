// Package mqtttest is what tests of MQTT stand on: a [Shelf] in the place of the
// log, and a [Wire] that speaks MQTT packet by packet, as a client or as a broker.
package mqtttest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"offsite/devices"
)

// Patience is how long anything is waited for.
const Patience = time.Minute

// Shelf is a Sink that stands for the log. What it was given is on disk at once
// unless it is held.
type Shelf struct {
	mu      sync.Mutex
	cond    sync.Cond
	held    bool // done is called by Release alone
	fail    error
	waiting []func(error)
	got     []devices.Delivery
	reports []devices.Report
}

var _ devices.Sink = (*Shelf)(nil)

// NewShelf gives an empty one.
func NewShelf() *Shelf {
	s := &Shelf{}
	s.cond.L = &s.mu
	return s
}

// Accept is that of [devices.Sink].
func (s *Shelf) Accept(d devices.Delivery, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, d)
	s.waiting = append(s.waiting, done)
	if !s.held {
		s.release()
	}
	s.cond.Broadcast()
}

// Report is that of [devices.Sink].
func (s *Shelf) Report(r devices.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, r)
	s.cond.Broadcast()
}

func (s *Shelf) release() {
	for _, done := range s.waiting {
		done(s.fail)
	}
	s.waiting = nil
}

// Release calls done of all deliveries that wait.
func (s *Shelf) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release()
}

// ReleaseOne lets the oldest delivery that waits be on disk.
func (s *Shelf) ReleaseOne() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[0](nil)
	s.waiting = s.waiting[1:]
}

// Set says whether deliveries wait for Release, and with what done is called.
func (s *Shelf) Set(held bool, fail error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held, s.fail = held, fail
}

// Await waits until ok holds for what was delivered and reported so far.
func (s *Shelf) Await(t testing.TB, what string, ok func([]devices.Delivery, []devices.Report) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { s.mu.Lock(); defer s.mu.Unlock(); s.cond.Broadcast() })
	defer stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !ok(s.got, s.reports) {
		if ctx.Err() != nil {
			t.Fatalf("waited in vain for %s; got %d deliveries, reports %+v", what, len(s.got), s.reports)
		}
		s.cond.Wait()
	}
}

// AwaitDeliveries waits for n deliveries and gives all.
func (s *Shelf) AwaitDeliveries(t testing.TB, n int) (all []devices.Delivery) {
	t.Helper()
	s.Await(t, fmt.Sprintf("%d deliveries", n), func(got []devices.Delivery, _ []devices.Report) bool {
		all = slices.Clone(got)
		return len(got) >= n
	})
	return all
}

// AwaitReports waits for n reports.
func (s *Shelf) AwaitReports(t testing.TB, n int) {
	t.Helper()
	s.Await(t, fmt.Sprintf("%d reports", n), func(_ []devices.Delivery, reports []devices.Report) bool { return len(reports) >= n })
}

// AwaitReport waits for a report of a device with a problem of this code, "" for
// good news.
func (s *Shelf) AwaitReport(t testing.TB, device, code string) {
	t.Helper()
	s.Await(t, "report "+device+" "+code, func(_ []devices.Delivery, reports []devices.Report) bool {
		return slices.ContainsFunc(reports, func(r devices.Report) bool { return r.Device == device && codeOf(r) == code })
	})
}

// Reports gives all reports so far.
func (s *Shelf) Reports() []devices.Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reports)
}

// Codes gives the problems told, "" for good news.
func (s *Shelf) Codes() []string {
	var codes []string
	for _, r := range s.Reports() {
		codes = append(codes, codeOf(r))
	}
	return codes
}

// Problem is the last one told, nil for good news.
func (s *Shelf) Problem() *devices.Problem {
	reports := s.Reports()
	return reports[len(reports)-1].Problem
}

func codeOf(r devices.Report) string {
	if r.Problem == nil {
		return ""
	}
	return r.Problem.Code
}
