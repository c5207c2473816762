package event

import _ "embed"

// Proto is event.proto: it names every kind and every field that this build
// knows.
//
//go:embed event.proto
var Proto string
