//go:build linux

package shim

import (
	"time"

	"golang.org/x/sys/unix"
)

// Names of the standing orders, as timer.fired and the exit record tell them.
const (
	OrderLifetime = "lifetime"
	OrderOrphan   = "orphan"
)

// Causes of an end that the shim itself names; the daemon names the others.
const (
	causeSelf     = "self"
	causeLifetime = "lifetime"
	causeOrphaned = "orphaned"
)

// daemonMargin is how long after a timer was due a connected daemon may take to
// carry it out before the shim does. A daemon that is in charge is late by a
// commit, milliseconds; two seconds mean that it hangs.
const daemonMargin = int64(2 * time.Second)

// orders are the standing orders and how far they have been carried out.
type orders struct {
	Orders
	startBoot int64

	// termAt is when the TERM of an expired lifetime was sent, by the daemon
	// or by the shim; 0 while it was not. killed is set after the KILL.
	termAt int64
	killed bool

	// fired is the first order that the shim carried out by itself, due when
	// that was due.
	fired string
	due   int64
}

func (o *orders) begin(boot int64) { o.startBoot = boot }

// heard takes in a signal that the daemon had sent: where it carries out the
// lifetime itself, the shim goes on from there if the daemon dies half-way.
func (o *orders) heard(sig uint32, cause string) {
	if cause != causeLifetime {
		return
	}
	switch unix.Signal(sig) {
	case unix.SIGTERM:
		o.termAt = boottime()
	case unix.SIGKILL:
		o.killed = true
	}
}

// next returns when something is due, CLOCK_BOOTTIME ns, 0 if never.
func (o *orders) next(connected bool, alone int64) int64 {
	due := o.lifetimeDue(connected)
	if orphan := o.orphanDue(connected, alone); orphan != 0 && (due == 0 || orphan < due) {
		due = orphan
	}
	return due
}

// lifetimeDue is when TERM, or after it KILL, is due.
func (o *orders) lifetimeDue(connected bool) int64 {
	if o.killed || o.LifetimeNano <= 0 {
		return 0
	}
	due := o.startBoot + o.LifetimeNano
	if o.termAt != 0 {
		due = o.termAt + o.GraceNano
	}
	if connected && o.fired != OrderLifetime {
		due += daemonMargin
	}
	return due
}

func (o *orders) orphanDue(connected bool, alone int64) int64 {
	if connected || o.killed || o.OrphanNano <= 0 {
		return 0
	}
	return alone + o.OrphanNano
}

// carryOut does what is due now.
func (s *supervisor) carryOut() {
	now, connected := boottime(), s.conn != nil
	o := &s.orders
	if due := o.orphanDue(connected, s.alone); due != 0 && due <= now {
		s.fire(OrderOrphan, due)
		s.kill(causeOrphaned)
		return
	}
	due := o.lifetimeDue(connected)
	if due == 0 || due > now {
		return
	}
	s.fire(OrderLifetime, o.startBoot+o.LifetimeNano)
	if o.termAt != 0 {
		s.kill(causeLifetime)
		return
	}
	o.termAt = now
	if s.tree.signal(unix.SIGTERM) == nil {
		s.sent.note(uint32(unix.SIGTERM), causeLifetime)
	}
	s.tree.signal(unix.SIGCONT) // a stopped tree would not hear the TERM in its grace
}

// kill ends the tree; the end of the program does the rest.
func (s *supervisor) kill(cause string) {
	s.orders.killed = true
	if s.tree.signal(unix.SIGKILL) == nil {
		s.sent.note(uint32(unix.SIGKILL), cause)
	}
}

// fire notes which order came first and tells the daemon, if one is there.
func (s *supervisor) fire(order string, due int64) {
	if s.orders.fired != "" {
		return
	}
	s.orders.fired, s.orders.due = order, due
	s.tell(&Message{Type: TypeFired, Order: order, Due: due})
}

// causes remembers which delivered signal may have ended the program.
type causes struct {
	ending string            // cause of the last INT, TERM or KILL that somebody sent to end it
	last   map[uint32]string // cause of the last delivery of each signal
}

// causeSignal is the cause of a signal that a guest sent by number; it need not
// have been meant to end anything.
const causeSignal = "signal"

func (c *causes) note(sig uint32, cause string) {
	if c.last == nil {
		c.last = map[uint32]string{}
	}
	c.last[sig] = cause
	switch unix.Signal(sig) {
	case unix.SIGINT, unix.SIGTERM, unix.SIGKILL:
		if cause != causeSignal {
			c.ending = cause
		}
	}
}

// of returns what ended a program with status ws: the request or order that was
// to end it, whether by its signal or by an exit in answer to it; else the
// request that sent the very signal it died by; else itself.
func (c *causes) of(ws unix.WaitStatus) string {
	if ws.Signaled() {
		if cause := c.last[uint32(ws.Signal())]; cause != "" {
			return cause
		}
	}
	if c.ending != "" {
		return c.ending
	}
	return causeSelf
}
