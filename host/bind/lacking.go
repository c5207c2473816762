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
