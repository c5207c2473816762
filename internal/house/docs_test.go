package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{"..", ".."}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestEveryDependencyHasAReason holds go.mod's direct requirements against the
// table in docs/WHY.md, both ways.
func TestEveryDependencyHasAReason(t *testing.T) {
	_, table, found := strings.Cut(read(t, "docs", "WHY.md"), "## Why each dependency?")
	if !found {
		t.Fatal("docs/WHY.md has no table of dependencies")
	}
	direct := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		direct[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`(?m)^tool (\S+)/cmd/\S+$`).FindAllStringSubmatch(read(t, "go.mod"), -1) {
		direct[m[1]] = true
	}
	for name := range direct {
		if !strings.Contains(table, name) {
			t.Errorf("%s is required, and docs/WHY.md does not say why", name)
		}
	}
	for _, name := range regexp.MustCompile(`(?:[a-z]+\.)+[a-z]+(?:/[A-Za-z0-9._-]+)+`).FindAllString(table, -1) {
		if !direct[name] && !direct[name+"/v2"] {
			t.Errorf("docs/WHY.md gives a reason for %s, which is not required", name)
		}
	}
}

// TestLinksOfDocsExist follows the README's and the docs' relative links.
func TestLinksOfDocsExist(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^):#]+)[^)]*\)`)
	for _, doc := range []string{"README.md", "docs/WHY.md", "docs/EVENTS.md", "docs/CLI-JSON.md", "docs/BENCHMARKS.md", "docs/GUESTS.md", "docs/OPERATIONS.md"} {
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			target := filepath.Join("..", "..", filepath.Dir(doc), m[1])
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}
