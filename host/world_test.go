package host

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/astrid-os/processledger/host/act"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/policy"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

// shimBinary is the real shim, and isolation what this machine allows it.
var shimBinary, isolation string

// crashingShim is the shim with crash points, built when it is first needed.
var crashingShim = sync.OnceValue(func() string {
	out := shimBinary + "-crashing"
	goBuild(out, "./shim/astrid-shim", "-tags", "crashpoints")
	return out
})

func TestMain(m *testing.M) {
	if args := os.Getenv(driverEnv); args != "" {
		os.Exit(driverMain(args))
	}
	flag.Parse()
	// The tests wait more than they work: most of it for graces to pass.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	// go test has its processes note the files they look at, in a file that
	// fails with all others in tests where no write succeeds; without it this
	// package's results are not cached, and that is all.
	if err := flag.Set("test.testlogfile", ""); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "host-test-")
	if err != nil {
		panic(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	shimBinary = filepath.Join(dir, "astrid-shim")
	goBuild(shimBinary, "./shim/astrid-shim")
	probed, err := act.Probe(shimBinary)
	if err != nil {
		panic(err)
	}
	isolation = probed.Isolation
	// Only the shim of crashingShim heeds it.
	if err := os.Setenv("ASTRID_CRASH_AT", "shim.go.written"); err != nil {
		panic(err)
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

func goBuild(out, pkg string, flags ...string) {
	cmd := exec.Command("go", append(append([]string{"build", "-o", out}, flags...), pkg)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go build %s: %v\n%s", pkg, err, text))
	}
}

// modes are the isolations that this machine allows; each is tested.
func modes() []string {
	if isolation == act.IsolationNone {
		return []string{isolation}
	}
	return []string{isolation, act.IsolationNone}
}

// alice and bob call from instances of two capsules.
var (
	alice = Caller{Principal: "alice", Capsule: "builder", Instance: "i-1", CallID: "call-1"}
	bob   = Caller{Principal: "bob", Capsule: "builder", Instance: "i-2", CallID: "call-2"}
)

// world is a data directory with everything that works on it.
type world struct {
	t        testing.TB
	data     string
	witness  string
	config   policy.Config
	ledger   ledger.Options
	passing  func(string)
	rides    time.Duration
	patience time.Duration // of a start
	shim     string
	mode     string   // isolation
	boot     [16]byte // that the hands take for the machine's; zero: its own

	live  *projector.Live
	bus   *ipc.Bus
	hands *act.Hands
	host  *Host

	mu    sync.Mutex
	lines []string

	nonces atomic.Int64
	fault  *fault // of a commit; nil: none
}

// deciding tells the fault, if there is one, of each decision.
func (w *world) deciding(site string) {
	if w.fault != nil {
		w.fault.saw(site)
	}
}

// newWorld opens a world in a fresh directory. It is checked when the test
// ends.
func newWorld(t testing.TB, change ...func(*world)) *world {
	t.Helper()
	w := &world{t: t, data: t.TempDir(), witness: t.TempDir(), shim: shimBinary, mode: isolation, config: policy.DefaultConfig(), patience: 20 * time.Second}
	for _, c := range change {
		c(w)
	}
	w.open()
	t.Cleanup(w.finish)
	return w
}

// open opens ledger, hands and host, as a starting daemon does.
func (w *world) open() event.RecoveryFinished {
	w.t.Helper()
	var err error
	if w.live, err = projector.Open(filepath.Join(w.data, "ledger"), w.ledger); err != nil {
		w.t.Fatal(err)
	}
	w.record(event.Scope{Actor: hostActor}, &event.DaemonStarted{Version: "test", Isolation: w.mode})
	if w.hands, err = act.New(w.live.Ledger(), act.Options{Dir: w.data, Shim: w.shim, Isolation: w.mode, BootID: w.boot, Log: testLog(w.t)}); err != nil {
		w.t.Fatal(err)
	}
	gate := policy.NewGate()
	for _, capsule := range []string{"builder", "other", "third"} {
		if err := gate.Set(capsule, []string{"sh", "true", "no-such-program"}); err != nil {
			w.t.Fatal(err)
		}
		gate.SetPersistent(capsule, capsule != "third")
	}
	rules, err := policy.New(w.config, gate)
	if err != nil {
		w.t.Fatal(err)
	}
	w.bus = ipc.New(ipc.Options{})
	w.host, err = New(Options{
		Bus:  w.bus,
		Live: w.live, Hands: w.hands, Policy: rules, Workspaces: filepath.Join(w.data, "workspaces"),
		RedactionKey: []byte("a key of the tests"), ProcessIDKey: []byte("another key"), Isolation: w.mode, Log: testLog(w.t),
		Lookup: func(k string) (string, bool) { return "/usr/bin:/bin", k == "PATH" },
		trace:  w.trace, deciding: w.deciding, rides: w.rides, patience: w.patience, passing: func(p string) {
			if w.passing != nil {
				w.passing(p)
			}
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	found, err := w.host.Recover(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return found
}

// abandon leaves everything as a daemon leaves it that is killed.
func (w *world) abandon() {
	w.t.Helper()
	// The hands first: a daemon that is dead sees no exits.
	if err := w.hands.Close(); err != nil {
		w.t.Error(err)
	}
	w.host.Close()
	if err := w.live.Close(); err != nil {
		w.t.Error(err)
	}
	w.host, w.live = nil, nil
}

// finish shuts the world down and checks it.
func (w *world) finish() {
	if w.live == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if run, _ := w.live.Snapshot().Run(); run.Stopped.Seq == 0 {
		w.stopKept(ctx)
		if err := w.host.Shutdown(ctx, "end of the test"); err != nil {
			w.t.Errorf("shutdown: %v", err)
		}
	}
	w.host.Close()
	w.check()
	if n := w.live.Snapshot().HeldAll().Total(); n != 0 {
		w.t.Errorf("%d handles are not released", n)
	}
	if err := w.hands.Close(); err != nil {
		w.t.Error(err)
	}
	if err := w.live.Close(); err != nil {
		w.t.Error(err)
	}
	w.live = nil
	if w.t.Failed() {
		w.t.Logf("trace:\n%s", strings.Join(w.lines, "\n"))
	}
}

// stopKept stops and releases every persistent process.
func (w *world) stopKept(ctx context.Context) {
	w.t.Helper()
	var all sync.WaitGroup
	for _, o := range w.host.ownersOf(func(o *owner) bool { return o.kept != nil }) {
		c := Caller{Principal: o.scope.Principal, Capsule: o.scope.Capsule, Instance: "i-end"}
		grace := 100 * time.Millisecond
		all.Go(func() {
			_, err := w.host.StopProcess(ctx, c, o.kept.id, &grace)
			if code := CodeOf(err); err != nil && code != NoSuchProcess && code != Unknown {
				w.t.Errorf("the last stop: %v", err)
			}
		})
	}
	all.Wait()
}

// check compares the ledger with the world.
func (w *world) check() {
	w.t.Helper()
	for _, p := range worldcheck.CheckWorld(context.Background(), worldcheck.World{
		Ledger: w.live.Ledger(), State: w.live.Snapshot(), Data: w.data, Witness: w.witness,
	}) {
		w.t.Errorf("world: %s", p)
	}
}

func (w *world) record(s event.Scope, b event.Body) {
	w.t.Helper()
	_, err := w.live.Decide(w.t.Context(), func(*projector.State, ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: s, Body: b}}, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) trace(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, line)
}

// traced returns and forgets what was traced.
func (w *world) traced() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(w.lines, "\n") + "\n"
	w.lines = nil
	return text
}

// traps are the traps that a script begins with.
var traps = regexp.MustCompile(`^(trap ('[^']*'|:) [A-Z0-9 ]+; )+`)

// hasTraced tells whether a line is in the trace.
func (w *world) hasTraced(line string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Contains(w.lines, line)
}

// untraced keeps what fn does out of the trace.
func (w *world) untraced(fn func()) {
	w.mu.Lock()
	kept := w.lines
	w.mu.Unlock()
	fn()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = kept
}

// script is a request that runs a shell script between the two marks of the
// witness. In it $0 is the nonce. The traps that it begins with are set before
// the first mark.
func (w *world) script(body string) Request {
	nonce := worldcheck.Prefix + strconv.FormatInt(w.nonces.Add(1), 10) + "-" + strconv.Itoa(os.Getpid())
	return Request{
		Cmd:  "sh",
		Args: []string{"-c", traps.FindString(body) + `echo start >>"$WITNESS/$0"; ` + traps.ReplaceAllString(body, "") + `; echo end >>"$WITNESS/$0"`, nonce},
		Env:  []EnvVar{{"WITNESS", w.witness}},
	}
}

// began waits until the program of a request has written its first mark.
func (w *world) began(r Request) {
	w.t.Helper()
	w.until("the program begins", func() bool {
		b, err := os.ReadFile(filepath.Join(w.witness, r.Args[2]))
		return err == nil && strings.HasPrefix(string(b), "start")
	})
}

// until polls a condition for at most 20 seconds.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not in time: %s", what)
		}
	}
}

// settled waits until every released handle's owner is gone.
func (w *world) settled() {
	w.t.Helper()
	w.until("owners of released handles are gone", func() bool {
		return len(w.host.ownersOf(func(*owner) bool { return true })) == int(w.live.Snapshot().HeldAll().Total())
	})
}

// counts are the live processes of a principal.
func (w *world) counts(principal string) projector.Counts {
	return w.live.Snapshot().LivePrincipal(principal)
}

// kinds are the kinds of events of a ledger, in order, from a seq on.
func (w *world) events(from uint64) (es []*event.Event) {
	w.t.Helper()
	for e, err := range w.live.Ledger().Events(context.Background(), from, 0) {
		if err != nil {
			w.t.Fatal(err)
		}
		es = append(es, e)
	}
	return es
}

// keptMS is how long a persistent process of a test lives at most: one that a
// failed test leaves behind is not to stay for hours.
const keptMS = 120_000

// keep runs a script in the persistent tier.
func (w *world) keep(c Caller, body string, change ...func(*Request)) (id string, r Request) {
	w.t.Helper()
	r = w.script(body)
	r.MaxLifetimeMS = ptr(uint64(keptMS))
	for _, f := range change {
		f(&r)
	}
	id, err := w.host.SpawnPersistent(w.t.Context(), c, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return id, r
}

// kept returns the owner of a persistent process.
func (w *world) kept(c Caller, id string) *owner {
	w.t.Helper()
	o := w.host.resolve(c, id)
	if o == nil {
		w.t.Fatalf("no process %s", id)
	}
	return o
}

// start runs a script in the background.
func (w *world) start(c Caller, body string) (*Process, Request) {
	w.t.Helper()
	r := w.script(body)
	p, err := w.host.SpawnBackground(w.t.Context(), c, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return p, r
}
