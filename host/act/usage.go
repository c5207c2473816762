//go:build linux

package act

import (
	"time"

	"github.com/astrid-os/processledger/host/shim"
)

// Usage returns what the program itself has used so far: CPU time of all its
// threads, without its children's, and the most memory that was resident at
// once. ok is false before its start, once it has ended (process.exited has the
// figures then), and where /proc does not tell.
func (c *Child) Usage() (cpu time.Duration, peakBytes uint64, ok bool) {
	program, letGo := c.held()
	if program == nil || letGo {
		return 0, 0, false
	}
	u, err := program.usage(c.h.procfd)
	return u.CPU, u.PeakBytes, err == nil
}

// usage reads the figures of the pidfd's process.
func (p *pidfd) usage(procfd int) (u shim.Usage, err error) {
	if cerr := p.rc.Control(func(fd uintptr) { u, err = shim.UsageOf(procfd, int(fd)) }); cerr != nil {
		return shim.Usage{}, cerr
	}
	return u, err
}
