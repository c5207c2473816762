//go:build linux

package act

import (
	"testing"
)

// What files cost a spawn: one that the host places, one beside the entries of
// /etc, and the most that are allowed.
func BenchmarkSpawnWithFiles(b *testing.B) {
	env := []File{{EnvKey: "POLICY", Content: make([]byte, 4096)}}
	etc := []File{{Path: "/etc/vendor-tool/managed.json", Content: make([]byte, 4096)}}
	var most []File
	for i := range 128 {
		most = append(most, File{EnvKey: "F" + string(rune('A'+i/16)) + string(rune('A'+i%16)), Content: make([]byte, 128<<10)})
	}
	for _, c := range []struct {
		name  string
		files []File
	}{{"none", nil}, {"env-pointer", env}, {"fixed-path", etc}, {"128-of-16MiB", most}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHouse(b, IsolationPIDNS)
			for b.Loop() {
				s := h.spec("true")
				s.Files = c.files
				h.run(s)
			}
		})
	}
}
