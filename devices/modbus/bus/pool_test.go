package bus

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"offsite/devices"
)

func TestPoolKeepsOneBusForEachAddress(t *testing.T) {
	pool, at := NewPool(Config{}), Endpoint{Addr: "10.0.0.1:502", Framing: TCP}
	driver, err := pool.Join(t.Context(), at, Wishes{Period: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	guest, err := pool.Visit(t.Context(), at, Wishes{})
	if err != nil {
		t.Fatal(err)
	}
	if guest.bus != driver.bus || !guest.Polled() || guest.Shared() {
		t.Errorf("one bus: %v, polled: %v, shared: %v", guest.bus == driver.bus, guest.Polled(), guest.Shared())
	}
	other := at
	other.Framing = RTU
	if _, err := pool.Visit(t.Context(), other, Wishes{}); !errors.Is(err, devices.ErrConflict) {
		t.Errorf("another framing: %v", err)
	}
	if _, free := pool.Try(other, Wishes{}); free {
		t.Error("another framing is tried where a driver polls")
	}
	driver.Leave()
	if guest.Polled() {
		t.Error("polled by a driver that has left")
	}
	guest.Leave()
	if _, err := pool.Visit(t.Context(), other, Wishes{}); err != nil {
		t.Errorf("another framing when all have left: %v", err)
	}
}

func TestAllWaitWhileAnotherFramingIsTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool, at := NewPool(Config{}), Endpoint{Addr: "10.0.0.1:502", Framing: TCP}
		trial, free := pool.Try(at, Wishes{})
		if !free {
			t.Fatal("an address that nobody uses is not free")
		}
		if _, again := pool.Try(at, Wishes{}); again {
			t.Error("tried twice at once")
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := pool.Join(impatient, at, Wishes{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Join during a trial: %v", err)
		}
		joined := make(chan error)
		go func() {
			_, err := pool.Join(t.Context(), at, Wishes{})
			joined <- err
		}()
		synctest.Wait()
		select {
		case err := <-joined:
			t.Fatalf("joined during a trial: %v", err)
		default:
		}
		trial.Leave()
		if err := <-joined; err != nil {
			t.Error(err)
		}
	})
}

func TestAloneIsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seat, err := NewPool(Config{}).Visit(t.Context(), Endpoint{Addr: "10.0.0.1:502", Framing: TCP}, Wishes{})
		if err != nil {
			t.Fatal(err)
		}
		done, err := seat.Alone(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := seat.Alone(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second one: %v", err)
		}
		done()
		if _, err := seat.Alone(t.Context()); err != nil {
			t.Errorf("after it was done: %v", err)
		}
	})
}
