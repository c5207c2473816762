//go:build linux

package daemontest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/host/act"
)

const module = "github.com/astrid-os/processledger/"

// weaker has the tests run without namespaces although the machine has them.
var weaker = flag.Bool("weaker", false, "run in the weaker mode, isolation = \"none\"")

// Binaries builds astridd and astrid-shim with their crash points, once a test
// binary, beside each other, and returns their directory, which Main removes.
var Binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "astridd-bin-")
	if err != nil {
		return "", err
	}
	built.add(dir)
	cmd := exec.Command("go", "build", "-tags", "crashpoints", "-o", dir+"/", module+"cmd/astridd", module+"host/shim/astrid-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// built are the directories to remove in the end.
var built cleanup

type cleanup struct {
	mu   sync.Mutex
	dirs []string
}

func (c *cleanup) add(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirs = append(c.dirs, dir)
}

// Main is the TestMain of a package that runs daemons; it returns the exit code
// of m. It lets more tests run side by side than there are processors: nearly
// all of their time they wait for disks and other processes.
func Main(m *testing.M) int {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	code := m.Run()
	for _, dir := range built.dirs {
		_ = os.RemoveAll(dir)
	}
	return code
}

// Isolation is the best that this machine allows. Where that is the weaker
// mode, the tests run in it and say so.
var Isolation = sync.OnceValues(func() (string, error) {
	if *weaker {
		return act.IsolationNone, nil
	}
	dir, err := Binaries()
	if err != nil {
		return "", err
	}
	r, err := act.Probe(filepath.Join(dir, "astrid-shim"))
	if r.Reason != "" {
		fmt.Fprintf(os.Stderr, "the tests of astridd run in the weaker mode: %s\n", r.Reason)
	}
	return r.Isolation, err
})

// driver builds the tests' capsule from source, once, and returns its module.
var driver = sync.OnceValues(func() (string, error) {
	dir, err := Binaries()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "driver.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, module+"internal/daemontest/testdata/driver")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build of the capsule: %w\n%s", err, text)
	}
	return out, nil
})
