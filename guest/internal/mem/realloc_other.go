//go:build !wasip1

package mem

import (
	"slices"
	"sync"
)

// Inside tells whether there is a host to call.
const Inside = false

// Enter does nothing: there is no host.
func Enter(func()) {}

// space is a made-up address space.
var space = struct {
	sync.Mutex
	next uint32
	at   map[uint32][]byte
}{next: 1 << 16, at: map[uint32][]byte{}}

// addressOf gives a slice an address, 0 if it is empty.
func addressOf(b []byte) uint32 {
	if len(b) == 0 {
		return 0
	}
	space.Lock()
	defer space.Unlock()
	at := space.next
	space.at[at] = b
	space.next = (at + uint32(len(b)) + 7) &^ 7
	return at
}

func addressOfText(s string) uint32 { return addressOf([]byte(s)) }

func alloc(n int) ([]byte, uint32) {
	b := make([]byte, n)
	return b, addressOf(b)
}

// Take returns the n bytes at an address, and forgets it.
func Take(at, n uint32) []byte {
	space.Lock()
	defer space.Unlock()
	b := space.at[at]
	delete(space.at, at)
	return b[:min(int(n), len(b))]
}

// Give is what the host does: it stores a list or a string where the guest
// will take it.
func Give(k *Block, at uint32, content []byte) { k.Bytes(at, slices.Clone(content)) }
