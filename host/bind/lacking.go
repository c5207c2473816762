package bind

import (
	"errors"
)

var errLacking = errors.New("the process host has no such function")

// persistent returns the persistent tier of the process host.
func (c *call) persistent() Persistent {
	p, ok := c.in.procs.(Persistent)
	if !ok {
		panic(errLacking)
	}
	return p
}

// streams returns the streams of a process.
func (h *handle) streams() Streams {
	s, ok := h.Process.(Streams)
	if !ok {
		panic(errLacking)
	}
	return s
}
