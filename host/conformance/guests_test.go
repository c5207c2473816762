//go:build linux

package conformance_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/conformance"
)

// built is where modules are built, for the time of the tests.
var built string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		panic(err)
	}
	built = dir
	code := capsuletest.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// guests are the interpreters that the suite brings, each with how it is built.
var guests = []struct {
	conformance.Guest
	build func() (module string, err error)
}{
	{conformance.Guest{Name: "c-1.1.0", Make: "c", Revision: "1.1.0", Lacks: noIPC}, sync.OnceValues(func() (string, error) { return buildC("110") })},
	{conformance.Guest{Name: "c-1.0.0", Make: "c", Revision: "1.0.0", Lacks: noIPC}, sync.OnceValues(func() (string, error) { return buildC("100") })},
	{conformance.Guest{Name: "c-0.7", Make: "c", Revision: "0.7", Lacks: noIPC}, sync.OnceValues(func() (string, error) { return buildC("70") })},
}

// clang is the compiler as Debian names it; CLANG names another.
func clang() string {
	if c := os.Getenv("CLANG"); c != "" {
		return c
	}
	return "clang-19"
}

// missing tells why a guest cannot be built here.
type missing struct{ what string }

func (m *missing) Error() string { return m.what }

func buildC(revision string) (string, error) {
	if _, err := exec.LookPath(clang()); err != nil {
		return "", &missing{clang() + " is not here, with lld, wasi-libc and the runtime for wasm32: no guest in C"}
	}
	out := filepath.Join(built, "c-"+revision+".wasm")
	cmd := exec.Command(clang(), "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-s", "-Wall", "-Werror", "-DREV="+revision, "-DNOIPC", "-Wno-unused",
		"-o", out, "testdata/c/interp.c", "testdata/c/script.c")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("clang: %w\n%s", err, text)
	}
	return out, nil
}

// cache is where compiled modules are kept: a guest in JavaScript takes seconds
// to compile. It is beside that guest's own build, if there is one.
func cache() string { return filepath.Join(built, "compiled") }

var noIPC = []string{"publish", "publish-as", "subscribe", "s.poll", "s.recv", "s.subscribe-readiness", "s.drop", "get-interceptor-bindings"}
