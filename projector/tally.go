package projector

import (
	"slices"

	"github.com/astrid-os/processledger/ledger/event"
)

// Counts are numbers of processes by tier.
type Counts struct {
	Background uint32
	Sync       uint32
	Persistent uint32
}

// Concurrent is what the quota on concurrent processes counts: background and
// persistent together.
func (c Counts) Concurrent() uint32 { return c.Background + c.Persistent }

// Total is the sum of all tiers.
func (c Counts) Total() uint32 { return c.Background + c.Sync + c.Persistent }

// of is the counter of a tier; Apply lets no other tier in.
func (c *Counts) of(t event.Tier) *uint32 {
	switch t {
	case event.TierSync:
		return &c.Sync
	case event.TierPersistent:
		return &c.Persistent
	default:
		return &c.Background
	}
}

// tally counts the handles of one principal, capsule or pair.
//
// Invariant: live <= held in each tier, and a tally with held all zero is not
// in its map.
type tally struct {
	live Counts // phase live: reserved at the decision, freed at the end
	held Counts // granted and not released: live ones and ended ones
}

type pair struct{ principal, capsule string }

// callKey names the ephemeral processes of one call; call is empty for those
// that have none.
type callKey struct{ principal, capsule, call string }

// derived is what follows from the handles and cancels alone. It is kept for
// speed, never encoded, and built again after Decode and Clone.
type derived struct {
	all        *tally
	principals map[string]*tally
	capsules   map[string]*tally
	pairs      map[pair]*tally

	// calls holds the live ephemeral handles. The order within a key is not
	// defined: whoever reads it sorts.
	calls map[callKey][]*Handle

	// ids holds the granted, unreleased processes that have a process id, by
	// its keyed hash.
	ids map[string]*Handle
}

func newDerived() derived {
	return derived{
		all:        new(tally),
		principals: map[string]*tally{},
		capsules:   map[string]*tally{},
		pairs:      map[pair]*tally{},
		calls:      map[callKey][]*Handle{},
		ids:        map[string]*Handle{},
	}
}

// reserve counts a handle that was just granted.
func (d *derived) reserve(h *Handle) {
	d.hold(h)
	for _, t := range h.tallies {
		*t.live.of(h.Tier)++
	}
	if k, ok := callOf(h); ok {
		d.calls[k] = append(d.calls[k], h)
	}
}

// hold counts a handle that is granted, whether it lives or not.
func (d *derived) hold(h *Handle) {
	h.tallies = [...]*tally{
		d.all,
		grown(d.principals, h.Principal),
		grown(d.capsules, h.Capsule),
		grown(d.pairs, pair{h.Principal, h.Capsule}),
	}
	for _, t := range h.tallies {
		*t.held.of(h.Tier)++
	}
	if len(h.ProcessIDHash) > 0 {
		d.ids[string(h.ProcessIDHash)] = h
	}
}

// free takes a handle that ended out of the live ones.
func (d *derived) free(h *Handle) {
	for _, t := range h.tallies {
		*t.live.of(h.Tier)--
	}
	k, ok := callOf(h)
	if !ok {
		return
	}
	rest := slices.DeleteFunc(d.calls[k], func(o *Handle) bool { return o == h })
	if len(rest) == 0 {
		delete(d.calls, k)
		return
	}
	d.calls[k] = rest
}

// release forgets a handle that ended before.
func (d *derived) release(h *Handle) {
	delete(d.ids, string(h.ProcessIDHash))
	for _, t := range h.tallies {
		*t.held.of(h.Tier)--
	}
	if h.tallies[1].held == (Counts{}) {
		delete(d.principals, h.Principal)
	}
	if h.tallies[2].held == (Counts{}) {
		delete(d.capsules, h.Capsule)
	}
	if h.tallies[3].held == (Counts{}) {
		delete(d.pairs, pair{h.Principal, h.Capsule})
	}
}

// grown returns the tally of k, a new one where there is none.
func grown[K comparable](m map[K]*tally, k K) *tally {
	t := m[k]
	if t == nil {
		t = new(tally)
		m[k] = t
	}
	return t
}

// callOf is the key of a handle in the index of calls; persistent processes
// outlive calls and are not in it.
func callOf(h *Handle) (callKey, bool) {
	return callKey{h.Principal, h.Capsule, h.CallID}, h.Tier != event.TierPersistent
}

// rebuild derives everything from the handles and the open cancels.
func (s *State) rebuild() {
	s.derived = newDerived()
	for _, h := range s.Handles() {
		switch {
		case h.Phase.Live():
			s.derived.reserve(h)
		case h.Phase.Terminal():
			s.derived.hold(h)
		}
		for _, o := range h.Obligations {
			if c := s.cancels[o.Cancel]; c != nil {
				c.Remaining = append(c.Remaining, h.ID)
			}
		}
	}
}

func liveOf[K comparable](m map[K]*tally, k K) Counts {
	if t := m[k]; t != nil {
		return t.live
	}
	return Counts{}
}

func heldOf[K comparable](m map[K]*tally, k K) Counts {
	if t := m[k]; t != nil {
		return t.held
	}
	return Counts{}
}

// LiveAll counts all live processes.
func (s *State) LiveAll() Counts { return s.derived.all.live }

// LivePrincipal counts the live processes of a principal, over all capsules.
func (s *State) LivePrincipal(p string) Counts { return liveOf(s.derived.principals, p) }

// LiveCapsule counts the live processes of a capsule, over all principals.
func (s *State) LiveCapsule(c string) Counts { return liveOf(s.derived.capsules, c) }

// HeldAll counts all handles that are granted and not released, ended or not.
func (s *State) HeldAll() Counts { return s.derived.all.held }

// HeldPair counts the granted, unreleased handles of a principal in a capsule:
// the registry's bound for a principal counts the persistent ones.
func (s *State) HeldPair(p, c string) Counts { return heldOf(s.derived.pairs, pair{p, c}) }

// HeldCapsule counts the granted, unreleased handles of a capsule, over all
// principals: the registry's bound for a capsule counts the persistent ones.
func (s *State) HeldCapsule(c string) Counts { return heldOf(s.derived.capsules, c) }

// Tally is the counters of one (principal, capsule) pair.
type Tally struct {
	Principal, Capsule string
	Live, Held         Counts
}

// Tallies returns the counters of every pair that holds a handle, sorted by
// principal, then capsule.
func (s *State) Tallies() []Tally {
	out := make([]Tally, 0, len(s.derived.pairs))
	for k, t := range s.derived.pairs {
		out = append(out, Tally{k.principal, k.capsule, t.live, t.held})
	}
	slices.SortFunc(out, func(a, b Tally) int { return comparePairs(a.Principal, a.Capsule, b.Principal, b.Capsule) })
	return out
}
