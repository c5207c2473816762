//go:build !wasip1

package poll

// Outside of a capsule there is no host to call.

func rawReady(uint32) uint32 { return 0 }
func rawBlock(_, _ uint32)   {}
func rawPoll(_, _, _ uint32) {}
func rawDrop(uint32)         {}
