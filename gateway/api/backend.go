package api

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/streams"
	"offsite/timeseries"
)

// History gives the store of readings. While the store is being opened again
// it answers a Problem of kind [devices.ErrUnavailable].
type History interface {
	History() (timeseries.Store, error)
}

// Cameras gives pictures of the registered cameras.
//
// Still takes a picture now; its error is a Problem that says why there is
// none. View sends the live picture over conn, as openapi.yaml describes it,
// until the viewer leaves or ctx ends; a camera that gives no picture is a
// Problem of kind ErrUnavailable, and the caller closes conn.
type Cameras interface {
	Cameras() []CameraStatus
	Still(ctx context.Context, camera string) (streams.Still, error)
	View(ctx context.Context, camera string, conn *websocket.Conn) error
}

// Devices tells how the registered devices fare, by id.
type Devices interface {
	Devices() []DeviceStatus
}

// Events gives what was judged. Event fills the evidence, the others need not.
//
// Acknowledge calls also inside the transaction that acknowledges, so that the
// act and its audit row stand or fall together. It returns ErrNotFound, and
// ErrConflict code "already_acknowledged".
type Events interface {
	Events(ctx context.Context, f EventFilter) ([]Event, error) // newest first
	Event(ctx context.Context, id string) (Event, error)
	Acknowledge(ctx context.Context, a Acknowledging, also func(ctx context.Context, tx *sql.Tx) error) (Event, error)
}

// EventFilter says which events are asked for. A zero field asks nothing.
type EventFilter struct {
	Sites    []string // any of these; nil means every site
	Outlet   string
	Point    string
	State    AlarmState
	Open     *bool // has not ended
	From, To time.Time
	Before   string // id of the event that the page follows
	Max      int
}

// Acknowledging is one act of acknowledgement.
type Acknowledging struct {
	Event, Who, Note string
	At               time.Time
}

// Evidence opens what belongs to events, by its hash. It returns ErrNotFound
// for what no event names, and a Problem of code "blob_damaged" for content
// that no longer has its hash.
type Evidence interface {
	OpenBlob(ctx context.Context, sha256 string) (*Exhibit, error)
}

// Exhibit is one piece of evidence; the caller closes it.
type Exhibit struct {
	io.ReadSeekCloser
	ContentType string
	Sites       []string // of the events that it belongs to
	Taken       time.Time
}

// Updates tells what happens as it happens. The channel is never closed before
// stop; what a slow reader misses is counted by missed.
type Updates interface {
	Updates() (c <-chan Update, missed func() int64, stop func())
	Latest() []devices.Reading // newest of each point since the start
}

// Update is one thing that happened; one field is set.
type Update struct {
	Readings []devices.Reading // on disk; not to be changed
	Device   *DeviceStatus
	Camera   *CameraStatus
	Event    *LiveEvent
	Notices  bool // those that hold have changed
	Registry bool // the registry has changed
}

// Condition tells how the gateway itself fares.
type Condition interface {
	Condition(ctx context.Context) (Status, error)        // Devices and Cameras are left to the caller
	Notices() []Notice                                    // that hold now
	Losses(ctx context.Context, most int) ([]Loss, error) // newest first
	Ready(ctx context.Context) error                      // what keeps the gateway from recording, all at once
}

// Platform is the client of the supervision platform.
//
// Receive checks, executes and answers one signed command that came to the
// gateway's own address; it audits by itself.
type Platform interface {
	Platform(ctx context.Context) (PlatformStatus, error)
	Enrol(ctx context.Context, address, code string) error
	Receive(r *http.Request) (status int, body []byte, err error)
}
