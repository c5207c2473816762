package daemon

import (
	"testing"

	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// TestDueWithoutInstall: a capsule that has nothing to be installed is told all
// the same when its module is another one.
func TestDueWithoutInstall(t *testing.T) {
	s := projector.New()
	load := func(c *capsule.Capsule) {
		t.Helper()
		for _, e := range capsuleEvents(s, []*capsule.Capsule{c}) {
			e.Seq = s.Seq() + 1
			if err := s.Apply(e); err != nil {
				t.Fatal(err)
			}
		}
	}
	due := func(c *capsule.Capsule) capsule.Due { return dueOf(s, []*capsule.Capsule{c})[0] }
	of := func(sum string, f capsule.Forms) *capsule.Capsule {
		return &capsule.Capsule{Manifest: capsule.Manifest{Name: "kit", Version: "1"}, ModuleSHA256: []byte(sum), ManifestSHA256: []byte("m"), Forms: f}
	}
	start := &event.Event{Body: &event.DaemonStarted{}}
	start.Seq = 1
	if err := s.Apply(start); err != nil {
		t.Fatal(err)
	}
	one, two := of("one", capsule.Forms{Run: true, Upgrade: true}), of("two", capsule.Forms{Run: true, Upgrade: true})
	if due(one) != capsule.DueInstall {
		t.Error("a new capsule is not to be installed")
	}
	load(one)
	if due(one) != capsule.DueInstall { // which it has no export for
		t.Error("the same module is due otherwise")
	}
	if due(two) != capsule.DueUpgrade {
		t.Error("another module is no upgrade")
	}
	if due(of("two", capsule.Forms{Run: true, Install: true, Upgrade: true})) != capsule.DueInstall {
		t.Error("what was never installed is to be upgraded")
	}
}
