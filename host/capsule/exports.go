package capsule

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/astrid-os/processledger/host/abi"
)

// The exports by which a capsule is called.
const (
	hookExport = "astrid-hook-trigger"
	postExport = "cabi_post_astrid-hook-trigger"
)

// checkExports tells what a module lacks to be called.
func checkExports(cm wazero.CompiledModule) error {
	want := []struct {
		name            string
		params, results int
		optional        bool
		hint            string
	}{
		{name: hookExport, params: 4, results: 1, hint: "; that is how a capsule is called"},
		{name: abi.ReallocExport, params: 4, results: 1, hint: "; the host cannot hand it a string without"},
		{name: postExport, params: 1, optional: true},
		{name: "_initialize", optional: true},
	}
	var errs []error
	if cm.ExportedMemories()["memory"] == nil {
		errs = append(errs, abi.ErrNoMemory)
	}
	funcs := cm.ExportedFunctions()
	if funcs["_start"] != nil {
		errs = append(errs, errors.New("exports _start: it is a program that runs once; build it as a library (Go: -buildmode=c-shared)"))
	}
	for _, w := range want {
		f := funcs[w.name]
		switch {
		case f == nil && !w.optional:
			errs = append(errs, fmt.Errorf("exports no function %q%s", w.name, w.hint))
		case f != nil && (!allI32(f.ParamTypes(), w.params) || !allI32(f.ResultTypes(), w.results)):
			errs = append(errs, fmt.Errorf("exports %s with another signature than %d i32 in and %d out", w.name, w.params, w.results))
		}
	}
	return errors.Join(errs...)
}

func allI32(types []api.ValueType, n int) bool {
	return len(types) == n && !slices.ContainsFunc(types, func(t api.ValueType) bool { return t != api.ValueTypeI32 })
}
