package outbox

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// destination takes messages as the platform does: a key has its effect once.
type destination struct {
	mu      sync.Mutex
	taken   map[string]bool
	effects map[string][]string // by lane, in order
	all     []string
}

func (d *destination) take(m Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.taken[m.Key] {
		return
	}
	d.taken[m.Key] = true
	d.effects[m.Lane] = append(d.effects[m.Lane], m.Key)
	d.all = append(d.all, m.Key)
}

// TestEffectsAreInOrderAndOnce delivers random messages to a destination that
// answers at random, while the gateway dies at random, also between the effect
// and the note of it. In the end every effect is there once, in order.
func TestEffectsAreInOrderAndOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "verdicts")
		n := rapid.IntRange(1, 25).Draw(rt, "messages")
		var messages []Message
		for i := range n {
			m := Message{Key: fmt.Sprintf("m%02d", i), Lane: fmt.Sprint(rapid.IntRange(0, 4).Draw(rt, "lane"))}
			if i > 0 && rapid.IntRange(0, 3).Draw(rt, "held") == 0 {
				m.After = messages[rapid.IntRange(0, i-1).Draw(rt, "after")].Key
			}
			messages = append(messages, m)
		}
		lives := rapid.SliceOfN(rapid.IntRange(1, 5000), 0, 3).Draw(rt, "lives")
		synctest.Test(t, func(t *testing.T) {
			effects, depth := live(t, seed, messages, lives)
			check(rt, messages, effects, depth)
		})
	})
}

// live runs the outbox through its lives (in milliseconds) and then to the end.
func live(t *testing.T, seed uint64, messages []Message, lives []int) (*destination, Depth) {
	d := &destination{taken: map[string]bool{}, effects: map[string][]string{}}
	b := newBench(t, Config{Workers: 3, Pause: 5 * time.Second})
	half := len(messages) / 2
	b.put(messages[:half]...)
	var mu sync.Mutex
	roll := seed
	next := func() uint64 { // xorshift: the same verdicts for the same seed and order of calls
		mu.Lock()
		defer mu.Unlock()
		roll ^= roll << 13
		roll ^= roll >> 7
		roll ^= roll << 17
		roll++
		return roll
	}
	dying := true
	deliver := func(ctx context.Context, m Message) Verdict {
		n := next()
		time.Sleep(time.Duration(n>>8%500) * time.Millisecond)
		switch n % 8 {
		case 0:
			return Verdict{Class: Retry}
		case 1:
			return Verdict{Class: Retry, After: time.Second}
		case 2:
			return Verdict{Class: Pause}
		case 3: // took effect, the answer was lost
			d.take(m)
			return Verdict{Class: Retry}
		}
		d.take(m)
		if ctx.Err() != nil && dying { // took effect, and we died before the note of it
			return Verdict{Class: Retry}
		}
		return Verdict{Class: Done}
	}
	for i, ms := range lives {
		b.run(time.Duration(ms)*time.Millisecond, deliver)
		b.close()
		b.open()
		if i == 0 {
			b.put(messages...) // judged again: the first half is known
		}
	}
	b.put(messages...)
	dying = false
	b.drain(deliver)
	depth := b.depth()
	b.close()
	return d, depth
}

// drain delivers until nothing waits.
func (b *bench) drain(deliver func(context.Context, Message) Verdict) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 48*time.Hour)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- b.o.Run(ctx, deliver) }()
	for b.depth().Waiting > 0 && ctx.Err() == nil {
		time.Sleep(10 * time.Second)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		b.t.Errorf("Run: %v", err)
	}
}

func check(rt *rapid.T, messages []Message, d *destination, depth Depth) {
	if depth.Waiting != 0 || depth.Dead != 0 {
		rt.Fatalf("depth %+v", depth)
	}
	if len(d.all) != len(messages) {
		rt.Fatalf("%d effects of %d messages", len(d.all), len(messages))
	}
	place := map[string]int{}
	for i, key := range d.all {
		place[key] = i
	}
	last := map[string]string{}
	for _, m := range messages {
		if before := last[m.Lane]; before != "" && place[before] > place[m.Key] {
			rt.Fatalf("%s overtook %s in lane %s", m.Key, before, m.Lane)
		}
		last[m.Lane] = m.Key
		if m.After != "" && place[m.After] > place[m.Key] {
			rt.Fatalf("%s came before %s", m.Key, m.After)
		}
	}
}
