// Package mem is the guest's side of the canonical ABI: values laid out for the
// host to read, memory that the host asks for and fills, and whose turn it is
// to call the host. Offsets are the callers' business.
//
// Built for anything but wasip1 there is no host; addresses are then made up,
// so that what was laid out can be followed in tests.
package mem

import "encoding/binary"

// Block is memory for the host to read or fill, at a known address, with all
// that it points to. It does not move. The host may use the address while the
// block is reachable.
type Block struct {
	b    []byte
	base uint32
	held []any // what the block points to
}

// NewBlock returns size zero bytes, aligned to 8.
func NewBlock(size int) *Block {
	b, base := alloc(size)
	return &Block{b: b, base: base}
}

// Address returns where the block begins.
func (k *Block) Address() uint32 { return k.base }

// View returns the block as it is read.
func (k *Block) View() View { return k.b }

// U8 stores a byte.
func (k *Block) U8(at uint32, v uint8) { k.b[at] = v }

// U32 stores four bytes.
func (k *Block) U32(at, v uint32) { binary.LittleEndian.PutUint32(k.b[at:], v) }

// U64 stores eight bytes.
func (k *Block) U64(at uint32, v uint64) { binary.LittleEndian.PutUint64(k.b[at:], v) }

// Text stores a string: its address and length. It is not copied.
func (k *Block) Text(at uint32, s string) {
	k.held = append(k.held, s)
	k.U32(at, addressOfText(s))
	k.U32(at+4, uint32(len(s)))
}

// Bytes stores a list<u8>: its address and length. It is not copied.
func (k *Block) Bytes(at uint32, b []byte) {
	k.held = append(k.held, b)
	k.U32(at, addressOf(b))
	k.U32(at+4, uint32(len(b)))
}

// List stores a list of n elements of size bytes, and returns the memory of
// the elements.
func (k *Block) List(at uint32, n, size int) *Block {
	elements := NewBlock(n * size)
	k.held = append(k.held, elements)
	k.U32(at, elements.base)
	k.U32(at+4, uint32(n))
	return elements
}

// MaybeText stores an option<string>, none if s is empty.
func (k *Block) MaybeText(at uint32, s string) {
	if s != "" {
		k.U8(at, 1)
		k.Text(at+4, s)
	}
}

// MaybeU32 stores an option<u32>, none if v is 0.
func (k *Block) MaybeU32(at, v uint32) {
	if v != 0 {
		k.U8(at, 1)
		k.U32(at+4, v)
	}
}

// MaybeU64 stores an option<u64>, none if v is 0.
func (k *Block) MaybeU64(at uint32, v uint64) {
	if v != 0 {
		k.U8(at, 1)
		k.U64(at+8, v)
	}
}
