package host

import (
	"os/exec"
	"testing"
)

// BenchmarkSpawn is a recorded spawn and wait of /bin/true, beside the same by
// os/exec, unrecorded and uncontained, in the same run.
func BenchmarkSpawn(b *testing.B) {
	b.Run("recorded", func(b *testing.B) {
		w := newWorld(b)
		for b.Loop() {
			if _, err := w.host.Spawn(b.Context(), alice, Request{Cmd: "true"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("os-exec", func(b *testing.B) {
		for b.Loop() {
			if err := exec.Command("true").Run(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
