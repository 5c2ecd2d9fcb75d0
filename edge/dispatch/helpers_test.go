package dispatch_test

import (
	"database/sql"
	"net/http/httptest"
	"testing"

	"offsite/devices/state"
	"offsite/edge/dispatch"
	"offsite/edge/dispatch/platformtest"
)

// rewind makes a command look as if the gateway had died executing it.
func rewind(id string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec(`UPDATE dispatch_command SET result = NULL, result_sent = 0, act = NULL, act_sent = 1 WHERE id = ?`, id)
		return err
	}
}

// benchClient gives a client enrolled at p.
func benchClient(b *testing.B, p *platformtest.Platform) (*dispatch.Client, string) {
	b.Helper()
	server := httptest.NewServer(p)
	b.Cleanup(server.Close)
	return openFuzz(b, server.URL), server.URL
}

func openFuzz(f testing.TB, url string) *dispatch.Client {
	f.Helper()
	db, err := state.Open(f.Context(), state.Config{Dir: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	c, err := dispatch.Open(f.Context(), db, dispatch.Config{Auditor: &audit{}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		c.Close()
		if err := db.Close(); err != nil {
			f.Error(err)
		}
	})
	if err := c.Enrol(f.Context(), url, "code-1"); err != nil {
		f.Fatal(err)
	}
	return c
}
