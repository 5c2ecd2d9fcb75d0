package peers

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Mosquitto is a broker that is not ours.
type Mosquitto struct {
	*Process
	Addr string
	Out  *Output
	conf string
}

// StartMosquitto starts a broker in dir with persistence and, like the
// documentation tells users, windows that lose nothing.
func StartMosquitto(ctx context.Context, dir string) (*Mosquitto, error) {
	addr, err := FreeAddr()
	if err != nil {
		return nil, err
	}
	m := &Mosquitto{Addr: addr, Out: &Output{}, conf: filepath.Join(dir, "mosquitto.conf")}
	port := addr[len("127.0.0.1:"):]
	conf := fmt.Sprintf(`listener %s 127.0.0.1
allow_anonymous true
user root
persistence true
persistence_location %s/
autosave_on_changes true
autosave_interval 1
max_inflight_messages 1000
max_queued_messages 0
`, port, dir)
	if err := os.WriteFile(m.conf, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	return m, m.Start(ctx)
}

// Start starts the broker again on its old port and state.
func (m *Mosquitto) Start(ctx context.Context) (err error) {
	if m.Process, err = start(m.Out, nil, "mosquitto", "-c", m.conf); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return Await(ctx, Listening(m.Addr))
}
