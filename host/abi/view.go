package abi

import (
	"encoding/binary"
	"unicode/utf8"
)

// Memory is the linear memory of a guest.
type Memory interface {
	// Read returns a view of n bytes at offset, false if they are not all
	// inside the memory. What is written to the view is written to the
	// memory. It is stale once the guest has run again.
	Read(offset, n uint32) ([]byte, bool)

	// Size returns the size in bytes.
	Size() uint32
}

// Lifter reads values that a guest has handed in. It must not outlive the host
// function's call, and the guest must not run while it is in use: its views
// point into the memory itself.
type Lifter struct {
	mem Memory

	// budget is how many bytes may still be followed. Values that do not
	// overlap cannot need more than the memory has; a guest that names the
	// same bytes over and over would make the host copy without a bound.
	budget uint64
}

// NewLifter returns a Lifter for one call.
func NewLifter(m Memory) Lifter { return Lifter{mem: m, budget: uint64(m.Size())} }

// At returns a view of the value of type t at a guest's address.
func (l *Lifter) At(at uint32, t *Type) View {
	if at&(t.align-1) != 0 {
		trap("%s at %d is not aligned to %d", t, at, t.align)
	}
	b, ok := l.mem.Read(at, t.size)
	if !ok {
		trap("%s at %d lies outside the memory", t, at)
	}
	return View{l: l, t: t, b: b}
}

// take returns count elements of size bytes that a string or a list of the
// view points to.
func (v View) take(at, count, size, align uint32) []byte {
	if at&(align-1) != 0 {
		trap("%s: %s at %d is not aligned to %d", v.name, v.t, at, align)
	}
	n := uint64(count) * uint64(size)
	if n > v.l.budget {
		trap("%s: %s of %d bytes at %d: more than the memory holds", v.name, v.t, n, at)
	}
	v.l.budget -= n
	b, ok := v.l.mem.Read(at, uint32(n))
	if !ok {
		trap("%s: %s of %d bytes at %d lies outside the memory", v.name, v.t, n, at)
	}
	return b
}

// View is one value that a guest has handed in: bytes in its memory, or flat
// parameters. Reading it as what it is not panics (a fault of the host's);
// reading a malformed value traps.
type View struct {
	l    *Lifter
	t    *Type
	name string   // of the field it was reached by, for messages
	b    []byte   // where it stands in memory, t.size bytes
	flat []uint64 // or else its flat values
}

// Field returns a record's field.
func (v View) Field(name string) View {
	v.must(KindRecord)
	f, flat := v.t.field(name)
	out := View{l: v.l, t: f.Type, name: name}
	if v.b == nil {
		out.flat = v.flat[flat : flat+len(f.Type.flat)]
	} else {
		out.b = v.b[f.Offset : f.Offset+f.Type.size]
	}
	return out
}

// Has tells whether the record has a field of that name in this revision.
func (v View) Has(name string) bool { return v.t.Has(name) }

// Case returns which case a variant is, and its value; the View of a case
// without a value must not be read.
func (v View) Case() (int, View) {
	v.must(KindVariant)
	var tag uint32
	if v.b == nil {
		tag = uint32(v.flat[0])
	} else {
		tag = uint32(v.b[0])
	}
	if tag >= uint32(len(v.t.cases)) {
		trap("%s: %s has no case %d", v.name, v.t, tag)
	}
	out := View{l: v.l, t: v.t.cases[tag].Type, name: v.name}
	switch {
	case out.t == nil:
	case v.b == nil:
		out.flat = v.flat[1 : 1+len(out.t.flat)]
	default:
		out.b = v.b[v.t.payload : v.t.payload+out.t.size]
	}
	return int(tag), out
}

// Option returns an option's value; false is none, and then whatever stands in
// the value's place is not looked at.
func (v View) Option() (View, bool) {
	n, of := v.Case()
	return of, n == 1
}

// Bool reads a bool: any non-zero value is true.
func (v View) Bool() bool {
	v.must(KindBool)
	if v.b == nil {
		return uint32(v.flat[0]) != 0
	}
	return v.b[0] != 0
}

// U32 reads a u32.
func (v View) U32() uint32 {
	v.must(KindU32)
	return v.word(0)
}

// U64 reads a u64.
func (v View) U64() uint64 {
	v.must(KindU64)
	if v.b == nil {
		return v.flat[0]
	}
	return binary.LittleEndian.Uint64(v.b)
}

// Handle reads an own or a borrow: an index for a [Table].
func (v View) Handle() uint32 {
	if v.t.kind != KindOwn {
		v.must(KindBorrow)
	}
	return v.word(0)
}

// Resource returns which resource an own or a borrow is a handle of.
func (v View) Resource() *Resource { return v.t.resource }

// word reads the i-th 32-bit word of the value. A flat slot is cut to its lower
// half.
func (v View) word(i int) uint32 {
	if v.b == nil {
		return uint32(v.flat[i])
	}
	return binary.LittleEndian.Uint32(v.b[4*i:])
}

// Size returns the length that a string or a list claims, in bytes or elements,
// before any of it is looked at: so a caller with a bound need not lift what is
// beyond it.
func (v View) Size() uint32 {
	if v.t.kind != KindString {
		v.must(KindList)
	}
	return v.word(1)
}

// Text reads a string, which must be UTF-8, and copies it.
func (v View) Text() string {
	v.must(KindString)
	b := v.take(v.word(0), v.word(1), 1, 1)
	if !utf8.Valid(b) {
		trap("%s: string is not UTF-8", v.name)
	}
	return string(b)
}

// Clip reads the first n bytes of a string, or fewer so as not to split a rune;
// no more is copied. All of it must be UTF-8.
func (v View) Clip(n int) string {
	v.must(KindString)
	b := v.take(v.word(0), v.word(1), 1, 1)
	if !utf8.Valid(b) {
		trap("%s: string is not UTF-8", v.name)
	}
	if n < len(b) {
		for n > 0 && !utf8.RuneStart(b[n]) {
			n--
		}
		b = b[:n]
	}
	return string(b)
}

// Bytes reads a list<u8> and copies it; never nil.
func (v View) Bytes() []byte {
	v.must(KindList)
	if v.t.elem.kind != KindU8 {
		panic("abi: " + v.t.text + " read as bytes")
	}
	return append([]byte{}, v.take(v.word(0), v.word(1), 1, 1)...)
}

// Elements is a list's elements.
type Elements struct {
	list View
	b    []byte
	n    int
}

// List reads a list's place and length, and checks that all of it lies inside
// the memory. The elements are checked as they are read.
func (v View) List() Elements {
	v.must(KindList)
	e := v.t.elem
	n := v.word(1)
	return Elements{list: v, b: v.take(v.word(0), n, e.size, e.align), n: int(n)}
}

// Len returns the number of elements.
func (e Elements) Len() int { return e.n }

// At returns the i-th element.
func (e Elements) At(i int) View {
	t := e.list.t.elem
	size := int(t.size)
	return View{l: e.list.l, t: t, name: e.list.name, b: e.b[i*size : (i+1)*size]}
}

// Total returns how many bytes the elements of a list<string> claim together.
// It looks at nothing else, and so takes milliseconds for a list that fills all
// of a guest's memory, as reading them one by one would not.
func (e Elements) Total() (n uint64) {
	if e.list.t.elem.kind != KindString {
		panic("abi: the total of a " + e.list.t.text)
	}
	for at := 4; at < len(e.b); at += 8 {
		n += uint64(binary.LittleEndian.Uint32(e.b[at:]))
	}
	return n
}

func (v View) must(k Kind) {
	if v.t.kind != k {
		panic("abi: " + v.name + " is a " + v.t.text + " and was read as something else")
	}
}
