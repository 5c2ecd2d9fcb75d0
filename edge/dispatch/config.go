package dispatch

import (
	"context"
	"crypto/tls"
	"database/sql"
	"io"
	"log/slog"
	"net"
	"time"

	"offsite/devices"
	"offsite/edge/dispatch/wire"
)

// Config is how a client meets its platform.
type Config struct {
	Version   string             // of the software, told to the platform
	TLS       *tls.Config        // nil means the system's authorities
	Insecure  bool               // allow plain HTTP to other hosts than loopback
	Allow     []wire.CommandType // commands that are executed; nil means those in use
	Heartbeat time.Duration      // between two heartbeats; zero means 30 s
	PollWait  time.Duration      // of the long poll, whole seconds up to 60; zero means 30 s
	MaxPause  time.Duration      // longest rest of a loop after failures; zero means 1 min
	Command   time.Duration      // how long a command may take; zero means 60 s
	Keep      time.Duration      // how long answered commands stay in the ledger; zero means 30 days

	Timeouts Timeouts

	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // nil means a plain dialler
	Now     func() time.Time                                                  // nil means time.Now
	Report  func(Report)                                                      // told each change between working and failing; never blocks; may be nil
	Auditor Auditor                                                           // required: a command that cannot be audited is not executed
	Log     *slog.Logger
}

// Timeouts bound a request; zero fields mean the defaults.
type Timeouts struct {
	Dial   time.Duration // 5 s
	TLS    time.Duration // 5 s
	Header time.Duration // 15 s from the end of the request to the answer's header
	Call   time.Duration // 30 s for the whole; a blob has a second more for each 16 kB
}

// blobRate is what a blob's transfer is given at the least, in bytes a second.
const blobRate = 16_000

// InUse are the commands that the contract does not mark as later.
func InUse() []wire.CommandType {
	return []wire.CommandType{
		wire.CommandTypeSnapshotTake, wire.CommandTypeReadingRead, wire.CommandTypeResourcesSync, wire.CommandTypeSubscriptionSet,
		wire.CommandTypeStreamOpen, wire.CommandTypeStreamRenew, wire.CommandTypeStreamClose,
		wire.CommandTypeRecordingQuery, wire.CommandTypeRecordingExport, wire.CommandTypePTZMove,
	}
}

func (c *Config) setDefaults() {
	positive := func(d *time.Duration, otherwise time.Duration) {
		if *d <= 0 {
			*d = otherwise
		}
	}
	positive(&c.Timeouts.Dial, 5*time.Second)
	positive(&c.Timeouts.TLS, 5*time.Second)
	positive(&c.Timeouts.Header, 15*time.Second)
	positive(&c.Timeouts.Call, 30*time.Second)
	positive(&c.Heartbeat, 30*time.Second)
	positive(&c.PollWait, 30*time.Second)
	positive(&c.MaxPause, time.Minute)
	positive(&c.Command, time.Minute)
	positive(&c.Keep, 30*24*time.Hour)
	c.PollWait = min(c.PollWait.Round(time.Second), time.Minute)
	if c.Allow == nil {
		c.Allow = InUse()
	}
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: c.Timeouts.Dial}).DialContext
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Report == nil {
		c.Report = func(Report) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// Parts of a client that fare separately.
const (
	PartPlatform  = "platform" // the heartbeat: whether the platform can be reached
	PartMessages  = "messages" // events, evidence and acts
	PartBlobs     = "blobs"
	PartResources = "resources"
	PartReadings  = "readings"
	PartCommands  = "commands"
	PartResults   = "results" // of commands
	PartSecurity  = "security"
)

// Report tells how a part fares from At on. Part security reports each refused
// command, and never that it works again.
type Report struct {
	Part    string
	At      time.Time
	Problem *devices.Problem // nil: it works again
}

// Site is what the client needs of the site it speaks for. Its methods are
// called from several goroutines.
type Site interface {
	// Status gives the heartbeat; version, times, clock and revision are
	// filled in by the client. taken is called once the platform has it.
	Status() (h wire.Heartbeat, taken func(context.Context) error)
	// Watch gives a channel that wakes after the registry has changed.
	Watch() (wake <-chan struct{}, stop func())
	// Changes gives at most max changes after revision since, in order. Kinds
	// that the contract does not have are passed over.
	Changes(ctx context.Context, since int64, max int) ([]wire.Resource, error)
	// Directory gives all live resources and the revision they stand at.
	Directory(ctx context.Context) (revision int64, all []wire.Resource, err error)
	// Latest gives the newest value of each point that has one; nil means of
	// all points.
	Latest(points []string) []wire.Reading
	// Execute carries a command out. Of the Result only Data and Blobs count;
	// blobs must be on disk. An error is told to the platform, as a Problem.
	Execute(ctx context.Context, c wire.Command) (wire.Result, error)
	// Blob opens a file that a Result named.
	Blob(sha256 string) (Blob, error)
}

// Blob is an evidence file to be sent.
type Blob struct {
	io.ReadCloser
	Size      int64
	Slow      func(io.ReadCloser) io.ReadCloser // how it is sent where it must not hold others up; nil: as fast as it goes
	MediaType string                            // image/jpeg, video/mp4; empty means application/octet-stream
}

// Entry is one audited act of the platform.
type Entry struct {
	At      time.Time
	Who     string // "platform" or officer's name and licence number behind it
	From    string // "poll", or the address that pushed the command
	Act     string // the command's type, or "command.refused"
	What    string // such as camera/cam-1
	Purpose string
	Result  string // taken, done, failed, refused
	Detail  string // command id and, after a failure, its code
	Hash    string // SHA-256 of the command's body
}

// Auditor writes an Entry inside the transaction that makes the act real.
type Auditor interface {
	Audit(ctx context.Context, tx *sql.Tx, e Entry) error
}
