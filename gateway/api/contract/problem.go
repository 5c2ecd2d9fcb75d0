package contract

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf8"

	"offsite/devices"
)

// PayloadOf gives a payload as text where it is text, else in base64.
func PayloadOf(payload []byte) (text string, encoding DeadLetterEncoding) {
	if utf8.Valid(payload) && strings.IndexByte(string(payload), 0) < 0 {
		return string(payload), UTF8
	}
	return base64.StdEncoding.EncodeToString(payload), Base64
}

// Kinds of fault besides those of package devices.
var (
	ErrForbidden = errors.New("forbidden")
	ErrMediaType = errors.New("unsupported media type")
	ErrTooLarge  = errors.New("too large")
	ErrDamaged   = errors.New("damaged")
	ErrDeleted   = errors.New("deleted")
)

// ProblemOf gives a Problem its form inside other bodies, nil for none.
func ProblemOf(p *devices.Problem) *FieldProblem {
	if p == nil {
		return nil
	}
	return &FieldProblem{Field: p.Field, Code: p.Code, Zh: p.ZH, En: p.EN}
}
