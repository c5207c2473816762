package capsule_test

import (
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// section is a section of a component.
func section(id byte, body ...[]byte) []byte {
	all := slices.Concat(body...)
	return append(binary.AppendUvarint([]byte{id}, uint64(len(all))), all...)
}

// wrap makes a component of sections, as far as anybody looks at them.
func wrap(sections ...[]byte) []byte {
	return append([]byte("\x00asm\x0d\x00\x01\x00"), slices.Concat(sections...)...)
}

// tail is what the tools put behind the guest: an adapter, and how the modules
// are put together.
func tail() []byte {
	adapter := New()
	adapter.Func("fd_write", "iiii", "i", 0, Const(0))
	return slices.Concat(section(1, adapter.Bytes()), section(2, []byte{1, 0, 0}), section(0, []byte("\x04name...")))
}

func TestComponents(t *testing.T) {
	injects := section(7, []byte("...\x0ffile-injections..."))
	preview2 := func() []byte {
		g := newGuest()
		g.Import("wasi:cli/environment@0.2.3", "get-environment", "i", "")
		g.Import("wasi:io/poll@0.2.3", "poll", "iii", "")
		g.Bump(cellAt, heapAt)
		return g.hook()
	}
	for name, c := range map[string]struct {
		module []byte
		want   []string // what the refusal says; none: it is loaded
	}{
		"plain":       {wrap(section(7, []byte("types")), section(1, honest()), tail()), nil},
		"types last":  {wrap(section(1, honest()), injects[:3], []byte{0, 0}), []string{"cannot be read"}},
		"preview 2":   {wrap(section(1, preview2()), tail()), []string{"wasi:cli/environment@0.2.3 get-environment", "wasi:io/poll@0.2.3 poll"}},
		"none inside": {wrap(section(7, []byte("types"))), []string{"without a core module"}},
		"nested":      {wrap(section(4, wrap(section(1, honest())))), []string{"made of components"}},
		"unfrozen":    {wrap(injects, section(1, honest()), tail()), []string{"file-injections", "build it against 1.1.0"}},
		"lies":        {wrap([]byte{1, 0xff, 0xff, 3, 0}), []string{"cannot be read"}},
		"no module":   {wrap(section(1, []byte("\x00asm\x01\x00"))), []string{"cannot be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			put(t, dir, "wrapped", c.module)
			s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, MemoryBytes: 32 << 20})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(t.Context())
			if failed := s.Failed(); len(failed) != min(1, len(c.want)) {
				t.Fatalf("failed: %v", failed)
			}
			for _, want := range c.want {
				if text := s.Failed()[0].Error(); !strings.Contains(text, want) {
					t.Errorf("%s: no %q", text, want)
				}
			}
		})
	}
}

// TestComponentRuns: the guest in a component is called as it would be by
// itself, and its digest is the file's.
func TestComponentRuns(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "wrapped", wrap(section(7, []byte("types")), section(1, honest()), tail()))
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	a, err := r.Invoke(t.Context(), invocation("wrapped", "alice", "c"))
	if err != nil || a.Action != "continue" || string(a.Data) != "fine" {
		t.Errorf("answered %v, %v", a, err)
	}
}

// TestRealComponent is TestComponentRuns with what the usual tools have made;
// testdata/component/guest.c says how.
func TestRealComponent(t *testing.T) {
	module, err := os.ReadFile("testdata/component/guest.wasm")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir, "real", module)
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	a, err := r.Invoke(t.Context(), invocation("real", "alice", "c"))
	if err != nil || a.Action != "continue" || a.HasData {
		t.Errorf("answered %v, %v", a, err)
	}
	if got := strings.Join(h.noted(), "; "); got != "begin real go; spawn true [] for c; finish ok" {
		t.Errorf("the host saw %s", got)
	}
}
