package capsule

import (
	"context"
	"slices"
	"time"
)

// weigh notes what an instance holds after a call. The caller has the slot's
// turn.
func (r *Runner) weigh(s *slot) {
	bytes := uint64(0)
	if s.in != nil && s.in.module != nil {
		bytes = uint64(s.in.module.Memory().Size())
	}
	r.mu.Lock()
	s.bytes, s.used = bytes, time.Now()
	r.mu.Unlock()
}

// makeRoom ends idle instances, the least recently used first, until what is
// left is within the budget. One that is being called, or whose guest holds a
// handle, stays: the handle's process would end with it. No event tells of it:
// nothing that the ledger knows of ends, and the next invocation names its new
// instance.
func (r *Runner) makeRoom() {
	for _, s := range r.overweight() {
		select {
		case <-s.turn:
			r.evict(s)
			s.turn <- struct{}{}
		default: // it is called
		}
	}
}

// overweight returns the slots in the order in which they are to be emptied,
// none if everything is within the budget.
func (r *Runner) overweight() (all []*slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.weight() <= r.opts.InstanceMemory {
		return nil
	}
	for _, s := range r.slots {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *slot) int { return a.used.Compare(b.used) })
	return all
}

// weight is what all instances hold. The caller has r.mu.
func (r *Runner) weight() (total uint64) {
	for _, s := range r.slots {
		total += s.bytes
	}
	return total
}

// evict ends the instance of a slot if that is still called for and may be. The
// caller has the slot's turn.
func (r *Runner) evict(s *slot) {
	if s.in == nil || s.in.bound.Handles() > 0 {
		return
	}
	r.mu.Lock()
	over, bytes := r.weight() > r.opts.InstanceMemory, s.bytes
	if over {
		s.bytes = 0
		r.forget(s)
	}
	r.mu.Unlock()
	if !over {
		return
	}
	r.opts.Log.Info("an idle instance is ended to make room", "capsule", s.key.capsule, "principal", s.key.principal,
		"instance", s.in.id, "bytes", bytes)
	s.in.close(context.Background())
	s.in = nil
}

// forget drops the slot of a pair that nobody waits for, so that there are not
// ever more of them. Whoever calls next gets a new one. The caller has the
// slot's turn and r.mu.
func (r *Runner) forget(s *slot) {
	for t := range r.queue {
		if t.key == s.key {
			return
		}
	}
	delete(r.slots, s.key)
}
