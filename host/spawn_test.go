package host

import (
	"strings"
	"testing"

	"github.com/astrid-os/processledger/ledger/event"
)

func TestSpawnRunsToTheEnd(t *testing.T) {
	w := newWorld(t)
	r := w.script("echo out; echo err >&2; pwd")
	got, err := w.host.Spawn(t.Context(), alice, r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Exit.Code == nil || *got.Exit.Code != 0 || string(got.Stderr) != "err\n" {
		t.Errorf("result %+v", got)
	}
	if want := "workspaces/alice/builder\n"; !strings.HasPrefix(string(got.Stdout), "out\n") || !strings.HasSuffix(string(got.Stdout), want) {
		t.Errorf("stdout %q, want out and …%s", got.Stdout, want)
	}
	if n := w.counts("alice").Total(); n != 0 {
		t.Errorf("%d slots taken after the end", n)
	}
}

// TestNobodyHoldsWhatWasLostAtItsStart has the shim die between go and the start:
// the caller is told so, and gets no handle, so none is held.
func TestNobodyHoldsWhatWasLostAtItsStart(t *testing.T) {
	w := newWorld(t, func(w *world) { w.shim = crashingShim() })
	for _, tier := range []event.Tier{event.TierBackground, event.TierPersistent} {
		if err := w.spawnTier(t.Context(), tier, w.script("true")); CodeOf(err) != Unknown {
			t.Errorf("%v: %v, want unknown", tier, err)
		}
	}
	w.until("nothing is held", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
	w.settled()
	if n := w.directories(); n != 0 {
		t.Errorf("%d directories are left", n)
	}
}
