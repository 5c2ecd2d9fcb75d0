package hj212

import (
	"strings"

	"offsite/devices"
)

// codes2017 gives the factor code of HJ 212-2017 for one of HJ/T 212-2005, as
// both standards' Annex B name the same factor.
var codes2017 = map[string]string{
	// Waste water.
	"b01": "w00000", // flow
	"001": "w01001", // pH
	"002": "w01002", // colour
	"003": "w01012", // suspended solids
	"010": "w01017", // BOD5
	"011": "w01018", // COD
	"015": "w01020", // TOC
	"060": "w21003", // ammonia nitrogen
	"065": "w21001", // total nitrogen
	"101": "w21011", // total phosphorus
	// Flue gas.
	"b02": "a00000", // flow
	"01":  "a34013", // smoke dust
	"02":  "a21026", // SO2
	"03":  "a21002", // NOx
	"04":  "a21005", // CO
	"s01": "a19001", // O2
	"s02": "a01011", // velocity
	"s03": "a01012", // temperature
	"s05": "a01014", // humidity
	"s08": "a01013", // pressure
}

// canonical gives the code under which a factor is looked for: small letters,
// the code of 2017 for that of 2005.
func canonical(code string) string {
	code = strings.ToLower(code)
	if c, ok := codes2017[code]; ok {
		return c
	}
	return code
}

// judged gives the quality of a value with a data mark (数据标记 of HJ 212-2017;
// Flag). What no instrument measured in its normal work is kept and not judged:
//
//	N normal                        good
//	T beyond the measuring range    uncertain/range: an exceedance may hide behind it
//	F source stopped                bad/device: what it reads is no emission
//	M maintenance, C calibration    bad/device: the sample is not the source's
//	S entered by hand               bad/device: nobody measured it
//	D fault, B no communication     bad/device: the value is not to be believed
//
// Other marks, and none, leave the value good: a limit may exclude them by name,
// and a logger cannot hide a breach behind a letter of its own.
func judged(mark string) devices.Quality {
	switch mark {
	case "T":
		return devices.UncertainRange
	case "F", "M", "C", "S", "D", "B":
		return devices.BadDevice
	default:
		return devices.Good
	}
}

// kinds gives the kind of data that a command carries.
var kinds = map[string]string{
	cmdRealtime: devices.KindRealtime, cmdState: devices.KindRealtime, cmdStateStop: devices.KindRealtime,
	cmdMinute: devices.KindMinute, cmdHour: devices.KindHour,
	cmdDay: devices.KindDay, cmdRunning: devices.KindDay,
}
