package abitest

import (
	"encoding/binary"
	"slices"
)

// Const pushes an i32.
func Const(v uint32) []byte { return append([]byte{0x41}, sleb(int64(int32(v)))...) }

// Const64 pushes an i64.
func Const64(v uint64) []byte { return append([]byte{0x42}, sleb(int64(v))...) }

// Get pushes a parameter or local.
func Get(local uint32) []byte { return append([]byte{0x20}, uleb(uint64(local))...) }

// Set pops into a local.
func Set(local uint32) []byte { return append([]byte{0x21}, uleb(uint64(local))...) }

// Call calls a function by index.
func Call(f uint32) []byte { return append([]byte{0x10}, uleb(uint64(f))...) }

// Load pops an address and pushes the i32 at it.
func Load() []byte { return []byte{0x28, 2, 0} }

// Load8 pops an address and pushes the byte at it.
func Load8() []byte { return []byte{0x2d, 0, 0} }

// Store pops a value and an address, and stores the i32.
func Store() []byte { return []byte{0x36, 2, 0} }

// Add, And, Drop, Trap and Grow are the instructions of (nearly) these names.
func Add() []byte  { return []byte{0x6a} }
func And() []byte  { return []byte{0x71} }
func Drop() []byte { return []byte{0x1a} }
func Trap() []byte { return []byte{0x00} }
func Grow() []byte { return []byte{0x40, 0} }

// TableGrow grows table 0 by n null elements and pushes its former size.
func TableGrow(n uint32) []byte {
	return slices.Concat([]byte{0xd0, 0x70}, Const(n), []byte{0xfc, 0x0f, 0})
}

// Forever loops over code without an end.
func Forever(code ...[]byte) []byte {
	return slices.Concat([]byte{0x03, 0x40}, slices.Concat(code...), []byte{0x0c, 0, 0x0b, 0x00})
}

// Bump adds an honest cabi_realloc that never frees: it hands out memory from
// the address on, and grows the memory as needed. It keeps its next address in
// the word at cell.
func (m *Module) Bump(cell, from uint32) {
	m.Data(cell, binary.LittleEndian.AppendUint32(nil, from))
	const align, size, at = 2, 3, 4
	m.Func("cabi_realloc", "iiii", "i", 1,
		// at = (next + align - 1) & -align
		Const(cell), Load(), Get(align), Add(), Const(^uint32(0)), Add(),
		Const(0), Get(align), []byte{0x6b}, And(), Set(at),
		Const(cell), Get(at), Get(size), Add(), Store(),
		// while the memory ends before the new next, grow by 16 pages
		[]byte{0x02, 0x40, 0x03, 0x40},
		Const(cell), Load(), []byte{0x3f, 0}, Const(16), []byte{0x74, 0x4d, 0x0d, 1},
		Const(16), Grow(), Const(^uint32(0)), []byte{0x46, 0x04, 0x40}, Trap(), []byte{0x0b},
		[]byte{0x0c, 0, 0x0b, 0x0b},
		Get(at))
}

// Image is guest memory being written by a test: values as a guest lays them
// out, from an address on.
type Image struct {
	Base uint32
	b    []byte
}

// Alloc reserves n zero bytes and returns their address.
func (i *Image) Alloc(n, align uint32) uint32 {
	for (i.Base+uint32(len(i.b)))%align != 0 {
		i.b = append(i.b, 0)
	}
	at := i.Base + uint32(len(i.b))
	i.b = append(i.b, make([]byte, n)...)
	return at
}

// Bytes returns the whole image; it goes to Base.
func (i *Image) Bytes() []byte { return i.b }

// U8, U32 and U64 store at an address inside the image.
func (i *Image) U8(at uint32, v uint8)   { i.b[at-i.Base] = v }
func (i *Image) U32(at, v uint32)        { binary.LittleEndian.PutUint32(i.b[at-i.Base:], v) }
func (i *Image) U64(at uint32, v uint64) { binary.LittleEndian.PutUint64(i.b[at-i.Base:], v) }

// Text stores a string: its bytes in fresh space, pointer and length at an
// address inside the image.
func (i *Image) Text(at uint32, s string) {
	p := i.Alloc(uint32(len(s)), 1)
	copy(i.b[p-i.Base:], s)
	i.U32(at, p)
	i.U32(at+4, uint32(len(s)))
}

// Texts stores a list of strings.
func (i *Image) Texts(at uint32, all ...string) {
	p := i.Alloc(uint32(8*len(all)), 4)
	i.U32(at, p)
	i.U32(at+4, uint32(len(all)))
	for n, s := range all {
		i.Text(p+uint32(8*n), s)
	}
}
