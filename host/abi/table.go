package abi

import "maps"

// maxIndex is the largest handle index; the canonical ABI keeps the bits above
// for itself.
const maxIndex = 1<<28 - 1

// Table numbers the handles that one guest instance owns. The numbers mean
// nothing to another instance. It belongs to the goroutine that runs the
// guest.
//
// Invariant: an index is never 0 and never given out twice, so a handle that
// was dropped is a trap for ever, and not some other handle.
type Table struct {
	// Limit is how many handles may be held at a time.
	Limit int

	next    uint32
	entries map[uint32]entry
}

type entry struct {
	r   *Resource
	rep any
}

// Full tells whether the table has no room.
func (t *Table) Full() bool { return len(t.entries) >= t.Limit || t.next >= maxIndex }

// Room traps if the table is full. It is for the function that is about to make
// what the next handle will stand for.
func (t *Table) Room() {
	if t.Full() {
		trap("the instance holds %d handles and may hold no more; drop those not needed", len(t.entries))
	}
}

// Add gives a handle out; rep is what it stands for.
func (t *Table) Add(r *Resource, rep any) uint32 {
	t.Room()
	if t.entries == nil {
		t.entries = map[uint32]entry{}
	}
	t.next++
	t.entries[t.next] = entry{r: r, rep: rep}
	return t.next
}

// Borrow returns what a handle stands for. A handle that was never given out,
// was dropped, or is of another resource traps.
func (t *Table) Borrow(r *Resource, index uint32) any {
	e, ok := t.entries[index]
	if !ok {
		trap("%d is no handle of this instance", index)
	}
	if e.r != r {
		trap("handle %d is a %s and not a %s", index, e.r.Name, r.Name)
	}
	return e.rep
}

// Drop takes a handle back and returns what it stood for; it traps like Borrow.
func (t *Table) Drop(r *Resource, index uint32) any {
	rep := t.Borrow(r, index)
	delete(t.entries, index)
	return rep
}

// Len returns the number of handles held.
func (t *Table) Len() int { return len(t.entries) }

// Held returns what the handles stand for, by index.
func (t *Table) Held() map[uint32]any {
	out := make(map[uint32]any, len(t.entries))
	for i, e := range maps.All(t.entries) {
		out[i] = e.rep
	}
	return out
}
