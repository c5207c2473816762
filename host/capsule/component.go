package capsule

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// How WebAssembly begins: magic, version, layer.
var (
	core    = []byte("\x00asm\x01\x00\x00\x00") // a core module
	wrapped = []byte("\x00asm\x0d\x00\x01\x00") // a component
)

// The sections of a component that matter here.
const (
	moduleSection    = 1 // a core module
	componentSection = 4 // a component inside
)

var (
	errComponent = errors.New("is a component whose sections cannot be read")
	errNoModule  = errors.New("is a component without a core module; this host runs those that hold the guest as their first core module")
	errNested    = errors.New("is a component made of components; this host runs those that hold the guest as their first core module, so give it the one with the guest")
	errUnfrozen  = errors.New("is a component built against the 1.0.0 of astrid:process that one release had, whose spawn-request has file-injections; no host can tell it from 1.0.0 by its functions, so build it against 1.1.0")
)

// unwrap returns the core module that is to be run: the module itself, or the
// guest that a component holds. The tools that make components put the guest
// first, and behind it what adapts it to interfaces that this host serves
// itself; what the guest imports tells whether that is enough.
func unwrap(b []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(b, core):
		return b, nil
	case !bytes.HasPrefix(b, wrapped):
		return nil, errors.New("is " + kindOf(b))
	}
	var guest []byte
	var nested, injects bool
	for rest := b[len(wrapped):]; len(rest) > 0; {
		id := rest[0]
		size, n := binary.Uvarint(rest[1:])
		if n <= 0 || size > uint64(len(rest)-1-n) {
			return nil, errComponent
		}
		body := rest[1+n : 1+n+int(size)]
		rest = rest[1+n+int(size):]
		switch {
		case id != moduleSection:
			nested = nested || id == componentSection
			injects = injects || bytes.Contains(body, named("file-injections"))
		case guest == nil:
			guest = body
		}
	}
	switch {
	case guest == nil && nested:
		return nil, errNested
	case guest == nil:
		return nil, errNoModule
	case !bytes.HasPrefix(guest, core):
		return nil, errComponent
	case injects && unfrozen(guest):
		return nil, errUnfrozen
	}
	return guest, nil
}

// unfrozen tells whether the guest of a component whose types have
// file-injections imports no revision that has them: the build of 1.0.0 that is
// not served. Its requests are longer than the host would read, which nothing
// at run time could tell.
func unfrozen(guest []byte) bool {
	return bytes.Contains(guest, named("astrid:process/host@1.0.0")) &&
		!bytes.Contains(guest, named("astrid:process/host@1.1.0"))
}

// named is a name as it stands in the binary format.
func named(s string) []byte { return append([]byte{byte(len(s))}, s...) }
