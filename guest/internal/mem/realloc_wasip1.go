package mem

import (
	"sync"
	"unsafe"
)

// held keeps what the host was given reachable until the guest takes it: the
// host holds the only reference, which the garbage collector does not see.
var (
	mu   sync.Mutex
	held = map[uint32][]byte{}
)

// OnRealloc, if set, runs whenever the host asks for memory. It is for tests
// that collect garbage at the worst moment.
var OnRealloc func()

// addressOf returns where a slice begins. The collector does not move what is
// on the heap, and what a block holds is there.
func addressOf(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

func addressOfText(s string) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.StringData(s)))) }

// alloc returns n zero bytes at an address that is a multiple of 8.
func alloc(n int) ([]byte, uint32) {
	words := make([]uint64, (n+7)/8+1)
	p := unsafe.Pointer(&words[0])
	return unsafe.Slice((*byte)(p), n), uint32(uintptr(p))
}

// realloc is how the host gets memory.
//
//go:wasmexport cabi_realloc
func realloc(old, oldSize, align, size uint32) uint32 {
	if OnRealloc != nil {
		OnRealloc()
	}
	if size == 0 {
		return align
	}
	b, at := alloc(int(size))
	mu.Lock()
	defer mu.Unlock()
	if old != 0 {
		copy(b, held[old][:min(int(oldSize), len(held[old]))])
		delete(held, old)
	}
	held[at] = b
	return at
}

// Take returns the n bytes at an address that the host was given, and gives
// them to the caller.
func Take(at, n uint32) []byte {
	mu.Lock()
	defer mu.Unlock()
	b := held[at]
	delete(held, at)
	return b[:min(int(n), len(b))]
}

// Held returns how many pieces of memory the host was given and nobody took.
func Held() int {
	mu.Lock()
	defer mu.Unlock()
	return len(held)
}

var kept = map[uint32]*Block{}

// Keep hands a block to the host until [Release].
func Keep(k *Block) uint32 {
	mu.Lock()
	defer mu.Unlock()
	kept[k.base] = k
	return k.base
}

// Release ends what Keep began.
func Release(at uint32) {
	mu.Lock()
	defer mu.Unlock()
	delete(kept, at)
}
