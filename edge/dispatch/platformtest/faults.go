package platformtest

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// Misbehaviour is one way to fail.
type Misbehaviour string

// The ways to fail. Those marked † first accept the message.
const (
	Status        Misbehaviour = "status"         // answer Fault.Status with a problem body
	Redirect      Misbehaviour = "redirect"       // answer 302 to another path of the platform
	Slow          Misbehaviour = "slow"           // wait for Fault.After, then behave
	Hang          Misbehaviour = "hang"           // never answer
	Reset         Misbehaviour = "reset"          // reset the connection unread
	Garbage       Misbehaviour = "garbage"        // answer 200 with a page of HTML
	Half          Misbehaviour = "half"           // † send half the answer, then close
	CommitReset   Misbehaviour = "commit-reset"   // † reset the connection instead of answering
	CommitGarbage Misbehaviour = "commit-garbage" // † answer 200 with what is not JSON
	CommitError   Misbehaviour = "commit-error"   // † answer 500
	CommitHang    Misbehaviour = "commit-hang"    // † never answer
	Double        Misbehaviour = "double"         // hand each command over twice (route pollCommands)
)

// Fault is a misbehaviour that is switched on.
type Fault struct {
	Kind   Misbehaviour
	Route  string        // operationId such as postEvent; empty means any
	Times  int           // how many requests; 0 means until healed
	Status int           // for Status
	After  time.Duration // Retry-After for Status, the wait for Slow
	Over   int64         // bytes; only requests with a longer body meet it

	met int
}

// Inject switches f on; heal switches it off.
func (p *Platform) Inject(f Fault) (heal func()) {
	fault := &f
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, fault)
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults = slices.DeleteFunc(p.faults, func(other *Fault) bool { return other == fault })
	}
}

// Met says how many requests the faults switched on now have met.
func (p *Platform) Met() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, f := range p.faults {
		n += f.met
	}
	return n
}

// takeFault gives the fault that a request meets, nil for none.
func (p *Platform) takeFault(route string, size int64) *Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.faults {
		if f.Kind != Double && (f.Route == "" || f.Route == route) && (f.Over == 0 || size > f.Over) && (f.Times == 0 || f.met < f.Times) {
			f.met++
			taken := *f
			return &taken
		}
	}
	return nil
}

// doubled says whether commands are handed over twice. mu is held.
func (p *Platform) doubled() bool {
	for _, f := range p.faults {
		if f.Kind == Double && (f.Times == 0 || f.met < f.Times) {
			f.met++
			return true
		}
	}
	return false
}

// misbehaveBefore fails before the message is looked at; false goes on.
func (p *Platform) misbehaveBefore(w http.ResponseWriter, r *http.Request, f *Fault) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case Status:
		a := refuse(f.Status, "injected", "注入的故障", "an injected fault")
		if f.After > 0 {
			a.header = http.Header{"Retry-After": {strconv.Itoa(int((f.After + time.Second - 1) / time.Second))}}
		}
		p.write(w, r, nil, a)
	case Redirect:
		http.Redirect(w, r, "/received/redirected", http.StatusFound)
	case Slow:
		p.wait(r, time.After(f.After))
		return false
	case Hang:
		p.wait(r, nil)
		hangUp(w, false)
	case Reset:
		hangUp(w, true)
	case Garbage:
		page(w)
	default:
		return false
	}
	return true
}

// misbehaveAfter fails after the message was handled; false goes on.
func (p *Platform) misbehaveAfter(w http.ResponseWriter, r *http.Request, f *Fault, a answer) bool {
	if f == nil {
		return false
	}
	switch f.Kind {
	case Half:
		raw, _ := json.Marshal(a.body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
		w.WriteHeader(a.status)
		_, _ = w.Write(raw[:len(raw)/2]) // it is to fail anyway
		_ = http.NewResponseController(w).Flush()
		hangUp(w, false)
	case CommitReset:
		hangUp(w, true)
	case CommitGarbage:
		page(w)
	case CommitError:
		p.write(w, r, nil, refuse(http.StatusInternalServerError, "injected", "注入的故障", "an injected fault"))
	case CommitHang:
		p.wait(r, nil)
		hangUp(w, false)
	default:
		return false
	}
	return true
}

func page(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write([]byte("<!doctype html><title>欢迎</title><p>It works!</p>")) // it is to fail anyway
}

func (p *Platform) wait(r *http.Request, until <-chan time.Time) {
	select {
	case <-until:
	case <-r.Context().Done():
	case <-p.closing:
	}
}

// hangUp closes the connection, by a reset if that is asked for.
func hangUp(w http.ResponseWriter, reset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or already hijacked: net/http ends the stream
	}
	raw := conn
	if t, wrapped := conn.(interface{ NetConn() net.Conn }); wrapped {
		raw = t.NetConn()
	}
	if tcp, is := raw.(*net.TCPConn); is && reset {
		_ = tcp.SetLinger(0) // without it the close is only less abrupt
	}
	_ = raw.Close()
}
