package bind

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"

	. "github.com/astrid-os/processledger/host/abi/abitest"
)

const early = "iiiiiiiiiiiii"

// anonymous is for guests that live beside each other.
var anonymous = wazero.NewModuleConfig().WithName("")

func TestUnservedImportsAreAllNamed(t *testing.T) {
	r := newRuntime(t)
	for name, c := range map[string]struct {
		imports [][3]string
		want    []string
	}{
		"of 1.0.0": {
			[][3]string{
				{process100, "spawn", "iii"}, {process100, "spawn-background", "ii"}, {process100, "fork", "ii"},
				{"astrid:process/host@1.2.0", "spawn", "ii"}, {process07, "spawn", early},
				{"astrid:http/host@1.0.0", "fetch", "ii"}, {"wasi:io/poll@0.2.0", "poll", "iii"}, {"env", "f [v2]", ""},
			},
			[]string{
				"astrid:http/host@1.0.0 fetch",
				"astrid:process/host@1.0.0 fork",
				"astrid:process/host@1.0.0 spawn: imported as (i32,i32,i32)->(), served as (i32,i32)->()",
				"astrid:process/host@1.0.0+0.7 spawn: served are the versions 1.0.0, 1.1.0",
				"astrid:process/host@1.2.0 spawn: served are the versions 1.0.0, 1.1.0",
				"env __stack_pointer: a global",
				"env f [v2]",
				"wasi:io/poll@0.2.0 poll",
			},
		},
		"of the 0.7 era": {
			[][3]string{{process100, "spawn", early}, {process100, "spawn-background", "ii"}, {process100, "attach", "iii"}},
			[]string{
				"astrid:process/host@1.0.0 attach: not in 1.0.0 as its spawn was imported, with 13 parameters",
				"astrid:process/host@1.0.0 spawn-background: imported as (i32,i32)->(), served as (" + strings.TrimSuffix(strings.Repeat("i32,", 13), ",") + ")->()",
				"env __stack_pointer: a global",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := New()
			for _, i := range c.imports {
				m.Import(i[0], i[1], i[2], "")
			}
			m.ImportGlobal("env", "__stack_pointer")
			linked, err := Link(r, m.Bytes())
			var unserved *UnservedError
			if !errors.As(err, &unserved) || linked != nil {
				t.Fatalf("error %v", err)
			}
			if !slices.Equal(unserved.Imports, c.want) {
				t.Errorf("unserved:\n%s\nwant:\n%s", strings.Join(unserved.Imports, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

// TestLinkChangesNamesAlone: a module that needs no change is itself; what a
// module imports twice, or of the 0.7 era, gets its names and works.
func TestLinkChangesNamesAlone(t *testing.T) {
	r := newRuntime(t)
	plain := guestOf(process100, process110, ioPoll).Bytes()
	if linked, err := Link(r, plain); err != nil || &linked[0] != &plain[0] {
		t.Errorf("a module that needs no change: %v", err)
	}
	m := New()
	m.Import(process100, "spawn-background [v1]", early, "")
	m.Import(process100, "spawn-background [v2]", early, "")
	m.Import(process100, "[method]process-handle.kill", "ii", "")
	m.Import(ioPoll, "[method]pollable.ready", "i", "i")
	m.Bump(16, heapAt)
	before := m.Bytes()
	linked, err := Link(r, before)
	if err != nil {
		t.Fatal(err)
	}
	cm, err := r.CompileModule(t.Context(), linked)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range cm.ImportedFunctions() {
		module, name, _ := f.Import()
		got = append(got, module+" "+name)
	}
	want := []string{process07 + " spawn-background", process07 + " spawn-background", process07 + " [method]process-handle.kill", ioPoll + " [method]pollable.ready"}
	if !slices.Equal(got, want) {
		t.Errorf("imports %q", got)
	}
	if cm.ExportedFunctions()["cabi_realloc"] == nil || cm.ExportedMemories()["memory"] == nil {
		t.Error("the rest of the module is lost")
	}
}

// TestBothVersionsInOneGuest: each import goes by the layout of its own
// version, and a handle of one version is none of the other.
func TestBothVersionsInOneGuest(t *testing.T) {
	m := New()
	m.Memory(64, 0)
	m.Import(process100, "spawn-background", "ii", "")
	m.Import(process110, "spawn-background", "ii", "")
	m.Import(process110, "[method]process-handle.os-pid", "ii", "")
	m.Bump(16, heapAt)
	m.Func("old", "ii", "", 0, Get(0), Get(1), Call(0))
	m.Func("new", "ii", "", 0, Get(0), Get(1), Call(1))
	m.Func(".os-pid", "ii", "", 0, Get(0), Get(1), Call(2))
	r := newRuntime(t)
	w := newWorldOn(t, &fake{}, nil, r, process100)
	for name, im := range map[string]*Image{"old": fullOf(request100), "new": fullOf(request110)} {
		mod, err := r.InstantiateWithConfig(t.Context(), m.Bytes(), anonymous)
		if err != nil {
			t.Fatal(err)
		}
		w.mod, w.in.guest = mod, nil
		mod.Memory().Write(im.Base, im.Bytes())
		w.call(name, reqAt, retAt)
		h := uint64(w.word(retAt + 4))
		if len(w.f.got.Files) != map[string]int{"old": 0, "new": 2}[name] || *w.f.got.ExitRetentionMS != 9 {
			t.Errorf("%s: %+v", name, w.f.got)
		}
		if err := w.try(".os-pid", h, retAt); (err == nil) != (name == "new") {
			t.Errorf("%s handle used as one of 1.1.0: %v", name, err)
		}
	}
}

// FuzzLink: the reader of imports survives anything, and what it rewrites it
// can read again.
func FuzzLink(f *testing.F) {
	m := New()
	m.Import("a", "b [v1]", "i", "i")
	m.ImportGlobal("env", "g")
	f.Add(m.Bytes())
	f.Add(guestOf(process07).Bytes())
	f.Add(binary.AppendUvarint([]byte("\x00asm\x01\x00\x00\x00\x02"), math.MaxUint64))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, start, end, err := readImports(b)
		if err != nil || end == 0 {
			return
		}
		again, _, _, err := readImports(replaceImports(b, all, start, end))
		if err != nil || len(again) != len(all) {
			t.Errorf("%d imports became %d, %v", len(all), len(again), err)
		}
	})
}
