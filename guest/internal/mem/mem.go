// Package mem is the guest's side of the canonical ABI: memory that the host
// asks for, and values laid out for the host to read.
package mem

import "encoding/binary"

// Block is memory for the host to read or fill, at a known address. It is on
// the heap and does not move; it must be kept reachable while the host uses
// the address.
type Block struct {
	b    []byte
	base uint32
	used uint32
}

// NewBlock returns size zero bytes, aligned to 8, the first reserved of them
// taken for a record at offset 0.
func NewBlock(size, reserved int) *Block {
	b, base := alloc(size)
	return &Block{b: b, base: base, used: uint32(reserved)}
}

// Address returns where the block begins.
func (k *Block) Address() uint32 { return k.base }

// U8 stores a byte.
func (k *Block) U8(at uint32, v uint8) { k.b[at] = v }

// U32 stores four bytes.
func (k *Block) U32(at, v uint32) { binary.LittleEndian.PutUint32(k.b[at:], v) }

// U64 stores eight bytes.
func (k *Block) U64(at uint32, v uint64) { binary.LittleEndian.PutUint64(k.b[at:], v) }

// GetU8 reads a byte.
func (k *Block) GetU8(at uint32) uint8 { return k.b[at] }

// GetU32 reads four bytes.
func (k *Block) GetU32(at uint32) uint32 { return binary.LittleEndian.Uint32(k.b[at:]) }

// Reserve takes n more bytes and returns their offset.
func (k *Block) Reserve(n, align uint32) uint32 {
	at := (k.used + align - 1) &^ (align - 1)
	k.used = at + n
	return at
}

// Text copies a string into the block and stores its address and length at an
// offset.
func (k *Block) Text(at uint32, s string) {
	p := k.Reserve(uint32(len(s)), 1)
	copy(k.b[p:], s)
	k.U32(at, k.base+p)
	k.U32(at+4, uint32(len(s)))
}

// Taken returns the string or list whose address and length stand at an offset.
// The host has put it into memory that it asked for.
func (k *Block) Taken(at uint32) []byte { return Take(k.GetU32(at), k.GetU32(at+4)) }

// TakenText is Taken for a string.
func (k *Block) TakenText(at uint32) string { return string(k.Taken(at)) }
