package bind

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// UnservedError names every import of a module that the host does not serve, as
// the module's author wrote it.
type UnservedError struct {
	// Imports are "MODULE NAME", where needed followed by ": WHY".
	Imports []string
}

// Error reads like "imports what this host does not serve: …; …".
func (e *UnservedError) Error() string {
	return "imports what this host does not serve: " + strings.Join(e.Imports, "; ")
}

// Link returns a core module whose imports are those of the revisions that it
// was built against, ready to be compiled and instantiated in the runtime, on
// which [Instantiate] was called. Nothing but names of imports differs from the
// module as it was; where none has to, it is that module itself.
//
// The error is an *[UnservedError], or says that the module cannot be read.
func Link(r wazero.Runtime, module []byte) ([]byte, error) {
	all, start, end, err := readImports(module)
	if err != nil {
		return nil, fmt.Errorf("is not a valid module: %w", err)
	}
	early := isEarly(all)
	var bad []string
	changed := false
	for n := range all {
		i := &all[n]
		written := *i
		i.name = copies.ReplaceAllString(i.name, "")
		module, known := resolve(i.module, early)
		if why, ok := served(r, module, known, *i); !ok {
			bad = append(bad, written.module+" "+written.name+why)
		}
		i.module = module
		changed = changed || i.module != written.module || i.name != written.name
	}
	if len(bad) > 0 {
		return nil, &UnservedError{Imports: slices.Compact(slices.Sorted(slices.Values(bad)))}
	}
	if !changed {
		return module, nil
	}
	return replaceImports(module, all, start, end), nil
}

// copies matches what the tool that makes components puts behind the name of an
// import that a module imports more than once.
var copies = regexp.MustCompile(` \[v[0-9]+\]$`)

// isEarly tells whether a module was built against 1.0.0 of the process
// interface as it was before it was frozen: under the name of 1.0.0, it takes
// the request of a spawn as 12 flat parameters.
func isEarly(all []imported) bool {
	return slices.ContainsFunc(all, func(i imported) bool {
		name := copies.ReplaceAllString(i.name, "")
		return i.module == process100 && (name == "spawn" || name == "spawn-background") && i.typ == earlySpawn
	})
}

// earlySpawn is the signature of the spawns of the 0.7 era.
var earlySpawn = signature(slices.Repeat([]api.ValueType{api.ValueTypeI32}, 13), nil)

// resolve returns the module that serves an import: for the revisions of the
// host, false if there is none of that name.
func resolve(module string, early bool) (string, bool) {
	if module == process100 && early {
		return process07, true
	}
	if slices.ContainsFunc(revisions, func(rev revision) bool { return rev.module == module && !rev.internal }) {
		return module, true
	}
	return module, !strings.HasPrefix(module, "astrid:")
}

// served tells whether an import is served by a module of the runtime, and says
// why not, where there is more to say.
func served(r wazero.Runtime, module string, known bool, i imported) (why string, ok bool) {
	if i.kind != 0 {
		return ": a " + [...]string{"function", "table", "memory", "global"}[i.kind], false
	}
	m := r.Module(module)
	if m == nil || !known {
		return otherVersions(module), false
	}
	f, ok := m.ExportedFunctionDefinitions()[i.name]
	if !ok {
		return otherEra(module), false
	}
	if s := signature(f.ParamTypes(), f.ResultTypes()); s != i.typ {
		return fmt.Sprintf(": imported as %s, served as %s", i.typ, s), false
	}
	return "", true
}

// otherVersions names the versions of an interface that are served, where the
// one that was asked for is not.
func otherVersions(module string) string {
	iface, _, _ := strings.Cut(module, "@")
	var have []string
	for _, rev := range revisions {
		if i, version, _ := strings.Cut(rev.module, "@"); i == iface && !rev.internal {
			have = append(have, version)
		}
	}
	if have == nil {
		return ""
	}
	return ": served are the versions " + strings.Join(have, ", ")
}

// otherEra says of a function that a revision lacks why that is, where it is no
// slip of the author's.
func otherEra(module string) string {
	if module == process07 {
		return ": not in 1.0.0 as its spawn was imported, with 13 parameters"
	}
	return ""
}

// replaceImports returns the module with other imports in their section, which
// stands at [start, end) of the module.
func replaceImports(module []byte, all []imported, start, end int) []byte {
	section := binary.AppendUvarint(nil, uint64(len(all)))
	for _, i := range all {
		for _, s := range []string{i.module, i.name} {
			section = append(binary.AppendUvarint(section, uint64(len(s))), s...)
		}
		section = append(section, i.desc...)
	}
	out := append(slices.Clone(module[:start]), importSection)
	out = append(binary.AppendUvarint(out, uint64(len(section))), section...)
	return append(out, module[end:]...)
}
