//go:build !wasip1

package process

// Outside of a capsule there is no host to call.

func rawSpawn(_, _ uint32)                    {}
func rawSpawnBackground(_, _ uint32)          {}
func rawReadLogs(_, _ uint32)                 {}
func rawWait(_, _ uint32, _ uint64, _ uint32) {}
func rawKill(_, _ uint32)                     {}
func rawOSPid(_, _ uint32)                    {}
func rawSignal(_, _, _ uint32)                {}
func rawDrop(uint32)                          {}
