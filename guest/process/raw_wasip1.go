package process

import "sync"

// leaving is held during a call of the host. While the host answers it calls
// cabi_realloc in here, and the runtime may let other goroutines run then: one
// that called the host as well would call it out of cabi_realloc, which traps.
var leaving sync.Mutex

// enter calls the host.
func enter(raw func()) bool {
	leaving.Lock()
	defer leaving.Unlock()
	raw()
	return true
}

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
