package wire

import (
	_ "embed" // codes.tsv
	"strings"
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
