package demo

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"offsite/devices"
	"offsite/devices/mqtt/payload"
	"offsite/devices/registry"
	"offsite/devices/state"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEveryInstrumentIsRegisteredAndEveryDeviceHasItsInstrument(t *testing.T) {
	for _, size := range []Size{{Sensors: 1}, {Sensors: 2, Cameras: 2}, {Sensors: 40, Cameras: 7}} {
		size.Period = time.Second
		t.Run(fmt.Sprintf("%d sensors %d cameras", size.Sensors, size.Cameras), func(t *testing.T) {
			at := peers{modbus: "127.0.0.1:502"}
			for i := range size.Cameras {
				at.cameras = append(at.cameras, fmt.Sprintf("rtsp://127.0.0.1:8554/cam-%d", i+1))
			}
			s := registered(t, things(size, at, "a-password-1"))
			instruments, clients := map[string]bool{}, map[string]bool{}
			for _, sensor := range sensors(size, "tcp://127.0.0.1:1883", "a-password-1") {
				instruments[sensor.id] = true
				if inbox, err := payload.OpenInbox(&devices.Device{ID: sensor.id}, s.Bound(sensor.id, time.Now()), nil); err != nil || !inbox.Bound(sensor.topic) {
					t.Errorf("nothing is bound to topic %s of %s (%v)", sensor.topic, sensor.id, err)
				}
			}
			for id, d := range s.Devices {
				if d.Driver == devices.DriverBroker {
					clients[id] = true
				}
			}
			if diff := cmp.Diff(clients, instruments); diff != "" {
				t.Errorf("devices (-) and instruments (+) differ:\n%s", diff)
			}
			if len(s.Cameras) != size.Cameras {
				t.Errorf("%d cameras, want %d", len(s.Cameras), size.Cameras)
			}
		})
	}
}

func registered(t *testing.T, list []devices.Thing) *registry.Snapshot {
	t.Helper()
	db, err := state.Open(t.Context(), state.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r, err := registry.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Update(t.Context(), func(e *registry.Edit) error {
		for _, thing := range list {
			if err := e.Create(thing); err != nil {
				return fmt.Errorf("%s %s: %w", thing.Kind(), thing.Key(), err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Snapshot()
}

func TestALimitIsBreachedWithinSecondsAndRecovers(t *testing.T) {
	crossed := func(w wave, limit float64) (first, last time.Duration) {
		for d := time.Duration(0); d < cycle; d += 100 * time.Millisecond {
			if w.at(d) > limit {
				if first == 0 {
					first = d
				}
				last = d
			}
		}
		return first, last
	}
	if first, last := crossed(pm10, pm10Limit); first == 0 || first > 10*time.Second || last > 15*time.Second {
		t.Errorf("PM10 lies over its limit from %s to %s", first, last)
	}
	if first, last := crossed(gas, gasLimit); first < 20*time.Second || last > 40*time.Second {
		t.Errorf("gas lies over its limit from %s to %s", first, last)
	}
}
