package api

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"time"

	"github.com/coder/websocket"

	"offsite/devices"
	"offsite/devices/registry"
	"offsite/devices/template"
	"offsite/edge/audit"
	"offsite/edge/breach"
	"offsite/edge/evidence"
	"offsite/streams"
	"offsite/streams/whep"
	"offsite/timeseries"
)

// Backend is what the API serves from.
type Backend struct {
	Registry   *registry.Registry
	Templates  *template.Catalog // nil: the shipped ones
	Audit      Trail
	History    History
	Devices    Devices
	Prober     Prober
	Lookout    Lookout
	Finder     Finder
	Steering   Steering
	Alerts     Alerts
	Writers    map[string]Writer // by driver; the others cannot write
	Loggers    Loggers           // nil: the gateway does not listen for any
	Discovery  Discovery
	Cameras    Cameras
	Recordings Recordings
	Recorders  Recorders
	References References
	Events     Events
	Evidence   Evidence
	Updates    Updates
	Condition  Condition
	Health     Health
	Letters    Letters
	Platform   Platform
	Accounts   Accounts
	Hub        Hub
	Settings   []*devices.Problem // of the configuration: what people must see as long as the gateway runs
}

// Trail is the audit trail, as [audit.Log] keeps it.
type Trail interface {
	Append(ctx context.Context, tx *sql.Tx, e audit.Entry) error
	Record(ctx context.Context, e audit.Entry) error
	Search(ctx context.Context, f audit.Filter) ([]audit.Row, error)
	Verify(ctx context.Context) error
	Head(ctx context.Context) (audit.Head, error)
}

// History gives the readings of the past, as [timeseries.Store] says. While the
// store is being opened again each call answers a Problem of kind
// [devices.ErrUnavailable].
type History interface {
	Range(ctx context.Context, s timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error)
	Windows(ctx context.Context, s timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error)
	Last(ctx context.Context, s timeseries.Series) (timeseries.Sample, error)
}

// Cameras gives pictures of the registered cameras.
//
// Still takes a picture now; its error is a Problem that says why there is
// none, and width zero is the whole picture, else what suits a screen of so many
// pixels. View sends the live picture of a profile over conn, as openapi.yaml describes it,
// until the viewer leaves or ctx ends; a camera that gives no picture is a
// Problem of kind ErrUnavailable, and the caller closes conn.
type Cameras interface {
	Cameras() []CameraStatus
	Still(ctx context.Context, camera string, width int) (streams.Still, error)
	View(ctx context.Context, camera string, profile devices.Profile, conn *websocket.Conn) error
	Retry(camera string) error // connects at once to a camera that waits

	// HLS answers with one file of the live picture as Low-Latency HLS. Where it
	// returns a Problem it has answered nothing.
	HLS(w http.ResponseWriter, r *http.Request, camera string, profile devices.Profile, name string) error

	// WHEP answers a WebRTC offer, as [whep.Server] says; the Track is left to it.
	// TrickleWHEP and CloseWHEP return ErrNotFound where there is no such session.
	WHEP(ctx context.Context, camera string, profile devices.Profile, v whep.Viewing) (whep.Answer, error)
	TrickleWHEP(session, fragment string) error
	CloseWHEP(session string) error
}

// Devices tells how the registered devices fare, by id.
type Devices interface {
	Devices() []DeviceStatus
}

// Events gives what was judged, as [breach.Engine] says.
type Events interface {
	Events(ctx context.Context, f breach.Filter) ([]breach.Event, error) // newest first
	Event(ctx context.Context, id string) (breach.Event, error)

	// Acknowledge calls also inside the transaction that acknowledges, so that
	// the act and its audit row stand or fall together. Who watches is told. It
	// returns ErrNotFound, and ErrConflict code "already_acknowledged".
	Acknowledge(ctx context.Context, id, who, note string, at time.Time, also func(ctx context.Context, tx *sql.Tx) error) (breach.Event, error)
}

// Detail is an event with its evidence.
type Detail struct {
	breach.Event
	Evident
}

// Evident is what there is of an event's evidence so far.
type Evident struct {
	Pictures []Picture `json:"pictures"`
	Manifest string    `json:"manifest,omitempty"` // SHA-256; empty before the evidence is complete, and where there is no file

	Hold *evidence.Hold `json:"hold,omitempty"` // keeps the files whatever their age; nil: nobody holds them
}

// Letters are the messages of devices that could not be understood and wait for
// their bindings to be mended.
//
// Letters lists them, newest first. Replay reads those of the ids again by the
// present bindings; it returns when what was understood is on disk.
type Letters interface {
	Letters(ctx context.Context, f LetterFilter) ([]DeadLetter, error)
	Replay(ctx context.Context, ids []int64) (ReplayResult, error)
}

// LetterFilter says which dead letters are meant; zero fields do not matter.
type LetterFilter struct {
	Device string
	IDs    []int64
	Before int64 // only those with a lower id
	Most   int   // at most 1,000
}

// Evidence opens what belongs to events, by its hash. It returns ErrNotFound
// for what no event names, and a Problem of code "evidence_damaged" for content
// that no longer has its hash. Of what was deleted it gives an Exhibit without content, and
// a Problem of kind ErrDeleted that says when and why.
//
// HoldEvidence keeps the evidence of an event whatever its age until ReleaseEvidence; both
// call also in the same transaction.
type Evidence interface {
	Evident(ctx context.Context, event string) (Evident, error)
	OpenBlob(ctx context.Context, sha256 string) (*Exhibit, error)
	HoldEvidence(ctx context.Context, event string, h evidence.Hold, also func(context.Context, *sql.Tx) error) error
	ReleaseEvidence(ctx context.Context, event string, also func(context.Context, *sql.Tx) error) error
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
	Newest(point string) (devices.Reading, bool)
}

// Update is one thing that happened; one field is set.
type Update struct {
	Readings []devices.Reading // on disk; not to be changed
	Device   *DeviceStatus
	Camera   *CameraStatus
	Event    *breach.Transition
	Points   []string // that turned stale or fresh, or whose maintenance began or ended
	Notices  bool     // those that hold have changed
	Registry bool     // the registry has changed
}

// Condition tells how the gateway itself fares.
type Condition interface {
	Condition(ctx context.Context) (Status, error)        // Devices and Cameras are left to the caller
	Notices() []Notice                                    // that hold now
	Losses(ctx context.Context, most int) ([]Loss, error) // newest first
	Ready(ctx context.Context) error                      // what keeps the gateway from recording, all at once
	Decoder() (step string, why error)                    // rung of streams/snapshot that decodes video, why it is no higher one
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

// Accounts knows who may do what. A session is the secret of a cookie.
type Accounts interface {
	SetupNeeded() bool
	SetUp(ctx context.Context, from string, r SetupRequest) (me Me, session string, err error)
	SignIn(ctx context.Context, from, id, password string) (me Me, session string, err error)
	SignInByLink(ctx context.Context, from, link string) (me Me, session string, err error)
	SignOut(ctx context.Context, who Principal, session string) error
	Me(who Principal) Me
	ChangePassword(ctx context.Context, who Principal, old, fresh string) (Me, error)
	Ticket(who Principal, purpose, target string) (secret string, expires time.Time, err error)

	// Preference is what who has chosen under name, nothing and 0 at first;
	// Prefer replaces that version of it.
	Preference(ctx context.Context, who Principal, name string) (data []byte, version int64, err error)
	Prefer(ctx context.Context, who Principal, name string, version int64, data []byte) error

	People() []Person
	Person(id string) (Person, error)
	CreatePerson(ctx context.Context, who Principal, p PersonCreate) (Person, error)
	ReplacePerson(ctx context.Context, who Principal, id string, version int64, p PersonReplace) (Person, error)
	RetirePerson(ctx context.Context, who Principal, id string) error
	ResetPassword(ctx context.Context, who Principal, id, password string) (Person, error)

	Tokens() []Token
	CreateToken(ctx context.Context, who Principal, t TokenCreate) (TokenSecret, error)
	RetireToken(ctx context.Context, who Principal, id string) error
}

// Hub fans live messages out, as package live does.
type Hub interface {
	Tell(name, site string, data any) error
	Value(site, key string, value any)
	Idle() bool // nobody listens
	Renew(missed int64)
	Serve(ctx context.Context, w http.ResponseWriter, sees func(site string) bool, state func(ctx context.Context) (any, error), holds func() bool) error
}
