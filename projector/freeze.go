package projector

import (
	"slices"
	"sync"
)

// frozenHandles saves the making of a large array for each snapshot, which is most
// of what freeze costs.
var frozenHandles = sync.Pool{New: func() any { return new([]Handle) }}

// freeze returns a function that encodes the state as it is now, also after
// events were applied to it: on whatever goroutine, whenever it is called, and
// once. It copies what Apply changes in place and nothing else: it is what a
// snapshot costs the committer.
func (s *State) freeze() (encode func() []byte) {
	c := *s
	c.handles, c.derived = nil, derived{} // the copies below stand in for them
	if s.run != nil {
		run := *s.run
		c.run = &run
	}
	handles := frozenHandles.Get().(*[]Handle)
	for _, h := range s.handles {
		*handles = append(*handles, h.frozen())
	}
	c.cancels = cloneMap(s.cancels) // only what they have left changes, which is not encoded
	// What is in these is only replaced.
	c.invocations = slices.Clone(s.invocations)
	c.capsules = cloneMap(s.capsules)
	c.installed = cloneMap(s.installed)
	c.policies = cloneMap(s.policies)
	c.refused = cloneMap(s.refused)
	return func() []byte {
		b := c.encode(sortHandles(pointers(*handles)))
		clear(*handles)
		*handles = (*handles)[:0]
		frozenHandles.Put(handles)
		return b
	}
}

// pointers returns the address of each element.
func pointers[V any](vs []V) []*V {
	out := make([]*V, len(vs))
	for i := range vs {
		out[i] = &vs[i]
	}
	return out
}
