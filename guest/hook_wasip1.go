package guest

import "github.com/astrid-os/processledger/guest/internal/mem"

// hook is how the host calls the capsule. It returns the address of
// {action string, data option<string>}.
//
//go:wasmexport astrid-hook-trigger
func hook(action, actionLen, payload, payloadLen uint32) uint32 {
	mem.Arrive()
	a := Dispatch(string(mem.Take(action, actionLen)), mem.Take(payload, payloadLen))
	k := mem.NewBlock(20)
	k.Text(0, a.Action)
	if a.Data != nil {
		k.U8(8, 1)
		k.Bytes(12, a.Data)
	}
	at := mem.Keep(k)
	mem.Leave()
	return at
}

// post is called when the host has read what hook returned.
//
//go:wasmexport cabi_post_astrid-hook-trigger
func post(result uint32) { mem.Release(result) }
