package process

//go:wasmimport astrid:process/host@1.0.0 spawn
func rawSpawn(req, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 spawn-background
func rawSpawnBackground(req, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.read-logs
func rawReadLogs(self, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.wait
func rawWait(self, some uint32, ms uint64, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.kill
func rawKill(self, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.os-pid
func rawOSPid(self, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [method]process-handle.signal
func rawSignal(self, sig, ret uint32)

//go:wasmimport astrid:process/host@1.0.0 [resource-drop]process-handle
func rawDrop(self uint32)
