package abi

import (
	"slices"

	"github.com/tetratelabs/wazero/api"
)

// Kind is the sort of a type.
type Kind uint8

// The kinds. Option, Result and Enum are variants with a spelling of their
// own; the canonical ABI treats them alike.
const (
	KindBool Kind = iota
	KindU8
	KindU32
	KindS32
	KindU64
	KindString
	KindList
	KindRecord
	KindVariant
	KindOwn
	KindBorrow
)

// Type describes a type as the canonical ABI lays it out. Types are built once
// and shared.
//
// Invariant: never changed after its constructor returned.
type Type struct {
	kind Kind
	text string // how the interface text spells it

	size  uint32 // bytes in memory, a multiple of align
	align uint32 // 1, 2, 4 or 8
	flat  []api.ValueType

	fields   []Field   // of a record
	cases    []Case    // of a variant
	payload  uint32    // of a variant: offset of the cases' values; its tag stands at 0
	elem     *Type     // of a list
	resource *Resource // of an own or a borrow
}

// Field is one field of a record.
type Field struct {
	Name   string
	Type   *Type
	Offset uint32 // in bytes; set by [Record]
}

// Case is one case of a variant.
type Case struct {
	Name string
	Type *Type // nil if it carries no value
}

// Resource identifies a resource type: two handles are of one type if they
// have the same *Resource.
type Resource struct{ Name string }

// The types without parts.
var (
	Bool   = &Type{kind: KindBool, text: "bool", size: 1, align: 1, flat: []api.ValueType{api.ValueTypeI32}}
	U8     = &Type{kind: KindU8, text: "u8", size: 1, align: 1, flat: []api.ValueType{api.ValueTypeI32}}
	U32    = &Type{kind: KindU32, text: "u32", size: 4, align: 4, flat: []api.ValueType{api.ValueTypeI32}}
	S32    = &Type{kind: KindS32, text: "s32", size: 4, align: 4, flat: []api.ValueType{api.ValueTypeI32}}
	U64    = &Type{kind: KindU64, text: "u64", size: 8, align: 8, flat: []api.ValueType{api.ValueTypeI64}}
	String = &Type{kind: KindString, text: "string", size: 8, align: 4, flat: []api.ValueType{api.ValueTypeI32, api.ValueTypeI32}}
)

// List describes list<elem>: a pointer and a count.
func List(elem *Type) *Type {
	t := *String
	t.kind, t.elem, t.text = KindList, elem, "list<"+elem.text+">"
	return &t
}

// Own describes own<r>: a handle that the receiver must drop.
func Own(r *Resource) *Type {
	t := *U32
	t.kind, t.resource, t.text = KindOwn, r, r.Name
	return &t
}

// Borrow describes borrow<r>: a handle lent for the length of a call.
func Borrow(r *Resource) *Type {
	t := *U32
	t.kind, t.resource, t.text = KindBorrow, r, "borrow<"+r.Name+">"
	return &t
}

// Record describes a record with these fields, in this order.
func Record(name string, fields ...Field) *Type {
	t := &Type{kind: KindRecord, text: name, align: 1, fields: slices.Clone(fields)}
	for i := range t.fields {
		f := &t.fields[i]
		t.align = max(t.align, f.Type.align)
		f.Offset = alignUp(t.size, f.Type.align)
		t.size = f.Offset + f.Type.size
		t.flat = append(t.flat, f.Type.flat...)
	}
	t.size = alignUp(t.size, t.align)
	return t
}

// Variant describes a variant with these cases; their order is the
// discriminant. At most 256, so that the tag is one byte.
func Variant(name string, cases ...Case) *Type {
	t := &Type{kind: KindVariant, text: name, align: 1, cases: slices.Clone(cases), flat: []api.ValueType{api.ValueTypeI32}}
	var most uint32
	var joined []api.ValueType
	for _, c := range t.cases {
		if c.Type == nil {
			continue
		}
		t.align = max(t.align, c.Type.align)
		most = max(most, c.Type.size)
		joined = join(joined, c.Type.flat)
	}
	t.payload = alignUp(1, t.align)
	t.size = alignUp(t.payload+most, t.align)
	t.flat = append(t.flat, joined...)
	return t
}

// Option describes option<of>: case 0 is none, case 1 is some.
func Option(of *Type) *Type {
	return Variant("option<"+of.text+">", Case{Name: "none"}, Case{Name: "some", Type: of})
}

// Result describes result<ok, err>: case 0 is ok, case 1 is err. Either may be
// nil.
func Result(ok, err *Type) *Type {
	return Variant("result<"+textOf(ok)+", "+textOf(err)+">", Case{Name: "ok", Type: ok}, Case{Name: "err", Type: err})
}

// Enum describes an enum: a variant whose cases carry nothing.
func Enum(name string, cases ...string) *Type {
	all := make([]Case, len(cases))
	for i, c := range cases {
		all[i].Name = c
	}
	return Variant(name, all...)
}

// join merges the flat types of two cases of a variant: each position takes
// the type that holds both.
func join(a, b []api.ValueType) []api.ValueType {
	out := slices.Clone(a)
	for i, t := range b {
		switch {
		case i >= len(out):
			out = append(out, t)
		case out[i] != t:
			out[i] = api.ValueTypeI64
		}
	}
	return out
}

func alignUp(n, align uint32) uint32 { return (n + align - 1) &^ (align - 1) }

func textOf(t *Type) string {
	if t == nil {
		return "_"
	}
	return t.text
}

// Named returns the type under another name, as an interface text does with
// "type name = …".
func (t *Type) Named(name string) *Type {
	n := *t
	n.text = name
	return &n
}

// Kind returns the sort of the type.
func (t *Type) Kind() Kind { return t.kind }

// String returns the type as the interface text spells it.
func (t *Type) String() string { return textOf(t) }

// Size returns the bytes the type takes in memory.
func (t *Type) Size() uint32 { return t.size }

// Align returns its alignment in bytes.
func (t *Type) Align() uint32 { return t.align }

// Flat returns the core types it flattens to. The caller must not change it.
func (t *Type) Flat() []api.ValueType { return t.flat }

// Fields returns the fields of a record, with their offsets. The caller must
// not change it.
func (t *Type) Fields() []Field { return t.fields }

// Cases returns the cases of a variant, and at which offset their values
// stand. The caller must not change it.
func (t *Type) Cases() (cases []Case, payload uint32) { return t.cases, t.payload }

// Elem returns the element type of a list, nil for other types.
func (t *Type) Elem() *Type { return t.elem }

// Resource returns which resource an own or a borrow is a handle of, nil for
// other types.
func (t *Type) Resource() *Resource { return t.resource }

// field returns the field of that name. It panics where there is none: the
// names are constants of the host's own.
func (t *Type) field(name string) (f *Field, flat int) {
	for i := range t.fields {
		if t.fields[i].Name == name {
			return &t.fields[i], flat
		}
		flat += len(t.fields[i].Type.flat)
	}
	panic("abi: " + t.text + " has no field " + name)
}

// Has tells whether a record has a field of that name: revisions of an
// interface differ in them.
func (t *Type) Has(name string) bool {
	return slices.ContainsFunc(t.fields, func(f Field) bool { return f.Name == name })
}
