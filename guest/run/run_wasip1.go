package run

import "github.com/astrid-os/processledger/guest/internal/mem"

// export is how the host starts the capsule's own work.
//
//go:wasmexport run
func export() {
	mem.Arrive()
	if err := perform(); err != nil {
		panic(err)
	}
	mem.Leave()
}
