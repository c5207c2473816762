//go:build linux

package shim

// ProtocolVersion is what this build writes as its version in messages, specs,
// records and their files. See "Versions" in the package's documentation.
//
// 1: go, signals, hello, the standing orders. Later builds of 1 also kept a
// standard input open, wrote under backpressure, told of output, and laid
// files; of a shim that says 1 none of that can be expected.
//
// 2: all of that, and the handle in TypeState.
const ProtocolVersion = 2

// What a shim can do from which version on.
const (
	VersionStreams = 2 // Spec.KeepStdin, Spec.Backpressure; it tells of output
	VersionFiles   = 2 // Spec.Files
	VersionHandle  = 2 // Message.Handle in TypeState
)

// Needs returns the lowest version of a shim that carries out all that the spec
// asks for. An older one would leave the rest out in silence, as readers skip
// what they do not know.
func (s *Spec) Needs() uint32 {
	switch {
	case len(s.Files) > 0:
		return VersionFiles
	case s.KeepStdin || s.Backpressure:
		return VersionStreams
	}
	return 1
}
