//go:build linux

package conformance_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/astrid-os/processledger/host/capsule/capsuletest"
	"github.com/astrid-os/processledger/host/conformance"
)

// built is where modules are built, for the time of the tests.
var built string

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait more than they work: most of it for graces to pass.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "conformance-")
	if err != nil {
		panic(err)
	}
	built = dir
	code := capsuletest.Main(m)
	os.RemoveAll(dir)
	os.Exit(code)
}

// raced is true under the race detector. It is the host that is looked at then,
// and it is the same for all guests: two of them are enough.
var raced bool

// guests are the interpreters that the suite brings, each with how it is built.
var guests = []struct {
	conformance.Guest
	build func() (module string, err error)
}{
	{conformance.Guest{Name: "c-1.1.0", Make: "c", Revision: "1.1.0"}, sync.OnceValues(func() (string, error) { return buildC("110") })},
	{conformance.Guest{Name: "c-1.0.0", Make: "c", Revision: "1.0.0"}, sync.OnceValues(func() (string, error) { return buildC("100") })},
	{conformance.Guest{Name: "c-0.7", Make: "c", Revision: "0.7"}, sync.OnceValues(func() (string, error) { return buildC("70") })},
	{conformance.Guest{Name: "go-1.1.0", Make: "go", Revision: "1.1.0", Cannot: noWordsInGo}, sync.OnceValues(buildGo)},
	{conformance.Guest{Name: "js-1.1.0", Make: "js", Revision: "1.1.0", MostBytes: 70000}, sync.OnceValues(buildJS)},
}

// noWordsInGo tells what the SDK has no words for: a zero or an empty text where that
// stands for none, a time beyond what a time.Duration holds, and what it says in
// several calls because one would be too much.
func noWordsInGo(l conformance.Line) bool {
	for _, f := range l.Fields {
		n, err := strconv.ParseUint(f.Text, 10, 64)
		switch {
		case f.Text == "" && f.Ref == "" && (f.Key == "cursor" || f.Key == "suffix"):
			return true
		case err != nil:
		case l.Op == "random-bytes" && n > 4096, l.Op == "sleep-ns" && n > 60e9, n > math.MaxInt64/1_000_000:
			return true
		case n == 0 && (f.Key == "idle-timeout-ms" || f.Key == "log-ring-bytes"):
			return true
		}
	}
	return false
}

func buildGo() (string, error) {
	out := filepath.Join(built, "go.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-o", out, "./testdata/go")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, text)
	}
	return out, nil
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
	cmd := exec.Command(clang(), "--target=wasm32-wasi", "-mexec-model=reactor", "-O2", "-s", "-Wall", "-Werror", "-DREV="+revision,
		"-o", out, "testdata/c/interp.c", "testdata/c/script.c")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("clang: %w\n%s", err, text)
	}
	return out, nil
}

// jsDir has the guest in JavaScript, and in build/, which git ignores, what was
// made of it: a component takes half a minute to build.
const jsDir = "testdata/js"

// buildJS returns the component that componentize-js made, and has it made where
// that is installed (npm ci in testdata/js) and the sources are not those that
// it was made of.
func buildJS() (string, error) {
	sources, err := filepath.Glob(jsDir + "/*.[jmw]*")
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	for _, f := range append(sources, "../wit/process-1.1.0.wit", "../wit/io-1.0.0.wit", "../wit/sys-1.0.0.wit", "../wit/ipc-1.0.0.wit", "../wit/guest-1.0.0.wit") {
		text, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n%s", filepath.Base(f), len(text), text)
	}
	out := fmt.Sprintf("%s/build/interpreter-%x.wasm", jsDir, sum.Sum(nil)[:8])
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	if _, err := os.Stat(jsDir + "/node_modules/@bytecodealliance/componentize-js"); err != nil {
		return "", &missing{"componentize-js is not installed (npm ci in host/conformance/" + jsDir + "): no guest in JavaScript"}
	}
	if text, err := exec.Command("node", jsDir+"/build.mjs", out).CombinedOutput(); err != nil {
		return "", fmt.Errorf("node build.mjs: %w\n%s", err, text)
	}
	return out, nil
}

// cache is where compiled modules are kept: the guest in JavaScript takes
// seconds to compile, and much longer under the race detector.
func cache() string {
	dir := filepath.Join(jsDir, "build", "compiled")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return filepath.Join(built, "compiled")
	}
	return dir
}
