//go:build !wasip1

package sys

// Outside of a capsule there is no host to call.

func rawGetConfig(string, uint32)               {}
func rawGetCaller(uint32)                       {}
func rawLog(uint32, string)                     {}
func rawSignalReady()                           {}
func rawClockMS() uint64                        { return 0 }
func rawClockMonotonicNS() uint64               { return 0 }
func rawSleepNS(uint64, uint32)                 {}
func rawRandomBytes(uint64, uint32)             {}
func rawCheckCapability(string, string, uint32) {}
func rawEnumerateCapabilities(uint32)           {}
