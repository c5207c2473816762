//go:build linux

package act

import (
	"testing"
	"time"
)

// BenchmarkSpawnWithFiles compares, turn by turn in one run, a spawn without a
// file with one of each kind: a file that the host places, one beside the
// entries of /etc, and as many and as large as are allowed.
func BenchmarkSpawnWithFiles(b *testing.B) {
	h := newHouse(b, IsolationPIDNS)
	var most []File
	for i := range 128 {
		most = append(most, File{EnvKey: "F" + string(rune('A'+i/16)) + string(rune('A'+i%16)), Content: make([]byte, 128<<10)})
	}
	kinds := []struct {
		name  string
		files []File
		took  []time.Duration
	}{
		{name: "none"}, {name: "env-pointer", files: []File{{EnvKey: "POLICY", Content: make([]byte, 4096)}}},
		{name: "fixed-path", files: []File{{Path: "/etc/vendor-tool/managed.json", Content: make([]byte, 4096)}}},
		{name: "128-of-16MiB", files: most},
	}
	for b.Loop() {
		for i := range kinds {
			s := h.spec("/bin/true")
			s.Files = kinds[i].files
			begin := time.Now()
			h.run(s)
			kinds[i].took = append(kinds[i].took, time.Since(begin))
		}
	}
	none := median(kinds[0].took)
	b.ReportMetric(none.Seconds()*1e3, "none-ms")
	for _, k := range kinds[1:] {
		b.ReportMetric(float64(median(k.took))/float64(none), k.name+"/none")
	}
}
