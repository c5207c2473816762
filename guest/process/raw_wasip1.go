package process

//go:wasmimport astrid:process/host@1.1.0 spawn
func rawSpawn(req, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 spawn-background
func rawSpawnBackground(req, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 spawn-persistent
func rawSpawnPersistent(req, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.read-logs
func rawReadLogs(self, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.write-stdin
func rawHandleWrite(self uint32, bytes string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.close-stdin
func rawHandleCloseStdin(self, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.signal
func rawHandleSignal(self, sig, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.kill
func rawKill(self, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.wait
func rawHandleWait(self, some uint32, ms uint64, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.wait-with-output
func rawWaitWithOutput(self, some uint32, ms uint64, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.os-pid
func rawOSPid(self, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.subscribe-exit
func rawSubscribeExit(self uint32) uint32

//go:wasmimport astrid:process/host@1.1.0 [method]process-handle.subscribe-logs
func rawSubscribeLogs(self uint32) uint32

//go:wasmimport astrid:process/host@1.1.0 [resource-drop]process-handle
func rawDrop(self uint32)

//go:wasmimport astrid:process/host@1.1.0 attach
func rawAttach(id string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 list-processes
func rawList(some uint32, label string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 status
func rawStatus(id string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 status-many
func rawStatusMany(list, n, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 read-logs
func rawReadLogsByID(id string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 read-since
func rawReadSince(id string, stream, some uint32, token string, most, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 write-stdin
func rawWriteStdin(id, bytes string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 close-stdin
func rawCloseStdin(id string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 signal
func rawSignal(id string, sig, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 wait
func rawWait(id string, ms uint64, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 stop
func rawStop(id string, some uint32, ms uint64, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 release-process
func rawRelease(id string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 watch
func rawWatch(id string, some uint32, suffix string, ret uint32)

//go:wasmimport astrid:process/host@1.1.0 unwatch
func rawUnwatch(id string, ret uint32)
