//go:build linux

package worldcheck

import (
	"context"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// story is what the ledger says of one handle, from its first event to its
// last.
type story struct {
	nonce    string
	granted  bool
	started  *event.ProcessStarted
	end      event.Kind // 0: it lives
	exit     *event.ProcessExited
	failed   *event.SpawnFailed
	lost     *event.ProcessLost
	asked    map[uint32]int // signal.requested by signal
	sent     []sent         // that the kernel took for a living target
	timers   map[string]bool
	released bool

	// final: it is released, and was found to be true. The witness of it is
	// not read again.
	final bool
}

// sent is a signal.sent that says "delivered".
type sent struct {
	signal uint32
	boot   int64 // CLOCK_BOOTTIME of the event, ns
}

// ran tells whether the program ran, as far as the ledger knows; maybe is for
// what nobody can know.
func (s *story) ran() (yes, maybe bool) {
	switch s.end {
	case event.KindProcessExited:
		return true, true
	case event.KindProcessLost:
		return s.started != nil, true
	case event.KindSpawnAborted, event.KindSpawnFailed:
		return false, false
	}
	return s.started != nil, s.granted
}

// read takes in what the ledger has gained: gaps, events that cannot be read
// and steps that are not allowed are wrong for ever.
func (c *Checker) read(ctx context.Context, r ledger.Reader) {
	first, last := r.Bounds()
	if c.next == 0 {
		c.stories, c.nonces, c.next = map[ulid.ULID]*story{}, map[string]ulid.ULID{}, max(first, 1)
		state, err := projector.At(ctx, r, c.next-1)
		if err != nil {
			c.wrong("replay: %v", err)
			return
		}
		c.state = state
	}
	if c.state == nil || last < c.next {
		if last+1 < c.next {
			c.wrong("ledger: ends after event %d, and held event %d before", last, c.next-1)
		}
		return
	}
	for e, err := range r.Events(ctx, c.next, last) {
		if err != nil {
			c.wrong("ledger: %v", err)
			return
		}
		if e.Seq != c.next {
			c.wrong("ledger: event %d where %d was due", e.Seq, c.next)
		}
		c.next = e.Seq + 1
		if err := c.state.Apply(e); err != nil {
			c.wrong("replay: event %d: %v", e.Seq, err)
			return
		}
		c.tell(e)
	}
	if c.next != last+1 {
		c.wrong("ledger: ends after event %d, not %d", c.next-1, last)
	}
}

func (c *Checker) wrong(format string, args ...any) {
	(*sentences)(&c.broken).say(format, args...)
}

func (c *Checker) tell(e *event.Event) {
	if e.Handle == (ulid.ULID{}) {
		return
	}
	s := c.stories[e.Handle]
	if s == nil {
		if _, orphan := e.Body.(*event.OrphanEnded); orphan {
			return // its directory has a handle's name, and no story
		}
		s = &story{asked: map[uint32]int{}, timers: map[string]bool{}}
		c.stories[e.Handle] = s
	}
	switch b := e.Body.(type) {
	case *event.SpawnRequested:
		s.nonce = nonceOf(b.Args)
	case *event.SpawnDecided:
		if s.granted = b.Outcome == event.OutcomeGranted; s.granted && s.nonce != "" {
			if other, twice := c.nonces[s.nonce]; twice {
				c.wrong("%s: %s was granted to %s before", e.Handle, s.nonce, other)
			}
			c.nonces[s.nonce] = e.Handle
		}
	case *event.ProcessStarted:
		s.started = b
	case *event.SignalRequested:
		s.asked[b.Signal]++
	case *event.SignalSent:
		if b.Delivered {
			s.sent = append(s.sent, sent{b.Signal, e.Boottime})
		}
	case *event.TimerFired:
		s.timers[b.Timer] = true
	case *event.HandleReleased:
		s.released = true
	default:
		s.ends(e)
	}
}

// ends takes in an outcome; other events say nothing here.
func (s *story) ends(e *event.Event) {
	switch b := e.Body.(type) {
	case *event.ProcessExited:
		s.exit = b
	case *event.ProcessLost:
		s.lost = b
	case *event.SpawnFailed:
		s.failed = b
	case *event.SpawnAborted:
	default:
		return
	}
	s.end = e.Kind()
}

// Prefix begins the argument by which a test program names its witness file.
const Prefix = "nonce-"

func nonceOf(args []string) string {
	for _, a := range args {
		if strings.HasPrefix(a, Prefix) {
			return a
		}
	}
	return ""
}
