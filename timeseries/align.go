package timeseries

import (
	"time"

	"offsite/devices"
)

// beijingOffset is the distance of [devices.Beijing] from UTC in milliseconds.
const beijingOffset = 8 * 60 * 60 * 1000

// Align gives the start of the window of length every that t lies in. Windows
// are counted from 1970-01-01 00:00 in Beijing time, so that hours, days and
// whatever divides a day begin where people expect it.
func Align(t time.Time, every time.Duration) time.Time {
	return time.UnixMilli(AlignMilli(t.UnixMilli(), every.Milliseconds())).UTC()
}

// AlignMilli is Align on Unix milliseconds; every must be positive.
func AlignMilli(at, every int64) int64 {
	at += beijingOffset
	rest := at % every
	if rest < 0 {
		rest += every
	}
	return at - rest - beijingOffset
}

// Day gives the start of the day of Beijing time that t lies in.
func Day(t time.Time) time.Time { return Align(t, 24*time.Hour) }

// CheckWindow says what is wrong with the length of a window.
func CheckWindow(every time.Duration) error {
	if every < time.Millisecond || every%time.Millisecond != 0 {
		return devices.Invalid("window", "bad_window", "时间窗口须为不小于 1ms 的整毫秒数", "give a window of whole milliseconds, at least 1ms")
	}
	return nil
}
