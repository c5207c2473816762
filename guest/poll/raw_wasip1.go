package poll

//go:wasmimport astrid:io/poll@1.0.0 [method]pollable.ready
func rawReady(self uint32) uint32

//go:wasmimport astrid:io/poll@1.0.0 [method]pollable.block
func rawBlock(self, ret uint32)

//go:wasmimport astrid:io/poll@1.0.0 poll
func rawPoll(list, n, ret uint32)

//go:wasmimport astrid:io/poll@1.0.0 [resource-drop]pollable
func rawDrop(self uint32)
