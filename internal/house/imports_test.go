package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/astrid-os/processledger"

// pkg is what `go list -json` tells of a package.
type pkg struct {
	ImportPath string
	Dir        string
	Doc        string
	Name       string
	Imports    []string
	Deps       []string
	GoFiles    []string
}

// room returns the package's path inside the module.
func (p pkg) room() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// packages lists the module's packages as the ordinary Linux build sees them,
// whatever machine the test runs on.
var packages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-deps=false", "-json=ImportPath,Dir,Doc,Name,Imports,Deps,GoFiles", module+"/...")
	cmd.Env = append(cmd.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

func listed(t *testing.T) []pkg {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// inRoom tells whether path is room or lies below it.
func inRoom(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

// TestImportsGoDown holds the order of the rooms: ledger, projector, host, cmd.
func TestImportsGoDown(t *testing.T) {
	const (
		ledger, projector, host, cmd, migrations = module + "/ledger", module + "/projector", module + "/host", module + "/cmd", module + "/migrations"
		wazero                                   = "github.com/tetratelabs/wazero"
	)
	rules := []struct {
		room   string
		forbid []string
		why    string
	}{
		{"ledger", []string{projector, host, cmd, migrations}, "imports go down only"},
		{"projector", []string{host, cmd, migrations}, "imports go down only"},
		{"host", []string{cmd, migrations}, "imports go down only"},
		{"migrations", []string{ledger, projector, host, cmd}, "a step knows the bytes of its two layouts, never today's types"},
		{"ledger", []string{"net/http", "os/exec", wazero}, "the log runs nothing and serves nobody"},
		{"projector", []string{"net/http", "os/exec", wazero}, "a fold is pure"},
		{"cmd/astridctl", []string{wazero}, "an auditor's tool carries no guest runtime"},
		{"host/abi", []string{host + "/shim", host + "/act", host + "/policy", ledger, projector}, "the canonical ABI knows no process"},
		{"host/shim", []string{wazero, "go.etcd.io/bbolt", "net", "encoding/json"}, "every live process pays for what its shim links"},
	}
	for _, p := range listed(t) {
		for _, r := range rules {
			if !inRoom(p.room(), r.room) {
				continue
			}
			for _, dep := range p.Deps {
				for _, f := range r.forbid {
					if dep == f || (strings.Contains(f, ".") && inRoom(dep, f)) {
						t.Errorf("%s depends on %s: %s", p.room(), dep, r.why)
					}
				}
			}
		}
	}
}

// TestOnlyActTouchesShim holds the one rule: acts on the world live in
// host/act, which alone imports host/shim (beside the shim's own main).
func TestOnlyActTouchesShim(t *testing.T) {
	allowed := []string{"host/act", "host/shim/astrid-shim"}
	for _, p := range listed(t) {
		if slices.Contains(p.Imports, module+"/host/shim") && !slices.Contains(allowed, p.room()) {
			t.Errorf("%s imports host/shim; only %v may: no receipt, no act", p.room(), allowed)
		}
	}
}

// TestEveryPackageHasADoc holds that a newcomer can steer by `go doc`.
func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range listed(t) {
		want := "Package " + p.Name
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) && !strings.HasPrefix(p.Doc, strings.ToUpper(p.Name[:1])+p.Name[1:]) {
			t.Errorf("%s: package comment starts with %q, want %q", p.room(), firstWords(p.Doc), want)
		}
	}
}

func firstWords(s string) string { return s[:min(len(s), 40)] }
