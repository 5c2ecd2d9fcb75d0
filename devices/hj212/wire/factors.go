package wire

import (
	_ "embed" // codes.tsv
	"strings"

	"offsite/devices"
)

//go:embed codes.tsv
var codesFile string

// codes2017 gives the factor code of HJ 212-2017 for one of HJ/T 212-2005 in
// small letters, as codes.tsv has them.
var codes2017 = readCodes(codesFile)

func readCodes(table string) map[string]string {
	codes := make(map[string]string)
	for line := range strings.Lines(table) {
		if fields := strings.Split(line, "\t"); len(fields) == 3 {
			codes[strings.ToLower(fields[0])] = fields[1]
		}
	}
	return codes
}

// Canonical gives the code under which a factor is looked for: small letters,
// the code of 2017 for that of 2005.
func Canonical(code string) string {
	code = strings.ToLower(code)
	if c, ok := codes2017[code]; ok {
		return c
	}
	return code
}

// Judged gives the quality of a value with a data mark (数据标记 of HJ 212-2017;
// Flag). What no instrument measured in its normal work is kept and not judged:
//
//	N normal                        good
//	T beyond the measuring range    uncertain/range: an exceedance may hide behind it
//	F source stopped                bad/device: what it reads is no emission
//	M maintenance                   bad/maintenance: the sample is not the source's
//	C calibration                   bad/calibration: likewise
//	S entered by hand               bad/device: nobody measured it
//	D fault, B no communication     bad/device: the value is not to be believed
//
// Other marks, and none, leave the value good: a limit may exclude them by name,
// and a logger cannot hide a breach behind a letter of its own.
func Judged(mark string) devices.Quality {
	switch mark {
	case "T":
		return devices.UncertainRange
	case "M":
		return devices.BadMaintenance
	case "C":
		return devices.BadCalibration
	case "F", "S", "D", "B":
		return devices.BadDevice
	default:
		return devices.Good
	}
}

// Mark gives a data mark as it is kept: a short text in capitals.
func Mark(written string) string {
	m := strings.ToUpper(strings.TrimSpace(written))
	return strings.ToValidUTF8(m[:min(len(m), 8)], "")
}

// IsAttribute says that a field of an item tells of its value rather than being one.
func IsAttribute(field string) bool {
	switch field {
	case "Flag", "EFlag", "SampleTime", "Info", "SN":
		return true
	}
	return false
}
