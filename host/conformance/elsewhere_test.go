package conformance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestElsewhereIsThere follows what the items that no guest can see refer to: a
// test of another room, or the words of a file.
func TestElsewhereIsThere(t *testing.T) {
	for _, where := range elsewhere {
		place, what, _ := strings.Cut(where, ": ")
		what, _, _ = strings.Cut(what, " (")
		if !strings.HasPrefix(what, "Test") {
			hasText(t, what, filepath.Join("..", "..", place))
			continue
		}
		tests, err := filepath.Glob(filepath.Join("..", "..", place, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for name := range strings.SplitSeq(what, ", ") {
			hasText(t, "func "+name+"(", tests...)
		}
	}
}

// hasText holds that one of the files has the text.
func hasText(t *testing.T, text string, files ...string) {
	t.Helper()
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return
		}
	}
	t.Errorf("%q is said to be in %q, and is not", text, files)
}
