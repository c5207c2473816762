package capsule_test

import (
	"testing"

	"github.com/astrid-os/processledger/host/capsule"
)

// BenchmarkInvoke is an invocation of an assembled guest that spawns once, on a
// host that does nothing: what this package and the ABI cost.
func BenchmarkInvoke(b *testing.B) {
	dir := b.TempDir()
	put(b, dir, "honest", honest())
	s, err := capsule.Load(b.Context(), capsule.LoadOptions{Dir: dir})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	r := capsule.NewRunner(s, &idleHost{}, capsule.RunOptions{})
	defer r.Close(b.Context())
	for b.Loop() {
		if _, err := r.Invoke(b.Context(), invocation("honest", "alice", "c")); err != nil {
			b.Fatal(err)
		}
	}
}
