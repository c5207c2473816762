// Package capsuletest runs capsules on a real process host in tests: a ledger
// and a data directory of their own, the real shim, and a comparison of the
// ledger with the machine at the end.
package capsuletest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/capsule"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

const module = "github.com/astrid-os/processledger"

// Main runs a package's tests; its TestMain calls it. It keeps what is built
// once for all of them, and takes it away at the end.
func Main(m *testing.M) int {
	dir, err := os.MkdirTemp("", "capsuletest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// An ordinary user's namespaces must be able to reach the shim.
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	built = dir
	return m.Run()
}

var built string

// shim is the real shim, and what this machine allows it.
var shim = sync.OnceValues(func() (string, error) {
	path := filepath.Join(built, "astrid-shim")
	return path, goBuild(module+"/host/shim/astrid-shim", path, nil, "CGO_ENABLED=0")
})

func goBuild(pkg, out string, flags []string, env ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), env...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// Build builds the capsule whose Go source and manifest are in src into the
// directory of capsules dir, as an operator would install it.
func Build(t testing.TB, dir, src string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(src, capsule.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	m, err := capsule.ParseManifest(string(text))
	if err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(dir, m.Name)
	if err := os.MkdirAll(into, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(into, capsule.ManifestName), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if !filepath.IsAbs(src) && !strings.HasPrefix(src, ".") {
		src = "./" + src
	}
	if err := goBuild(src, filepath.Join(into, m.File), []string{"-buildmode=c-shared"}, "GOOS=wasip1", "GOARCH=wasm"); err != nil {
		t.Fatal(err)
	}
}

// World is a running host with its capsules.
type World struct {
	Runner *capsule.Runner
	Host   *host.Host
	Live   *projector.Live

	// Bus is what the host and the capsules publish on.
	Bus *ipc.Bus

	// Data is the data directory; workspaces/ is in it.
	Data string

	// Isolation is what programs run in here: "pidns" or "none".
	Isolation string

	o     Options
	shim  string
	gate  *policy.Gate
	set   *capsule.Set
	hands *act.Hands
}

// Options says what a world is made of.
type Options struct {
	Dir    string             // of the capsules
	Cache  string             // of compiled modules; empty: one for all of the package's tests
	Run    capsule.RunOptions //
	Config policy.Config      //
}

// New opens a world with the capsules of a directory, all of which must load.
// When the test ends it is shut down, and the ledger must agree with what is
// left on the machine: nothing.
func New(t testing.TB, dir string, o capsule.RunOptions) *World {
	t.Helper()
	return NewWith(t, dir, o, policy.DefaultConfig())
}

// NewWith is New with a policy that is not the default.
func NewWith(t testing.TB, dir string, o capsule.RunOptions, config policy.Config) *World {
	t.Helper()
	return Open(t, Options{Dir: dir, Run: o, Config: config})
}

// Open is New with all that can be chosen.
func Open(t testing.TB, o Options) *World {
	t.Helper()
	if o.Run.Log == nil {
		o.Run.Log = logTo(t)
	}
	if o.Cache == "" {
		o.Cache = filepath.Join(built, "compiled")
	}
	w := &World{Data: t.TempDir(), o: o, gate: policy.NewGate(), Bus: ipc.New(ipc.Options{})}
	var err error
	w.shim, err = shim()
	must(t, err)
	probed, err := act.Probe(w.shim)
	must(t, err)
	w.Isolation = probed.Isolation
	w.set, err = capsule.Load(t.Context(), capsule.LoadOptions{Dir: o.Dir, Cache: o.Cache, Log: logTo(t)})
	must(t, err)
	for _, c := range w.set.Capsules() {
		must(t, w.gate.Set(c.Name, c.HostProcess))
		w.gate.SetPersistent(c.Name, c.AllowPersistent)
	}
	for _, e := range w.set.Failed() {
		t.Fatal(e)
	}
	w.open(t)
	t.Cleanup(func() { w.close(t) })
	return w
}

// Restart leaves everything as a daemon leaves it that is killed, and starts
// again on it: with no instance, and with the processes that outlive a daemon.
func (w *World) Restart(t testing.TB) {
	t.Helper()
	// The hands first: a daemon that is dead sees no exits.
	must(t, w.hands.Close())
	w.Host.Close()
	must(t, w.Live.Close())
	gone := w.Runner
	w.Bus = ipc.New(ipc.Options{})
	w.open(t)
	// What is left of the old instances can reach nothing any more.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	gone.Close(ctx)
}

// open opens the ledger and the host, as a starting daemon does.
func (w *World) open(t testing.TB) {
	t.Helper()
	var err error
	w.Live, err = projector.Open(filepath.Join(w.Data, "ledger"), ledger.Options{})
	must(t, err)
	_, err = w.Live.Decide(t.Context(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Body: &event.DaemonStarted{Version: "test", Isolation: w.Isolation}}}, nil
	})
	must(t, err)
	w.hands, err = act.New(w.Live.Ledger(), act.Options{Dir: w.Data, Shim: w.shim, Isolation: w.Isolation, Log: logTo(t)})
	must(t, err)
	rules, err := policy.New(w.o.Config, w.gate)
	must(t, err)
	w.Host, err = host.New(host.Options{
		Live: w.Live, Hands: w.hands, Policy: rules, Workspaces: filepath.Join(w.Data, "workspaces"),
		RedactionKey: []byte("a key of the tests"), ProcessIDKey: []byte("another key"), Bus: w.Bus, Isolation: w.Isolation, Log: logTo(t),
	})
	must(t, err)
	_, err = w.Host.Recover(t.Context())
	must(t, err)
	run := w.o.Run
	run.Bus = w.Bus
	w.Runner = capsule.NewRunner(w.set, capsule.On(w.Host), run)
}

func (w *World) close(t testing.TB) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	w.Runner.Close(ctx)
	try := func(what string, err error) {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	try("shutdown", w.Host.Shutdown(ctx, "end of the test"))
	w.Host.Close()
	for _, p := range w.problems(ctx) {
		t.Errorf("world: %s", p)
	}
	try("close hands", w.hands.Close())
	try("close ledger", w.Live.Close())
	try("close capsules", w.set.Close(ctx))
}

// problems tells where ledger and machine disagree. The shim of a process whose
// exit was recorded at last may take a moment to end.
func (w *World) problems(ctx context.Context) []string {
	for {
		found := worldcheck.CheckWorld(ctx, worldcheck.World{Ledger: w.Live.Ledger(), State: w.Live.Snapshot(), Data: w.Data})
		if len(found) == 0 || ctx.Err() != nil {
			return found
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Events returns the events so far that are of one of these kinds.
func (w *World) Events(t testing.TB, kinds ...event.Kind) (found []*event.Event) {
	t.Helper()
	for e, err := range w.Live.Ledger().Events(t.Context(), 1, 0) {
		must(t, err)
		for _, k := range kinds {
			if e.Kind() == k {
				found = append(found, e)
			}
		}
	}
	return found
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logTo shows what the daemon would log if the test fails.
func logTo(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

// Write implements io.Writer.
func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", strings.TrimRight(string(b), "\n"))
	return len(b), nil
}

var _ io.Writer = testWriter{}

// RunProgram runs a WASI program as the daemon does for an operator.
func (w *World) RunProgram(t testing.TB, ctx context.Context, name string, module []byte, g capsule.Grant, cmd capsule.Command) (uint32, error) {
	t.Helper()
	c, err := w.set.Program(ctx, name, module, g)
	if err != nil {
		return 0, err
	}
	defer c.Close(context.WithoutCancel(ctx))
	must(t, w.gate.Set(c.Name, c.HostProcess))
	defer w.gate.Remove(c.Name)
	return w.Runner.RunCommand(ctx, c, cmd)
}

// Serve takes all capsules into service, as the daemon does, as if each had
// that to be done first.
func (w *World) Serve(d capsule.Due) {
	for _, c := range w.set.Capsules() {
		w.Runner.Start(c, d)
	}
}
