package abi

import (
	"context"
	"encoding/binary"
)

// Allocator hands out memory of a guest: its cabi_realloc.
type Allocator interface {
	Memory

	// Realloc calls the guest's cabi_realloc(0, 0, align, size). Whatever it
	// returns is not yet to be believed.
	Realloc(ctx context.Context, align, size uint32) (uint32, error)
}

// Lowerer writes values for a guest.
type Lowerer struct {
	ctx context.Context
	g   Allocator
}

// maxLowered is the most bytes of one string or list, by the canonical ABI.
const maxLowered = 1<<31 - 1

// NewLowerer returns a Lowerer for one call; ctx goes to the guest's
// cabi_realloc.
func NewLowerer(ctx context.Context, g Allocator) Lowerer { return Lowerer{ctx: ctx, g: g} }

// alloc gets size bytes from the guest and checks what it was given. Nothing is
// asked for where there is nothing to store.
func (l *Lowerer) alloc(align, size uint32) uint32 {
	if size == 0 {
		return align
	}
	at, err := l.g.Realloc(l.ctx, align, size)
	if err != nil {
		panic(&Trap{Reason: "cabi_realloc failed", Err: err})
	}
	if at&(align-1) != 0 {
		trap("cabi_realloc returned %d, which is not aligned to %d", at, align)
	}
	return at
}

// Put copies b into memory that the guest allocates, and returns its address.
func (l *Lowerer) Put(b []byte) uint32 {
	if len(b) > maxLowered {
		trap("a value of %d bytes does not fit a guest's memory", len(b))
	}
	at := l.alloc(1, uint32(len(b)))
	l.write(at, b)
	return at
}

// write copies b to an address that alloc returned for it.
func (l *Lowerer) write(at uint32, b []byte) {
	if len(b) == 0 {
		return
	}
	dst, ok := l.g.Read(at, uint32(len(b)))
	if !ok {
		trap("cabi_realloc returned %d for %d bytes: outside the memory", at, len(b))
	}
	copy(dst, b)
}

// PutText is Put for a string.
func (l *Lowerer) PutText(s string) uint32 { return l.Put([]byte(s)) }

// Store writes a result: fill sets it, then all of it goes to the guest at
// once, after the last run of cabi_realloc, so that no view of the memory can
// be stale.
func (r Return) Store(l *Lowerer, fill func(Slot)) {
	buf := make([]byte, r.t.size)
	fill(Slot{l: l, t: r.t, b: buf})
	if !r.byPointer {
		r.slot[0] = flatWord(buf)
		return
	}
	dst, ok := l.g.Read(r.at, r.t.size)
	if !ok {
		trap("%s at %d lies outside the memory", r.t, r.at)
	}
	copy(dst, buf)
}

// flatWord reads a result as its one flat value.
func flatWord(b []byte) uint64 {
	var w [8]byte
	copy(w[:], b)
	return binary.LittleEndian.Uint64(w[:])
}

// Slot is the place of one value that is being lowered. A zero value is there
// until it is set.
type Slot struct {
	l *Lowerer
	t *Type
	b []byte // t.size bytes of the host's own
}

// Field returns the place of a record's field.
func (s Slot) Field(name string) Slot {
	s.must(KindRecord)
	f, _ := s.t.field(name)
	return Slot{l: s.l, t: f.Type, b: s.b[f.Offset : f.Offset+f.Type.size]}
}

// Case sets which case a variant is, and returns the place of its value; that
// of a case without one must not be set.
func (s Slot) Case(n int) Slot {
	s.must(KindVariant)
	s.b[0] = uint8(n)
	of := s.t.cases[n].Type
	if of == nil {
		return Slot{}
	}
	return Slot{l: s.l, t: of, b: s.b[s.t.payload : s.t.payload+of.size]}
}

// Some sets an option to some and returns the place of its value.
func (s Slot) Some() Slot { return s.Case(1) }

// Bool sets a bool.
func (s Slot) Bool(v bool) {
	s.must(KindBool)
	if v {
		s.b[0] = 1
	}
}

// U32 sets a u32.
func (s Slot) U32(v uint32) {
	s.must(KindU32)
	binary.LittleEndian.PutUint32(s.b, v)
}

// S32 sets an s32.
func (s Slot) S32(v int32) {
	s.must(KindS32)
	binary.LittleEndian.PutUint32(s.b, uint32(v))
}

// U64 sets a u64.
func (s Slot) U64(v uint64) {
	s.must(KindU64)
	binary.LittleEndian.PutUint64(s.b, v)
}

// Handle sets an own: an index that a [Table] gave out.
func (s Slot) Handle(v uint32) {
	s.must(KindOwn)
	binary.LittleEndian.PutUint32(s.b, v)
}

// Resource returns which resource an own is a handle of.
func (s Slot) Resource() *Resource { return s.t.resource }

// Text sets a string, in memory that the guest allocates. It must be UTF-8.
func (s Slot) Text(v string) {
	s.must(KindString)
	s.place(s.l.PutText(v), len(v))
}

// Bytes sets a list<u8>, in memory that the guest allocates.
func (s Slot) Bytes(v []byte) {
	s.must(KindList)
	s.place(s.l.Put(v), len(v))
}

// List sets a list of n elements, in memory that the guest allocates; each sets
// the i-th. The elements go to the guest at once, when the last is set.
func (s Slot) List(n int, each func(i int, element Slot)) {
	s.must(KindList)
	of := s.t.elem
	if uint64(n)*uint64(of.size) > maxLowered {
		trap("a list of %d elements does not fit a guest's memory", n)
	}
	buf := make([]byte, n*int(of.size))
	at := s.l.alloc(of.align, uint32(len(buf)))
	for i := range n {
		each(i, Slot{l: s.l, t: of, b: buf[i*int(of.size) : (i+1)*int(of.size)]})
	}
	s.l.write(at, buf)
	s.place(at, n)
}

func (s Slot) place(at uint32, n int) {
	binary.LittleEndian.PutUint32(s.b, at)
	binary.LittleEndian.PutUint32(s.b[4:], uint32(n))
}

func (s Slot) must(k Kind) {
	if s.t == nil || s.t.kind != k {
		panic("abi: a " + textOf(s.t) + " was set as something else")
	}
}
