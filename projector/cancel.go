package projector

import (
	"slices"

	"github.com/astrid-os/processledger/ledger/event"
)

// Reached returns the live handles that a cancel of this scope reaches, sorted
// by id. An empty principal or capsule stands for every one.
//
// With call ids: the ephemeral processes whose call id is named and, of the
// same (principal, capsule), those that have none, because nobody can tell
// whether they belong to the call. Where the scope leaves principal or capsule
// open, "the same" are the pairs in which a process or an open invocation has
// one of the call ids. The persistent tier outlives calls and is not reached.
//
// Without call ids: every live process of the scope, persistent ones too; that
// is how a principal is retired.
func (s *State) Reached(principal, capsule string, callIDs []string) []*Handle {
	if len(callIDs) == 0 {
		return s.liveOfScope(principal, capsule)
	}
	var out []*Handle
	for _, p := range s.pairsOf(principal, capsule, callIDs) {
		for _, id := range slices.Compact(slices.Sorted(slices.Values(append([]string{""}, callIDs...)))) {
			out = append(out, s.derived.calls[callKey{p.principal, p.capsule, id}]...)
		}
	}
	return sortHandles(out)
}

func within(principal, capsule, p, c string) bool {
	return (principal == "" || principal == p) && (capsule == "" || capsule == c)
}

func (s *State) liveOfScope(principal, capsule string) []*Handle {
	var out []*Handle
	for _, h := range s.handles {
		if h.Phase.Live() && within(principal, capsule, h.Principal, h.Capsule) {
			out = append(out, h)
		}
	}
	return sortHandles(out)
}

// pairsOf returns the pairs that a cancel by call ids is about.
func (s *State) pairsOf(principal, capsule string, callIDs []string) []pair {
	if principal != "" && capsule != "" {
		return []pair{{principal, capsule}}
	}
	found := map[pair]bool{}
	see := func(p, c, call string) {
		if within(principal, capsule, p, c) && slices.Contains(callIDs, call) {
			found[pair{p, c}] = true
		}
	}
	for k := range s.derived.calls {
		see(k.principal, k.capsule, k.call)
	}
	for _, i := range s.invocations {
		see(i.Principal, i.Capsule, i.CallID)
	}
	pairs := make([]pair, 0, len(found))
	for p := range found {
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		return comparePairs(a.principal, a.capsule, b.principal, b.capsule)
	})
	return pairs
}

// Ephemeral tells whether processes of the tier belong to a capsule's instance
// and end with it.
func Ephemeral(t event.Tier) bool { return t == event.TierSync || t == event.TierBackground }
