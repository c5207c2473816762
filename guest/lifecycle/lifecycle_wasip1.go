package lifecycle

import "github.com/astrid-os/processledger/guest/internal/mem"

//go:wasmexport astrid-install
func exportInstall() { export(install) }

//go:wasmexport astrid-upgrade
func exportUpgrade() { export(upgrade) }

func export(f func() error) {
	mem.Arrive()
	if err := perform(f); err != nil {
		panic(err)
	}
	mem.Leave()
}
