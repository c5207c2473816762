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
		{"host/poll", []string{host, ledger, projector, wazero, "golang.org/x/sys/unix"}, "readiness knows nothing of what is waited for"},
		{"host/ipc", []string{host + "/act", host + "/shim", host + "/bind", host + "/capsule", host + "/policy", ledger, projector, wazero}, "the bus is no record, and knows no process"},
		{"host/policy", []string{host, ledger, projector, wazero}, "rules are inputs of a decision"},
		{"host/bind", []string{host + "/capsule"}, "a call knows the guest that makes it, not how that came to be"},
		{"host/conformance", []string{host, ledger, projector, wazero, cmd}, "the suite can be pointed at another host"},
		{"guest", []string{host, ledger, projector, cmd, module + "/internal", wazero}, "what a capsule links knows only the contract"},
		{"internal/control", []string{host, cmd, wazero}, "astridctl links it"},
		{"host/shim", []string{wazero, "go.etcd.io/bbolt", "net", "encoding/json"}, "every live process pays for what its shim links"},
	}
	for _, p := range listed(t) {
		for _, r := range rules {
			if !inRoom(p.room(), r.room) {
				continue
			}
			for _, dep := range p.Deps {
				for _, f := range r.forbid {
					if dep != p.ImportPath && forbidden(dep, f) {
						t.Errorf("%s depends on %s: %s", p.room(), dep, r.why)
					}
				}
			}
		}
	}
}

// forbidden tells whether a dependency is the one that a rule names, or below
// it. The room host itself, without what lies below, is never meant alone.
func forbidden(dep, rule string) bool {
	return dep == rule || (strings.Contains(rule, ".") && inRoom(dep, rule))
}

// TestOnlyTestsUseTestRooms holds that the programs link nothing that is there
// for tests.
func TestOnlyTestsUseTestRooms(t *testing.T) {
	rooms := []string{"host/conformance", "host/capsule/capsuletest", "host/abi/abitest", "internal/worldcheck", "internal/daemontest", "internal/suites/powercut"}
	for _, p := range listed(t) {
		if slices.ContainsFunc(rooms, func(r string) bool { return inRoom(p.room(), r) }) {
			continue // one test room may use another
		}
		for _, r := range rooms {
			if slices.Contains(p.Imports, module+"/"+r) {
				t.Errorf("%s imports %s, which is for tests", p.room(), r)
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
