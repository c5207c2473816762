package sys

//go:wasmimport astrid:sys/host@1.0.0 get-config
func rawGetConfig(key string, ret uint32)

//go:wasmimport astrid:sys/host@1.0.0 get-caller
func rawGetCaller(ret uint32)

//go:wasmimport astrid:sys/host@1.0.0 log
func rawLog(level uint32, message string)

//go:wasmimport astrid:sys/host@1.0.0 signal-ready
func rawSignalReady()

//go:wasmimport astrid:sys/host@1.0.0 clock-ms
func rawClockMS() uint64

//go:wasmimport astrid:sys/host@1.0.0 clock-monotonic-ns
func rawClockMonotonicNS() uint64

//go:wasmimport astrid:sys/host@1.0.0 sleep-ns
func rawSleepNS(ns uint64, ret uint32)

//go:wasmimport astrid:sys/host@1.0.0 random-bytes
func rawRandomBytes(n uint64, ret uint32)

//go:wasmimport astrid:sys/host@1.0.0 check-capsule-capability
func rawCheckCapability(source, capability string, ret uint32)

//go:wasmimport astrid:sys/host@1.0.0 enumerate-capabilities
func rawEnumerateCapabilities(ret uint32)
