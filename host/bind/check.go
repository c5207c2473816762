package bind

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// UnservedError names every import of a module that the host does not serve.
type UnservedError struct {
	// Imports are "MODULE NAME", where needed followed by ": WHY".
	Imports []string
}

// Error reads like "imports what this host does not serve: …; …".
func (e *UnservedError) Error() string {
	return "imports what this host does not serve: " + strings.Join(e.Imports, "; ")
}

// Check compares a module's imports with what the runtime serves. module is
// the binary that cm was compiled from. It returns nil or an *[UnservedError].
func Check(r wazero.Runtime, cm wazero.CompiledModule, module []byte) error {
	var bad []string
	for _, f := range cm.ImportedFunctions() {
		if why := unserved(r, f); why != "" {
			bad = append(bad, why)
		}
	}
	others, err := otherImports(module)
	if err != nil {
		return fmt.Errorf("read imports: %w", err)
	}
	if bad = append(bad, others...); len(bad) > 0 {
		return &UnservedError{Imports: slices.Compact(slices.Sorted(slices.Values(bad)))}
	}
	return nil
}

// unserved says what is wrong with an imported function, or nothing.
func unserved(r wazero.Runtime, f api.FunctionDefinition) string {
	module, name, _ := f.Import()
	m := r.Module(module)
	if m == nil {
		return module + " " + name + otherVersions(module)
	}
	served, ok := m.ExportedFunctionDefinitions()[name]
	if !ok {
		return module + " " + name
	}
	if slices.Equal(served.ParamTypes(), f.ParamTypes()) && slices.Equal(served.ResultTypes(), f.ResultTypes()) {
		return ""
	}
	return fmt.Sprintf("%s %s: imported as %s, served as %s", module, name, signature(f), signature(served))
}

// otherVersions names the versions of an interface that are served, where the
// one that was asked for is not.
func otherVersions(module string) string {
	iface, _, _ := strings.Cut(module, "@")
	var have []string
	for _, rev := range revisions {
		if i, version, _ := strings.Cut(rev.module, "@"); i == iface {
			have = append(have, version)
		}
	}
	if have == nil {
		return ""
	}
	return ": served are the versions " + strings.Join(have, ", ")
}

func signature(f api.FunctionDefinition) string {
	spell := func(types []api.ValueType) string {
		var names []string
		for _, t := range types {
			names = append(names, api.ValueTypeName(t))
		}
		return "(" + strings.Join(names, ",") + ")"
	}
	return spell(f.ParamTypes()) + "->" + spell(f.ResultTypes())
}

var errShort = errors.New("section ends early")

// otherImports names the imported memories, tables and globals of a module:
// none is served, and wazero tells of one at a time.
func otherImports(module []byte) (found []string, err error) {
	r := &reader{b: module[min(8, len(module)):]}
	for len(r.b) > 0 && r.err == nil {
		id := r.byte()
		body := r.take(r.count())
		if id != 2 {
			continue
		}
		s := &reader{b: body}
		for n := s.count(); n > 0 && s.err == nil; n-- {
			mod, name, kind := s.name(), s.name(), s.byte()
			if what := s.skipType(kind); what != "" {
				found = append(found, mod+" "+name+": a "+what)
			}
		}
		return found, s.err
	}
	return nil, r.err
}

// reader reads the binary format. After an error everything reads as zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail() { r.b, r.err = nil, errShort }

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) count() int {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<32 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int(v)
}

func (r *reader) take(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) name() string { return string(r.take(r.count())) }

// skipType reads what follows the kind of an import and names the kind, unless
// it is a function.
func (r *reader) skipType(kind byte) string {
	switch kind {
	case 0:
		r.count()
		return ""
	case 1:
		r.byte()
		r.skipLimits()
		return "table"
	case 2:
		r.skipLimits()
		return "memory"
	case 3:
		r.byte()
		r.byte()
		return "global"
	default:
		r.fail()
		return "thing of an unknown kind"
	}
}

func (r *reader) skipLimits() {
	flags := r.byte()
	r.count()
	if flags&1 != 0 {
		r.count()
	}
}
