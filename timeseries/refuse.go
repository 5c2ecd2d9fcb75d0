package timeseries

import (
	"math"
	"time"

	"offsite/devices"
)

// The times that every store can hold lie from Earliest up to, not including,
// Latest: InfluxDB counts nanoseconds in 64 bits.
var (
	Earliest = time.Date(1678, 1, 1, 0, 0, 0, 0, time.UTC)
	Latest   = time.Date(2262, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Refuse says why no store can hold r, or nothing.
func Refuse(r *devices.Reading) *devices.Problem {
	switch {
	case math.IsNaN(r.Value) || math.IsInf(r.Value, 0):
		return devices.Invalid("value", "not_finite", "测量值不是有限数，未存入历史", "the value is not a finite number and is kept out of history")
	case r.At.Before(Earliest) || !r.At.Before(Latest):
		return devices.Invalid("at", "time_out_of_range", "数据时间超出 1678 至 2261 年，请检查设备时钟", "the time lies outside the years 1678 to 2261; check the device's clock")
	case r.Site == "" || devices.CheckPointID("point", r.Point) != nil:
		return devices.Invalid("point", "bad_point_id", "数据没有场所或测点编号，未存入历史", "the reading has no site or no point id and is kept out of history")
	}
	return nil
}

// NewRefusal is the refusal of reading r in record seq.
func NewRefusal(seq uint64, r *devices.Reading, reason *devices.Problem) Refusal {
	return Refusal{Seq: seq, Series: Series{Site: r.Site, Point: r.Point}, At: r.At, Value: r.Value, Reason: reason}
}
