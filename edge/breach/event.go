package breach

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"strings"
	"time"
)

// KindAlarm 报警 says that an instantaneous set point was passed, or that a camera
// has recognised something. It is not an exceedance 超标.
const KindAlarm = "alarm"

// Steps in the life of an event that the platform is told.
const (
	Opened    = "opened"
	Updated   = "updated"
	Closed    = "closed"
	Corrected = "corrected"
)

// Why an event ended.
const (
	EndRecovered     = "recovered"      // the value came back inside
	EndLimitRetired  = "limit_retired"  // the limit was retired or no longer applies to the point
	EndLimitExpired  = "limit_expired"  // the limit's validity ended
	EndLimitChanged  = "limit_changed"  // the limit was given another level, or a validity that begins later
	EndPointRetired  = "point_retired"  // the point is gone
	EndNotMeasured   = "not_measured"   // no device measures the point any more
	EndCameraRetired = "camera_retired" // the camera that told it is gone
	EndNotListened   = "not_listened"   // the camera is not listened to any more, or not for this
	EndMaintenance   = "maintenance"    // the point, or its device, was put under maintenance; nobody knows whether it recovered
)

// Alarm states of ISA-18.2. The last two are not reached yet.
const (
	Normal                 = "normal"
	Unacknowledged         = "unacknowledged"
	Acknowledged           = "acknowledged"
	ReturnedUnacknowledged = "returned_unacknowledged"
	Shelved                = "shelved"
	OutOfService           = "out_of_service"
)

// Signals of an event: what the measured value does, whoever has looked at it.
const (
	SignalBreached  = "breached"  // the limit is still breached
	SignalRecovered = "recovered" // the value came back inside
	SignalUnknown   = "unknown"   // judging ended before it recovered; EndReason says why
)

// What an event says of its pictures.
const (
	EvidencePending  = "pending"
	EvidenceAttached = "attached"
	EvidenceNone     = "none"
)

// Event is one alarm from its opening on. Times are UTC in whole milliseconds;
// values are in Unit.
type Event struct {
	ID       string `json:"id"`
	Revision int    `json:"revision"` // 1 when opened, one more for each step told
	Kind     string `json:"kind"`     // alarm 报警, fault 故障
	USCC     string `json:"uscc"`     // of the entity that answers for the site, GB 32100-2015
	Region   string `json:"region_code"`
	Site     string `json:"site"`
	Outlet   string `json:"outlet"`
	Point    string `json:"point"`
	Factor   string `json:"factor"`
	Camera   string `json:"camera,omitempty"` // of an event of a camera, which has no point

	Value    float64   `json:"value"`                             // of the reading that opened it, as corrected
	Original *float64  `json:"value_before_correction,omitempty"` // as first received, where a correction changed it
	Peak     float64   `json:"peak"`                              // the farthest from the limit so far
	PeakAt   time.Time `json:"peak_at"`
	Unit     string    `json:"unit"`

	Averaging   string  `json:"averaging"`
	Limit       string  `json:"limit"`       // id; of a fault its rule, such as camera_black
	LimitValue  float64 `json:"limit_value"` // as it stood at opening
	Level       string  `json:"level"`
	Standard    string  `json:"standard,omitempty"`
	Clause      string  `json:"clause,omitempty"`
	RuleVersion int64   `json:"rule_version"` // the limit's version at opening
	RegItem     string  `json:"reg_item,omitempty"`
	Mark        string  `json:"mark,omitempty"` // of the opening reading
	ValidRatio  float64 `json:"valid_ratio"`    // share of valid data in the judged window; 1 for an instant limit

	Since      time.Time  `json:"breached_since"` // first reading of the unbroken breach; before StartedAt by the on-delay
	StartedAt  time.Time  `json:"started_at"`     // At of the opening reading
	ReceivedAt time.Time  `json:"received_at"`    // when the gateway got the opening reading, by its own clock
	EndedAt    *time.Time `json:"ended_at,omitempty"`
	EndReason  string     `json:"end_reason,omitempty"`

	Signal         string          `json:"signal"` // breached, recovered, unknown
	State          string          `json:"state"`  // of ISA-18.2
	Acknowledgment *Acknowledgment `json:"acknowledgment,omitempty"`
	Evidence       string          `json:"evidence"` // pending, attached, none

	Seq uint64 `json:"-"` // of the opening record in the log
}

// Acknowledgment says who took notice of an event. It does not end it.
type Acknowledgment struct {
	By   string    `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

// Transition is a step to be told. Revision and what others than the judge
// write (acknowledgement, evidence) stand only after [Engine.Save].
type Transition struct {
	Event    Event
	Step     string // opened, updated, closed, corrected
	Revision int
}

// settle sets the fields that follow from others.
func (ev *Event) settle() {
	ev.Signal, ev.State = SignalBreached, Unacknowledged
	switch {
	case ev.EndedAt == nil && ev.Acknowledgment != nil:
		ev.State = Acknowledged
	case ev.EndedAt == nil:
	case ev.Acknowledgment != nil:
		ev.State = Normal
	default:
		ev.State = ReturnedUnacknowledged
	}
	switch {
	case ev.EndedAt == nil:
	case ev.EndReason == EndRecovered:
		ev.Signal = SignalRecovered
	default:
		ev.Signal = SignalUnknown
	}
}

// frozen is what never changes once an event is open: the JSON of one column.
type frozen struct {
	Kind        string  `json:"kind"`
	USCC        string  `json:"uscc"`
	Region      string  `json:"region_code"`
	Outlet      string  `json:"outlet"`
	Factor      string  `json:"factor"`
	Unit        string  `json:"unit"`
	Averaging   string  `json:"averaging"`
	LimitValue  float64 `json:"limit_value"`
	Level       string  `json:"level"`
	Standard    string  `json:"standard,omitempty"`
	Clause      string  `json:"clause,omitempty"`
	RuleVersion int64   `json:"rule_version"`
	RegItem     string  `json:"reg_item,omitempty"`
	Mark        string  `json:"mark,omitempty"`
	ValidRatio  float64 `json:"valid_ratio"`
	Since       int64   `json:"breached_since"` // Unix milliseconds, as the next
	Received    int64   `json:"received_at"`
	Seq         uint64  `json:"seq"`
	Camera      string  `json:"camera,omitempty"`
}

func (ev *Event) freeze() frozen {
	return frozen{
		Kind: ev.Kind, USCC: ev.USCC, Region: ev.Region, Outlet: ev.Outlet, Factor: ev.Factor, Unit: ev.Unit,
		Averaging: ev.Averaging, LimitValue: ev.LimitValue, Level: ev.Level, Standard: ev.Standard, Clause: ev.Clause,
		RuleVersion: ev.RuleVersion, RegItem: ev.RegItem, Mark: ev.Mark, ValidRatio: ev.ValidRatio,
		Since: ev.Since.UnixMilli(), Received: ev.ReceivedAt.UnixMilli(), Seq: ev.Seq, Camera: ev.Camera,
	}
}

func (ev *Event) thaw(f frozen) {
	ev.Kind, ev.USCC, ev.Region, ev.Outlet, ev.Factor, ev.Unit = f.Kind, f.USCC, f.Region, f.Outlet, f.Factor, f.Unit
	ev.Averaging, ev.LimitValue, ev.Level, ev.Standard, ev.Clause = f.Averaging, f.LimitValue, f.Level, f.Standard, f.Clause
	ev.RuleVersion, ev.RegItem, ev.Mark, ev.ValidRatio = f.RuleVersion, f.RegItem, f.Mark, f.ValidRatio
	ev.Since, ev.ReceivedAt, ev.Seq, ev.Camera = milli(f.Since), milli(f.Received), f.Seq, f.Camera
}

// How ids of events begin, by who found them.
const (
	judgedIDs     = "al-" // limits
	faultIDs      = "fa-" // who watches the pictures of cameras
	recognisedIDs = "ca-" // cameras themselves
)

// eventID names an event by what opened it. The reading's time is part of it
// because one record may hold several readings of a point.
func eventID(limit, point string, seq uint64, at int64) string {
	h := sha256.New()
	h.Write([]byte(limit + "\x00" + point + "\x00"))
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], seq)
	binary.BigEndian.PutUint64(n[8:], uint64(at))
	h.Write(n[:])
	text := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:15])
	return judgedIDs + strings.ToLower(text)
}

func milli(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
