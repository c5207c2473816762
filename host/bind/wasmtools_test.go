package bind

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.bytecodealliance.org/wit"
)

// TestLayoutsOfWasmTools: the interface texts are such that wasm-tools can read
// them, and the layouts and core signatures that are computed from them are
// those of the tables. It is another implementation of the canonical ABI.
func TestLayoutsOfWasmTools(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir()) // where it keeps what it compiled: for nobody else to run
	for _, rev := range revisions {
		dir := t.TempDir()
		place(t, texts[rev.module], dir)
		if rev.module != ioPoll {
			place(t, texts[ioPoll], filepath.Join(dir, "deps", "io"))
		}
		res, err := wit.LoadWIT(dir)
		if err != nil {
			t.Fatalf("%s: %v", texts[rev.module], err)
		}
		module := strings.TrimSuffix(rev.module, "+0.7")
		i := slices.IndexFunc(res.Interfaces, func(i *wit.Interface) bool {
			name := i.Package.Name
			name.Extension = *i.Name
			return name.String() == module
		})
		if i < 0 {
			t.Fatalf("%s holds no %s", texts[rev.module], module)
		}
		if d := cmp.Diff(theirs(res.Interfaces[i]), ours(rev)); d != "" {
			t.Errorf("%s (-wasm-tools +served):\n%s", rev.module, d)
		}
	}
}

// place copies an interface text into a directory of its own.
func place(t *testing.T, name, dir string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../wit", name))
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// theirs spells the layouts of an interface as wasm-tools has them, sorted.
func theirs(i *wit.Interface) (lines []string) {
	for name, def := range i.TypeDefs.All() {
		switch kind := def.Kind.(type) {
		case *wit.Resource, *wit.TypeDef: // the latter is used from elsewhere
			continue
		case *wit.Record:
			line, at := fmt.Sprintf("%s %d/%d", name, def.Size(), def.Align()), uintptr(0)
			for _, f := range kind.Fields {
				at = wit.Align(at, f.Type.Align())
				line, at = line+fmt.Sprintf(" %s %d", f.Name, at), at+f.Type.Size()
			}
			lines = append(lines, line)
		default:
			lines = append(lines, fmt.Sprintf("%s %d/%d", name, def.Size(), def.Align()))
		}
	}
	for _, f := range i.Functions.All() {
		core, line := f.CoreFunction(wit.Imported), f.Name
		for _, p := range core.Params {
			line += " " + flatOf(p.Type)
		}
		for _, r := range core.Results {
			line += " -> " + flatOf(r.Type)
		}
		if len(core.Results) == 0 && len(f.Results) > 0 {
			r := f.Results[0].Type
			line += fmt.Sprintf(" behind it %d/%d", r.Size(), r.Align())
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// flatOf spells the one core type of a core parameter.
func flatOf(t wit.Type) string {
	if t.Flat()[0].Size() == 8 {
		return "l"
	}
	return "i"
}

// ours spells the layouts of a revision in the same way.
func ours(rev revision) (lines []string) {
	for _, t := range namedTypes(rev) {
		line := fmt.Sprintf("%s %d/%d", t, t.Size(), t.Align())
		for _, f := range t.Fields() {
			line += fmt.Sprintf(" %s %d", f.Name, f.Offset)
		}
		lines = append(lines, line)
	}
	for _, f := range rev.funcs {
		if strings.HasPrefix(f.Name, "[resource-drop]") {
			continue // no function of the interface
		}
		params, results := letters(f)
		line := strings.TrimSuffix(f.Name+" "+strings.Join(strings.Split(params, ""), " "), " ")
		if results != "" {
			line += " -> " + results
		} else if r := f.Result(); r != nil {
			line += fmt.Sprintf(" behind it %d/%d", r.Size(), r.Align())
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}
