package capsule

import (
	"context"
	"fmt"
	"slices"

	"github.com/astrid-os/processledger/host/policy"
)

// ticket is an invocation that waits for its turn.
type ticket struct {
	key    slotKey
	callID string
	cancel context.CancelCauseFunc

	caused     bool // by a message, and so by whatever published that
	background bool // a run, which goes on as long as the daemon
}

// find checks an invocation before anything is done about it.
func (r *Runner) find(inv Invocation) (*Capsule, error) {
	c := r.set.loaded[inv.Capsule]
	switch {
	case c == nil:
		return nil, fmt.Errorf("%w: %.80q", ErrUnknownCapsule, inv.Capsule)
	case !policy.ValidPrincipal(inv.Principal):
		return nil, fmt.Errorf("%w: %.80q", ErrBadPrincipal, inv.Principal)
	case !c.Forms.Hook || !c.Handles(inv.Action):
		return nil, fmt.Errorf("%w: %.80q; its manifest has handlers for %q", ErrUnknownAction, inv.Action, c.actions())
	case len(inv.Payload) > MaxPayload:
		return nil, ErrPayloadTooBig
	case c.Forms.Run && inv.Principal == r.opts.SystemPrincipal:
		return nil, ErrBackground
	}
	return c, nil
}

func (m *Manifest) actions() []string {
	var all []string
	for _, h := range m.Handlers {
		all = append(all, h.Action)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// enter lets an invocation in and queues it; on success r.running is to be told
// when it is over.
func (r *Runner) enter(t *ticket) (*slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.draining && !t.caused {
		return nil, ErrClosed
	}
	waiting := 0
	for other := range r.queue {
		if other.key == t.key {
			waiting++
		}
	}
	if waiting >= maxWaiting {
		return nil, ErrBusy
	}
	s := r.slots[t.key]
	if s == nil {
		s = &slot{key: t.key, turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		r.slots[t.key] = s
	}
	r.queue[t] = struct{}{}
	r.running.Add(1)
	if !t.background {
		r.calls++
	}
	return s, nil
}

func (r *Runner) leaveQueue(t *ticket) {
	r.mu.Lock()
	delete(r.queue, t)
	r.mu.Unlock()
}

// leave ends a visit to a slot, of which nothing stays where no instance was
// made of it or the last one is gone. The caller no longer has the turn.
func (r *Runner) leave(t *ticket, s *slot) {
	r.leaveQueue(t)
	select {
	case <-s.turn:
		if s.in == nil {
			r.mu.Lock()
			r.forget(s)
			r.mu.Unlock()
		}
		s.turn <- struct{}{}
	default: // somebody is there, and will leave
	}
}

// CancelWaiting cancels the invocations that wait for their turn and match; an
// empty principal or capsule matches all, and so does an empty list of call
// ids. They return ErrCancelled and leave no trace in the ledger, for nothing
// ran. Call it before host.Cancel, which reaches those that have begun: in this
// order none falls between the two. It returns how many it reached.
func (r *Runner) CancelWaiting(principal, capsule string, callIDs []string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for t := range r.queue {
		if (principal == "" || t.key.principal == principal) && (capsule == "" || t.key.capsule == capsule) &&
			(len(callIDs) == 0 || slices.Contains(callIDs, t.callID)) {
			t.cancel(ErrCancelled)
			n++
		}
	}
	return n
}
