// Package contract holds the bodies of the API as openapi.yaml describes them, and
// the forms of what stands inside several of them. types.gen.go is made from that
// document by `go generate ./gateway/api`; what is written by hand here are the
// bodies that the document leaves to Go.
package contract

import (
	"regexp"
)

// Base is where the API begins.
const Base = "/api/v1"

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

// IsSHA256 says whether text is a hash as bodies and addresses write it.
func IsSHA256(text string) bool { return sha256Form.MatchString(text) }
