package devices

import "time"

// Beijing is the time of the trade: hours and days are aligned in it, loggers send
// it, and people read it. It is a fixed offset: the daylight saving of 1986 to 1991
// would cut days of 23 hours.
var Beijing = time.FixedZone("UTC+8", 8*60*60)

// Quality says how far a value can be trusted. The number is what InfluxDB
// and the log hold; it never changes its meaning.
type Quality uint8

// The qualities. Below 64 a value may be judged, from 64 on it may not.
const (
	Good           Quality = 0  // as the instrument said it
	UncertainRange Quality = 16 // outside the point's stated range
	UncertainOver  Quality = 17 // beyond its range by the instrument's own word, mark T
	BadClock       Quality = 64 // claimed a time beyond the clock tolerance; kept at its receipt time
	BadDevice      Quality = 65 // the device itself calls it invalid
	BadMaintenance Quality = 66 // taken while somebody worked on the device or the point, mark M
	BadCalibration Quality = 67 // taken while the instrument was calibrated, mark C
	BadStopped     Quality = 68 // the source stood still, mark F
	BadManual      Quality = 69 // entered by hand, mark S
	BadFault       Quality = 70 // the instrument was out of order, mark D
	BadLink        Quality = 71 // the data logger did not hear the instrument, mark B
)

// ofMarks gives the quality of a value with a data mark (数据标记 of HJ 212-2017,
// Flag). History keeps qualities only, so that each mark but N has its own.
var ofMarks = map[string]Quality{
	"T": UncertainOver, "M": BadMaintenance, "C": BadCalibration, "F": BadStopped, "S": BadManual, "D": BadFault, "B": BadLink,
}

// QualityOf gives the quality of a value with a data mark. What no instrument
// measured in its normal work is kept and not judged; beyond the measuring range
// an exceedance may hide, so that it is. N, other marks, and none leave the value
// good: a limit may exclude them by name, and a logger cannot hide a breach behind
// a letter of its own.
func QualityOf(mark string) Quality { return ofMarks[mark] }

// Usable says whether the value may be judged and averaged.
func (q Quality) Usable() bool { return q < 64 }

func (q Quality) String() string {
	switch q {
	case Good:
		return "good"
	case UncertainRange:
		return "uncertain/range"
	case UncertainOver:
		return "uncertain/over"
	case BadClock:
		return "bad/clock"
	case BadDevice:
		return "bad/device"
	case BadMaintenance:
		return "bad/maintenance"
	case BadCalibration:
		return "bad/calibration"
	case BadStopped:
		return "bad/stopped"
	case BadManual:
		return "bad/manual"
	case BadFault:
		return "bad/fault"
	case BadLink:
		return "bad/link"
	default:
		return "bad"
	}
}

// Mark is the data mark of HJ 212 that the quality stands for, the inverse of
// QualityOf; empty where it stands for none.
func (q Quality) Mark() string {
	for mark, of := range ofMarks {
		if of == q {
			return mark
		}
	}
	return ""
}

// MarshalText writes the word.
func (q Quality) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// Reading is one value of one point.
type Reading struct {
	Site    string    // site id
	Point   string    // point id, "outlet.point"
	Value   float64   // in the point's unit; never NaN or infinite
	At      time.Time // when it was true, by the device, UTC, whole milliseconds
	Claimed time.Time // what a device whose clock is wrong had claimed; else zero
	Quality Quality
	Mark    string // data mark of HJ 212 (N, F, M, S, D, C, T, B); empty when the device sends none
	Stamped bool   // At was given by the gateway at receipt; the device sent no time
	Repeat  bool   // a retained or otherwise repeated value: refreshes the live view, is judged and kept only if newer
}

// Origin tells where a delivery came from, closely enough to know it again.
type Origin struct {
	Device string // device id
	ID     string // packet id, QN: what the device itself calls the message
	Hash   uint64 // of topic and payload
	Resent bool   // the device says that it sends this again (MQTT DUP, HJ 212 RF=1)
}

// MaxPayload is the most that one message may hold, and the most of it that a
// dead letter keeps, in bytes.
const MaxPayload = 64 << 10

// DeadLetter is a message that could not be understood. It is kept as it came.
type DeadLetter struct {
	Topic   string // topic or other address it came to
	Payload []byte // at most MaxPayload of it
	Problem *Problem
}

// Delivery is what one message or one poll brought: the unit of acceptance,
// of the log and of acknowledgement. It holds readings, or one dead letter, or
// both when only some of the bound paths could be read.
type Delivery struct {
	Origin   Origin
	Received time.Time // by the gateway's clock, UTC
	Readings []Reading
	Letter   *DeadLetter
}
