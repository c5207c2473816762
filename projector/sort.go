package projector

import (
	"cmp"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"
)

// cloneMap is maps.Clone that never returns nil.
func cloneMap[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m))
	maps.Copy(out, m)
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func comparePairs(p1, c1, p2, c2 string) int {
	return cmp.Or(cmp.Compare(p1, p2), cmp.Compare(c1, c2))
}

func sortHandles(hs []*Handle) []*Handle {
	return sortedBy(hs, func(h *Handle) ulid.ULID { return h.ID })
}

// removeID takes id out of a sorted list.
func removeID(ids []ulid.ULID, id ulid.ULID) []ulid.ULID {
	if i, found := slices.BinarySearchFunc(ids, id, ulid.ULID.Compare); found {
		return slices.Delete(ids, i, i+1)
	}
	return ids
}

// sortedBy sorts vs by an id of theirs and returns it.
func sortedBy[V any](vs []V, id func(V) ulid.ULID) []V {
	slices.SortFunc(vs, func(a, b V) int { return id(a).Compare(id(b)) })
	return vs
}
