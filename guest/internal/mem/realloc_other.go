//go:build !wasip1

package mem

// Outside of a capsule there is no host that reads memory, and addresses mean
// nothing; blocks can still be filled and read back.

func alloc(n int) ([]byte, uint32) { return make([]byte, n), 0 }

// Take returns nothing: no host has been given any memory.
func Take(_, _ uint32) []byte { return nil }

// Keep does nothing.
func Keep(k *Block) uint32 { return k.base }

// Release does nothing.
func Release(uint32) {}
