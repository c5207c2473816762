package powercut

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
)

// testKeys: the daemon is killed when it has just named a key, and the
// next one takes the key as it finds it. Once that one is ready, what it keys
// can be read after a power cut: the key is there, whole.
func (rec *recording) testKeys(t *testing.T) {
	const key = "data/keys/process-ids" // the last that is made
	cut := 0
	for _, o := range rec.h.ops {
		if o.kind == opRename && o.toName == filepath.Base(key) {
			cut = o.exit + 1
		}
	}
	if cut == 0 {
		t.Fatal("the story makes no key")
	}
	site := daemontest.NewSite(t)
	if err := NewReplayer(rec.h).State(cut, Strict, Pickers(0)[1]).Lay(site.Dir, "", []string{"data"}, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(site.Dir, key))
	if err != nil {
		t.Fatal(err)
	}
	h := rec.h.Continue(cut, site.Dir)
	s := newStage(t, site)
	s.start(t)
	s.end(t, syscall.SIGTERM)
	calls, end := s.close(t)
	if err := h.Take(calls, end); err != nil {
		t.Fatal(err)
	}
	ready := end
	for _, c := range calls {
		if _, ok := toClient(c); ok && bytes.Contains(c.Args[1].Str, []byte(`"phase":"ready"`)) {
			ready = min(ready, c.Enter)
		}
	}
	r := NewReplayer(h)
	for _, cut := range r.Cuts() {
		for _, p := range Pickers(uint64(cut)) {
			state := r.State(cut, Strict, p)
			if f := state.files[key]; cut > ready && (f == nil || !bytes.Equal(f.data, want)) {
				t.Fatalf("%v: the key is gone; there are %s", state, strings.Join(state.dirs, " "))
			}
		}
	}
	if ready == end {
		t.Error("the second daemon told nobody that it is ready: the trace is not understood")
	}
}
