package ipc

//go:wasmimport astrid:ipc/host@1.0.0 publish
func rawPublish(topic, payload string, ret uint32)

//go:wasmimport astrid:ipc/host@1.0.0 publish-as
func rawPublishAs(topic, payload, principal string, ret uint32)

//go:wasmimport astrid:ipc/host@1.0.0 subscribe
func rawSubscribe(pattern string, ret uint32)

//go:wasmimport astrid:ipc/host@1.0.0 [method]subscription.poll
func rawPoll(self, ret uint32)

//go:wasmimport astrid:ipc/host@1.0.0 [method]subscription.recv
func rawRecv(self uint32, ms uint64, ret uint32)

//go:wasmimport astrid:ipc/host@1.0.0 [method]subscription.subscribe-readiness
func rawReadiness(self uint32) uint32

//go:wasmimport astrid:ipc/host@1.0.0 [resource-drop]subscription
func rawDrop(self uint32)

//go:wasmimport astrid:ipc/host@1.0.0 get-interceptor-bindings
func rawBindings(ret uint32)
