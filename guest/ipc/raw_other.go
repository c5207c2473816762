//go:build !wasip1

package ipc

// Outside of a capsule there is no host to call.

func rawPublish(_, _ string, _ uint32)      {}
func rawPublishAs(_, _, _ string, _ uint32) {}
func rawSubscribe(string, uint32)           {}
func rawPoll(_, _ uint32)                   {}
func rawRecv(uint32, uint64, uint32)        {}
func rawReadiness(uint32) uint32            { return 0 }
func rawDrop(uint32)                        {}
func rawBindings(uint32)                    {}
