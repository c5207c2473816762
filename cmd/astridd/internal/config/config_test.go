package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; commit a rewrite only if you understand its diff")

// TestFaults reads every file in testdata and compares what is said about it.
func TestFaults(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse("/etc/astrid/astridd.toml", string(a.Files[0].Data), "", "/usr/bin/astridd")
			if err == nil {
				t.Fatal("the file is taken as it is")
			}
			got := strings.ReplaceAll(err.Error(), "/etc/astrid/", "") + "\n"
			if *rewrite {
				a.Files = append(a.Files[:1], txtar.File{Name: "error", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if want := string(a.Files[1].Data); got != want {
				t.Errorf("got:\n%swant:\n%s", got, want)
			}
		})
	}
}

// TestExampleLoads holds that the documented example is right, and that it
// shows every key there is.
func TestExampleLoads(t *testing.T) {
	text, err := os.ReadFile("../../astridd.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Parse("/etc/astrid/astridd.toml", string(text), "", "/usr/bin/astridd"); err != nil {
		t.Fatal(err)
	}
	// Every key that is commented out is the default and must be valid, too.
	var all strings.Builder
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " ") {
			line = rest
		}
		all.WriteString(line)
	}
	if _, err := Parse("/etc/astrid/astridd.toml", all.String(), "", "/usr/bin/astridd"); err != nil {
		t.Fatalf("with everything uncommented: %v", err)
	}
	tables := [][]string{{}, {"log"}, {"ledger"}, {"quotas"}, {"principal", "x"}}
	for _, table := range tables {
		for _, key := range keysAt(table) {
			if !strings.Contains(all.String(), key) {
				t.Errorf("the example does not show %s of table %q", key, table)
			}
		}
	}
}

func TestDefaultsAndOverrides(t *testing.T) {
	c, err := Parse("/etc/astrid/astridd.toml", `
data_dir = "../../srv/astrid"
invocation_deadline = "90s"
[quotas]
max_background_processes = 3
[principal.alice]
max_sync_processes = 1
[capsule.kit.config]
depth = 3
`, "", "/usr/bin/astridd")
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, got, want any) {
		t.Helper()
		if got != want {
			t.Errorf("%s is %v, want %v", what, got, want)
		}
	}
	check("data", c.Data, "/srv/astrid")
	check("socket", c.Socket, "/srv/astrid/control.sock")
	check("capsules", c.Capsules, "/srv/astrid/capsules")
	check("shim", c.Shim, "/usr/bin/astrid-shim")
	check("deadline", c.Deadline, 90*time.Second)
	check("isolation", c.Isolation, IsolationPIDNS)
	check("alice", c.Of("alice"), Quotas{3, 1, 300 * time.Second})
	check("somebody", c.Of("bob"), Quotas{3, 4, 300 * time.Second})
	check("a capsule", c.PerCapsule, uint32(8))
	check("who asks when nobody does", c.SystemPrincipal, "system")
	check("memory", c.InstanceMemory, uint64(1<<30))
	check("what kit may read", c.CapsuleConfig["kit"]["depth"], any(int64(3)))

	c, err = Parse("/etc/astrid/astridd.toml", `data_dir = "/a"`, "/b", "/usr/bin/astridd")
	if err != nil {
		t.Fatal(err)
	}
	check("data by flag", c.Data, "/b")
	check("socket by flag", c.Socket, "/b/control.sock")
}

func TestLineOf(t *testing.T) {
	text := "# a\na = 1\nb = '''\nx\n'''\n\nlist = [\n 1,\n 2,\n]\n[t.u]\nc.d = 3\n"
	for key, want := range map[string]int{"a": 2, "b": 3, "list": 7, "t": 11, "t.u": 11, "t.u.c": 12, "t.u.c.d": 12, "none": 0} {
		if got := lineOf(text, strings.Split(key, ".")); got != want {
			t.Errorf("%s is in line %d, want %d", key, got, want)
		}
	}
}
