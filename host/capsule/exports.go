package capsule

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host/abi"
	"github.com/astrid-os/processledger/projector"
)

// The exports by which a capsule is called. Those without parameters are also
// the actions under which their calls are recorded.
const (
	hookExport    = "astrid-hook-trigger"
	postExport    = "cabi_post_astrid-hook-trigger"
	runExport     = "run"
	installExport = projector.ActionInstall
	upgradeExport = projector.ActionUpgrade
	startExport   = "_start"
)

// Forms are the ways in which a capsule can be called.
type Forms struct {
	Hook    bool // it answers invocations
	Run     bool // it runs in the background for as long as the daemon does
	Install bool // it is told once that it is there
	Upgrade bool // it is told that its module is another one
}

// checkExports tells how a module can be called, or what it lacks for that.
func checkExports(cm wazero.CompiledModule) (Forms, error) {
	funcs := cm.ExportedFunctions()
	f := Forms{
		Hook: funcs[hookExport] != nil, Run: funcs[runExport] != nil,
		Install: funcs[installExport] != nil, Upgrade: funcs[upgradeExport] != nil,
	}
	var errs []error
	switch {
	case funcs[startExport] != nil:
		errs = append(errs, errors.New("exports _start: it is a program that runs once; run it with astridctl run, or build it as a library (Go: -buildmode=c-shared)"))
	case !f.Hook && !f.Run:
		errs = append(errs, fmt.Errorf("exports neither the function %q nor %q; a capsule is called by one of them", hookExport, runExport))
	}
	return f, errors.Join(append(errs, checkSignatures(cm)...)...)
}

// checkSignatures tells which exports are missing or are not as they must be.
func checkSignatures(cm wazero.CompiledModule) (errs []error) {
	if cm.ExportedMemories()["memory"] == nil {
		errs = append(errs, abi.ErrNoMemory)
	}
	funcs := cm.ExportedFunctions()
	for _, w := range []struct {
		name            string
		params, results int
		hint            string // why it must be there; empty: it need not be
	}{
		{name: hookExport, params: 4, results: 1},
		{name: abi.ReallocExport, params: 4, results: 1, hint: "; the host cannot hand it a string without"},
		{name: postExport, params: 1},
		{name: runExport}, {name: installExport}, {name: upgradeExport}, {name: "_initialize"},
	} {
		f := funcs[w.name]
		switch {
		case f == nil && w.hint != "":
			errs = append(errs, fmt.Errorf("exports no function %q%s", w.name, w.hint))
		case f != nil && (!allI32(f.ParamTypes(), w.params) || !allI32(f.ResultTypes(), w.results)):
			errs = append(errs, fmt.Errorf("exports %s with another signature than %d i32 in and %d out", w.name, w.params, w.results))
		}
	}
	return errs
}

func allI32(types []api.ValueType, n int) bool {
	return len(types) == n && !slices.ContainsFunc(types, func(t api.ValueType) bool { return t != api.ValueTypeI32 })
}
