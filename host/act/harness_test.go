//go:build linux

package act

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// shimBinary is the real shim, built once for all tests; crashing is the same
// with crash points.
var shimBinary, crashing string

func TestMain(m *testing.M) {
	if role := os.Getenv("ACT_TEST_ROLE"); role != "" {
		os.Exit(roles[role]())
	}
	if dir := os.Getenv("ACT_TEST_SHIMS"); dir != "" { // a part run as another user
		shimBinary, crashing = filepath.Join(dir, "astrid-shim"), filepath.Join(dir, "astrid-shim-crashing")
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "act-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // the unprivileged part runs it too
	}
	if err != nil {
		panic(err)
	}
	shimBinary, crashing = filepath.Join(dir, "astrid-shim"), filepath.Join(dir, "astrid-shim-crashing")
	build(shimBinary)
	build(crashing, "-tags", "crashpoints")
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func build(out string, flags ...string) {
	args := append([]string{"build", "-ldflags=-s -w", "-o", out}, flags...)
	cmd := exec.Command("go", append(args, "github.com/astrid-os/processledger/host/shim/astrid-shim")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		panic(fmt.Sprintf("build the shim: %v", err))
	}
}

// bound is how long a test waits for anything.
const bound = 20 * time.Second

// noFold is a projection of nothing: these tests need receipts, not state.
type noFold struct{}

func (noFold) Restore([]byte) error          { return nil }
func (noFold) Replay(*event.Event) error     { return nil }
func (noFold) Encode() []byte                { return nil }
func (noFold) Committed([]*event.Event)      {}
func (noFold) Discard()                      {}
func newID() ulid.ULID                       { return ulid.MustNew(ulid.Now(), rand.Reader) }
func exists(path string) bool                { _, err := os.Stat(path); return err == nil }
func background() event.Orders               { return event.Orders{OrphanNano: int64(30 * time.Second)} }
func seconds(n float64) int64                { return int64(n * float64(time.Second)) }
func lines(s string) []string                { return strings.Fields(s) }
func contextOf(t testing.TB) context.Context { return t.Context() }

// house is a ledger with hands, in a directory of its own.
type house struct {
	t      testing.TB
	dir    string
	mode   string // isolation
	ledger *ledger.Ledger
	hands  *Hands
	nonce  string
}

// newHouse opens everything with real files and the real shim, and checks at
// the end that no process is left over.
func newHouse(t testing.TB, mode string) *house {
	t.Helper()
	return newHouseIn(t, mode, t.TempDir())
}

func newHouseIn(t testing.TB, mode, dir string) *house {
	t.Helper()
	if mode == IsolationPIDNS {
		needNamespaces(t)
	}
	h := &house{t: t, dir: dir, mode: mode, nonce: "ACT_TEST_NONCE=" + newID().String()}
	l, err := ledger.Open(t.TempDir(), ledger.Options{Fold: noFold{}})
	if err != nil {
		t.Fatal(err)
	}
	h.ledger = l
	h.open()
	t.Cleanup(func() {
		h.nobodyLeft()
		h.hands.Close()
		l.Close()
	})
	return h
}

func (h *house) open() {
	h.t.Helper()
	hands, err := New(h.ledger, Options{Dir: h.dir, Shim: shimBinary, Isolation: h.mode})
	if err != nil {
		h.t.Fatal(err)
	}
	h.hands = hands
}

// reopen is what a daemon's death and restart look like to the shims.
func (h *house) reopen() {
	h.t.Helper()
	h.hands.Close()
	h.open()
}

// probed is what this machine allows.
var probed = sync.OnceValues(func() (ProbeResult, error) { return Probe(shimBinary) })

func needNamespaces(t testing.TB) {
	t.Helper()
	r, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	if r.Isolation != IsolationPIDNS {
		t.Skipf("no namespaces here: %s", r.Reason)
	}
}

// both runs a test in the namespace and in the weaker mode.
func both(t *testing.T, test func(t *testing.T, h *house)) {
	for _, mode := range []string{IsolationPIDNS, IsolationNone} {
		t.Run(mode, func(t *testing.T) { test(t, newHouse(t, mode)) })
	}
}

// nobodyLeft waits until no program carries the house's nonce and no shim holds
// a lock. Whoever is left is an error, and ended.
func (h *house) nobodyLeft() {
	h.t.Helper()
	for end := time.Now().Add(bound / 4); ; time.Sleep(5 * time.Millisecond) {
		programs, shims := processesWith(h.nonce), h.held()
		if len(programs)+len(shims) == 0 {
			return
		}
		if time.Now().After(end) {
			h.t.Errorf("left over: programs %v, shims of %v", programs, shims)
			for _, f := range shims {
				h.hands.Kill(h.commit(f.ID, &event.OrphanEnded{Reason: "test"}), f)
			}
			return
		}
	}
}

// held finds directories with a living shim.
func (h *house) held() (held []Found) {
	h.t.Helper()
	found, err := h.hands.Scan()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range found {
		if f.LockHeld || !f.Dead {
			held = append(held, f)
		}
	}
	return held
}

// look is Scan for one child.
func (h *house) look(id ulid.ULID) Found {
	h.t.Helper()
	f, err := h.hands.Look(id)
	if err != nil {
		h.t.Fatal(err)
	}
	return f
}

// processesWith finds processes by a string in their environment.
func processesWith(env string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err == nil && strings.Contains(string(b), env) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// sh is a spec that runs a shell script.
func (h *house) sh(script string) Spec {
	return h.spec("sh", "-c", script)
}

func (h *house) spec(argv ...string) Spec {
	return Spec{
		ID: newID(), Argv: argv, Path: argv[0], Dir: h.dir, RingBytes: 64 << 10,
		Env:    []string{"PATH=/usr/local/bin:/usr/bin:/bin", h.nonce},
		Orders: background(), Tier: event.TierBackground,
	}
}

func (h *house) prepare(s Spec) *Child {
	h.t.Helper()
	c, err := h.hands.Prepare(contextOf(h.t), s)
	if err != nil {
		h.t.Fatal(err)
	}
	return c
}

// start prepares and runs a spec.
func (h *house) start(s Spec) *Child {
	h.t.Helper()
	c := h.prepare(s)
	if err := c.Go(h.decided(c.ID())); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// commit appends one event and returns its receipt.
func (h *house) commit(id ulid.ULID, b event.Body) *ledger.Receipt {
	h.t.Helper()
	c, err := h.ledger.Submit(context.Background(), func(ledger.Header) ([]*event.Event, error) {
		return []*event.Event{{Scope: event.Scope{Handle: id, Actor: event.Actor{Kind: event.ActorHost}}, Body: b}}, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return c.Receipts[0]
}

func (h *house) decided(id ulid.ULID) *ledger.Receipt {
	return h.commit(id, &event.SpawnDecided{Outcome: event.OutcomeGranted})
}

func (h *house) signal(c *Child, sig int, target event.SignalTarget, cause string) SignalResult {
	h.t.Helper()
	r, err := c.Signal(h.commit(c.ID(), &event.SignalRequested{Signal: uint32(sig), Target: target, Cause: cause}))
	if err != nil {
		h.t.Fatal(err)
	}
	return r
}

// next waits for the next notice.
func (h *house) next(c *Child) Notice {
	h.t.Helper()
	select {
	case n, ok := <-c.Notices():
		if !ok {
			h.t.Fatal("the notices ended")
		}
		return n
	case <-time.After(bound):
		h.t.Fatal("no notice came")
	}
	return Notice{}
}

func (h *house) started(c *Child) *event.ProcessStarted {
	h.t.Helper()
	n := h.next(c)
	if n.Started == nil {
		h.t.Fatalf("want started, got %s", show(n))
	}
	return n.Started
}

func (h *house) exited(c *Child) *ExitRecord {
	h.t.Helper()
	for {
		n := h.next(c)
		if n.Exited != nil {
			return n.Exited
		}
		if n.Failed != nil || n.Gone != nil {
			h.t.Fatalf("want exited, got %s", show(n))
		}
	}
}

// run runs a spec to its end.
func (h *house) run(s Spec) (*ExitRecord, *Child) {
	h.t.Helper()
	c := h.start(s)
	return h.exited(c), c
}

func (h *house) drain(c *Child) (stdout, stderr string) {
	h.t.Helper()
	o, e, err := c.DrainLogs()
	if err != nil {
		h.t.Fatal(err)
	}
	return string(o), string(e)
}

func show(n Notice) string {
	switch {
	case n.Started != nil:
		return fmt.Sprintf("started %+v", *n.Started)
	case n.Failed != nil:
		return fmt.Sprintf("failed %+v", *n.Failed)
	case n.Fired != nil:
		return fmt.Sprintf("fired %+v", *n.Fired)
	case n.Exited != nil:
		return fmt.Sprintf("exited %s %+v", ending(n.Exited.Exited.Exit), *n.Exited)
	case n.Gone != nil:
		return fmt.Sprintf("gone %+v", *n.Gone)
	}
	return "nothing"
}

func ending(e event.Exit) string {
	switch {
	case e.Code != nil && e.Signal == nil:
		return fmt.Sprintf("code %d", *e.Code)
	case e.Signal != nil && e.Code == nil:
		return fmt.Sprintf("signal %d", *e.Signal)
	}
	return fmt.Sprintf("malformed %v", e)
}

// until polls a condition.
func (h *house) until(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(bound); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("never came true: %s", what)
		}
	}
}
