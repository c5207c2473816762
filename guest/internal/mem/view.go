package mem

import (
	"encoding/binary"
	"unsafe"
)

// View is memory that the host has filled: a record, or the elements of a
// list. Strings and lists can be read once, since reading takes them out of
// what is kept for the host.
type View []byte

// U8 reads a byte.
func (v View) U8(at uint32) uint8 { return v[at] }

// Bool reads a bool.
func (v View) Bool(at uint32) bool { return v[at] != 0 }

// U32 reads four bytes.
func (v View) U32(at uint32) uint32 { return binary.LittleEndian.Uint32(v[at:]) }

// U64 reads eight bytes.
func (v View) U64(at uint32) uint64 { return binary.LittleEndian.Uint64(v[at:]) }

// Bytes takes the list<u8> whose address and length stand at an offset.
func (v View) Bytes(at uint32) []byte { return Take(v.U32(at), v.U32(at+4)) }

// Text takes the string whose address and length stand at an offset.
func (v View) Text(at uint32) string {
	// Nobody else knows the memory any more, so nobody writes to it.
	b := v.Bytes(at)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// List takes the list whose address and length stand at an offset, as one view
// for each element of size bytes.
func (v View) List(at, size uint32) []View {
	n := v.U32(at + 4)
	all := Take(v.U32(at), n*size)
	elements := make([]View, n)
	for i := range elements {
		elements[i] = all[uint32(i)*size : uint32(i+1)*size]
	}
	return elements
}

// ErrorCode reads an error-code, and takes the text that its last case, unknown,
// carries.
func (v View) ErrorCode(at uint32, unknown uint8) (code uint8, detail string) {
	code = v.U8(at)
	if code == unknown {
		detail = v.Text(at + 4)
	}
	return code, detail
}

// MaybeText takes an option<string>; some tells whether it is there.
func (v View) MaybeText(at uint32) (s string, some bool) {
	if !v.Bool(at) {
		return "", false
	}
	return v.Text(at + 4), true
}

// MaybeU32 reads an option<u32>, nil for none.
func (v View) MaybeU32(at uint32) *uint32 {
	if !v.Bool(at) {
		return nil
	}
	n := v.U32(at + 4)
	return &n
}

// MaybeU64 reads an option<u64>, nil for none.
func (v View) MaybeU64(at uint32) *uint64 {
	if !v.Bool(at) {
		return nil
	}
	n := v.U64(at + 8)
	return &n
}
