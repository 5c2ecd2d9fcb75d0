package outbox

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"offsite/devices/state"
)

// BenchmarkPutToDelivery is the time from the begin of the transaction to the
// delivery, one message at a time: fsync, wake, read, hand over.
func BenchmarkPutToDelivery(b *testing.B) {
	db, err := state.Open(b.Context(), state.Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	o, err := Open(b.Context(), db, Config{})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended, delivered := make(chan error), make(chan struct{})
	go func() {
		ended <- o.Run(ctx, func(context.Context, Message) Verdict {
			delivered <- struct{}{}
			return Verdict{Class: Done}
		})
	}()
	n := 0
	for b.Loop() {
		n++
		m := Message{Key: fmt.Sprint(time.Now().UnixNano()), Lane: fmt.Sprint(n), Body: make([]byte, 800)}
		if err := db.Update(ctx, func(tx *sql.Tx) error { return o.Put(ctx, tx, m) }); err != nil {
			b.Fatal(err)
		}
		<-delivered
	}
	cancel()
	<-ended
}
