package dispatch

import (
	_ "embed" // openapi.yaml
) // openapi.yaml

//go:generate oapi-codegen -config oapi-codegen.yaml openapi.yaml

//go:embed openapi.yaml
var document []byte

// Contract gives the contract itself, an OpenAPI document in YAML.
func Contract() []byte { return append([]byte(nil), document...) }
