package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWhereToLookIsTrue holds that a package comment that says where to look
// names each file of its package, and none that is gone.
func TestWhereToLookIsTrue(t *testing.T) {
	file := regexp.MustCompile(`[a-z0-9_]+\.go\b`)
	for _, p := range listed(t) {
		if !slices.Contains(p.GoFiles, "doc.go") {
			continue
		}
		text := read(t, p.room(), "doc.go")
		if !strings.Contains(text, "Where to look:") {
			continue
		}
		named := file.FindAllString(text, -1)
		for _, f := range p.GoFiles {
			if f != "doc.go" && !slices.Contains(named, f) {
				t.Errorf("%s: doc.go does not say what %s is for", p.room(), f)
			}
		}
		for _, f := range named {
			if !slices.Contains(p.GoFiles, f) {
				t.Errorf("%s: doc.go names %s, which is not there", p.room(), f)
			}
		}
	}
}

// TestSuitesAreListed holds that internal/suites names each of its suites.
func TestSuitesAreListed(t *testing.T) {
	text := read(t, "internal", "suites", "doc.go")
	entries, err := os.ReadDir(filepath.Join("..", "suites"))
	if err != nil {
		t.Fatal(err)
	}
	suites := map[string]bool{}
	for _, e := range entries {
		suites[e.Name()] = e.IsDir()
	}
	named := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//   - ([a-z]+):`).FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
		if !suites[m[1]] {
			t.Errorf("internal/suites/doc.go names %s, which is not there", m[1])
		}
	}
	for name, is := range suites {
		if is && !named[name] {
			t.Errorf("internal/suites/doc.go does not say what %s is for", name)
		}
	}
}
