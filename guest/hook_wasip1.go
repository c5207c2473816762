package guest

import "github.com/astrid-os/processledger/guest/internal/mem"

// hook is how the host calls the capsule. It returns the address of
// {action string, data option<string>}.
//
//go:wasmexport astrid-hook-trigger
func hook(action, actionLen, payload, payloadLen uint32) uint32 {
	returned, data := dispatch(string(mem.Take(action, actionLen)), mem.Take(payload, payloadLen))
	const record = 20
	k := mem.NewBlock(record+len(returned)+len(data), record)
	k.Text(0, returned)
	if data != nil {
		k.U8(8, 1)
		k.Text(12, string(data))
	}
	return mem.Keep(k)
}

// post is called when the host has read what hook returned.
//
//go:wasmexport cabi_post_astrid-hook-trigger
func post(result uint32) { mem.Release(result) }
