package projector

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what the scenarios in testdata print now; read the diff before you keep it")

// TestScenarios runs the files of testdata/scenarios. Each is a list of
// commands with the output expected below them:
//
//	# a comment
//	spawn p1 principal=alice
//	----
//	3 spawn.requested p1
//	4 spawn.decided p1: granted
//
// Output ends at the first empty line. The commands are the methods in
// scenario_commands_test.go; they decide through a Live on a real ledger, with
// a clock that stands still but for "advance" and "step".
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 12 {
		t.Errorf("only %d scenarios found", len(files))
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			runScenario(t, path)
		})
	}
}

func runScenario(t *testing.T, path string) {
	src, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blocks := parseScenario(t, path, string(src))
	env := newScenario(t)
	var out bytes.Buffer
	for _, b := range blocks {
		got := env.run(b.command)
		fmt.Fprintf(&out, "%s%s\n----\n%s\n", b.before, b.command, got)
		if got != b.want && !*rewrite {
			t.Errorf("%s:%d: %s\ngot:\n%swant:\n%s", path, b.line, b.command, got, b.want)
		}
	}
	if *rewrite && !bytes.Equal(src, out.Bytes()) {
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// block is one command with its expected output.
type block struct {
	before  string // comments and empty lines above
	command string
	want    string
	line    int
}

func parseScenario(t *testing.T, path, src string) (blocks []block) {
	lines := strings.SplitAfter(src, "\n")
	var b block
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch trimmed := strings.TrimSpace(line); {
		case trimmed == "" && b.command == "", strings.HasPrefix(trimmed, "#"):
			b.before += line
		case b.command == "":
			b.command, b.line = trimmed, i+1
		case trimmed == "----":
			for i++; i < len(lines) && strings.TrimSpace(lines[i]) != ""; i++ {
				b.want += lines[i]
			}
			blocks = append(blocks, b)
			b = block{}
		case trimmed == "":
			// A new command that has no output yet: -rewrite fills it in.
			blocks = append(blocks, b)
			b = block{}
		default:
			t.Fatalf("%s:%d: %q follows command %q without ----", path, i+1, trimmed, b.command)
		}
	}
	if b.command != "" {
		blocks = append(blocks, b)
	}
	return blocks
}

// arguments splits "name key=value …".
type arguments struct {
	words  []string
	values map[string]string
}

func parseArguments(words []string) arguments {
	a := arguments{values: map[string]string{}}
	for _, w := range words {
		if k, v, ok := strings.Cut(w, "="); ok {
			a.values[k] = v
		} else {
			a.words = append(a.words, w)
		}
	}
	return a
}

// get returns a value or the default.
func (a arguments) get(key, def string) string {
	if v, ok := a.values[key]; ok {
		return v
	}
	return def
}

func (a arguments) int(key string, def int64) int64 {
	v, ok := a.values[key]
	if !ok {
		return def
	}
	var n int64
	if _, err := fmt.Sscan(v, &n); err != nil {
		panic(fmt.Sprintf("%s=%s is no number", key, v))
	}
	return n
}

// word returns the i-th bare word, or nothing.
func (a arguments) word(i int) string {
	if i < len(a.words) {
		return a.words[i]
	}
	return ""
}
