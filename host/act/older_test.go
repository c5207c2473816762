//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// older is a build of an earlier commit: its shim, and its hands in the binary of
// their tests.
type older struct {
	commit      string
	streams     bool // it keeps a standard input open and writes under backpressure
	shim, hands string
}

// olderBuilds makes the builds that testdata names from this repository's own
// history. Where that is missing the test is skipped.
func olderBuilds(t *testing.T) (all []older) {
	t.Helper()
	list, err := os.ReadFile("testdata/older-builds")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			all = append(all, olderBuild(t, f[0], len(f) > 1 && f[1] == "streams"))
		}
	}
	return all
}

// olderBuild builds a commit beside today's shim, once for all tests of a run. The
// flags are those of this run, so that all but the module itself is built already.
func olderBuild(t *testing.T, commit string, streams bool) older {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	dir := filepath.Join(filepath.Dir(shimBinary), commit)
	o := older{commit: commit[:8], streams: streams, shim: filepath.Join(dir, "astrid-shim"), hands: filepath.Join(dir, "act.test")}
	if exists(o.hands) {
		return o
	}
	root := gitRoot(t, commit)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tree := t.TempDir()
	tar := filepath.Join(tree, "tree.tar")
	command(t, root, "git", "archive", "-o", tar, commit, "go.mod", "go.sum", "host", "internal", "ledger")
	command(t, tree, "tar", "-xf", tar)
	command(t, tree, "env", "CGO_ENABLED=0", "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", o.shim, "./host/shim/astrid-shim")
	command(t, tree, "go", "test", "-c", "-buildvcs=false", "-o", o.hands, "./host/act")
	return o
}

var building sync.Mutex // held while an older build is made

// gitRoot is this repository, if it holds the commit.
func gitRoot(t *testing.T, commit string) string {
	t.Helper()
	out, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	root := strings.TrimSpace(string(out))
	if err == nil {
		err = exec.Command("git", "-C", root, "cat-file", "-e", commit+"^{commit}").Run()
	}
	if err != nil {
		t.Skipf("commit %.8s is no part of this copy: it is no clone of the repository, or one without its history", commit)
	}
	return root
}

func command(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// eachOlder runs a test with each older build, in both modes.
func eachOlder(t *testing.T, test func(t *testing.T, h *house, o older)) {
	for _, o := range olderBuilds(t) {
		t.Run(o.commit, func(t *testing.T) {
			both(t, func(t *testing.T, h *house) { test(t, h, o) })
		})
	}
}

// upgrade closes the hands and opens them with today's shim.
func (h *house) upgrade() {
	h.hands.Close()
	shimIs(h, shimBinary)
}

// runsShimsOf has the house start shims of an older build.
func (h *house) runsShimsOf(o older) {
	h.hands.Close()
	shimIs(h, o.shim)
}

// TestOlderShimsWorkOn has today's daemon meet shims that are older than itself:
// programs that run across the upgrade, their output, signals, orders, exits, and
// a shim that is killed.
func TestOlderShimsWorkOn(t *testing.T) {
	t.Parallel()
	eachOlder(t, func(t *testing.T, h *house, o older) {
		h.runsShimsOf(o)
		if x, _ := h.run(h.sh("echo out; exit 3")); ending(x.Exited.Exit) != "code 3" || x.Exited.Stdout.Bytes != 4 {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		on := h.start(h.sh("trap 'echo usr1' USR1; trap 'exit 7' TERM; echo one; while :; do sleep 0.02; done"))
		st := h.started(on)
		h.waitOutput(on, "one")
		alone := h.sh("sleep 1000")
		alone.Orders = event.Orders{OrphanNano: seconds(0.3)}
		h.started(h.start(alone))
		killed, found := h.start(h.spec("sleep", "1000")), h.start(h.spec("sleep", "1001"))
		h.started(killed)
		h.started(found)
		h.upgrade()

		c, err := h.hands.Adopt(t.Context(), on.ID())
		if err != nil {
			t.Fatal(err)
		}
		if again := h.started(c); again.Program.PID != st.Program.PID || c.version != 1 {
			t.Errorf("adopted %+v of version %d, was %+v", again, c.version, st)
		}
		h.signal(c, int(syscall.SIGUSR1), event.TargetProgram, "signal")
		h.await(c) // although it does not tell of output
		h.waitOutput(c, "usr1")
		h.signal(c, int(syscall.SIGTERM), event.TargetTree, "stop")
		if x := h.exited(c); ending(x.Exited.Exit) != "code 7" || x.Exited.Cause != "stop" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}

		if c, err = h.hands.Adopt(t.Context(), killed.ID()); err != nil {
			t.Fatal(err)
		}
		h.started(c)
		killShim(t, c)
		if n := h.next(c); n.Gone == nil || !n.Gone.Ran {
			t.Errorf("a killed shim: %s", show(n))
		}
		if err := h.hands.Kill(h.commit(found.ID(), &event.OrphanEnded{}), h.look(found.ID())); err != nil {
			t.Error(err)
		}
		if f := h.look(found.ID()); f.Exit == nil || f.Exit.Exited.Cause != "kill" {
			t.Errorf("asked to end, it left %+v", f)
		}
		h.until("the order fired", func() bool { return h.look(alone.ID).Exit != nil })
		if x := h.look(alone.ID).Exit; x.Order != "orphan" || x.Exited.Cause != "orphaned" {
			t.Errorf("alone it left %+v", x)
		}
	})
}

// TestOlderShimsAreAskedNothingTheyLack: what they would leave out in silence is
// refused before anything runs, and what they cannot do later is an error at once.
func TestOlderShimsAreAskedNothingTheyLack(t *testing.T) {
	t.Parallel()
	eachOlder(t, func(t *testing.T, h *house, o older) {
		h.runsShimsOf(o)
		kept, pressed, files := h.sh("cat"), h.pressed("cat"), h.sh("cat")
		kept.KeepStdin = true
		files.Files = []File{{EnvKey: "POLICY", Content: []byte("policy")}}
		specs := []Spec{kept, pressed}
		if h.mode == IsolationPIDNS {
			specs = append(specs, files)
		}
		for _, s := range specs {
			_, err := h.hands.Prepare(t.Context(), s)
			if !errors.Is(err, ErrShim) || !strings.Contains(fmt.Sprint(err), "install both from one build") {
				t.Errorf("prepare: %v", err)
			}
			if exists(h.hands.path(s.ID)) {
				t.Error("a refused spawn left a directory")
			}
		}
		c := h.start(h.sh("read x; exec sleep 1000"))
		h.started(c)
		if _, err := c.WriteStdin(t.Context(), []byte("x")); !errors.Is(err, ErrStdinClosed) {
			t.Errorf("write: %v", err)
		}
		if err := c.CloseStdin(h.commit(c.ID(), &event.StdinClosed{})); err != nil {
			t.Errorf("close of an input that is closed already: %v", err)
		}
		h.kill(c)
	})
}

// olderDaemon runs the hands of an older build in a role until they print a
// handle, and kills them.
func (h *house) olderDaemon(o older, role string, env ...string) ulid.ULID {
	h.t.Helper()
	cmd := exec.Command(o.hands)
	cmd.Env = append(os.Environ(), "ACT_TEST_ROLE="+role, "DIR="+h.dir, "MODE="+h.mode, "NONCE="+h.nonce, "ACT_TEST_SHIM="+o.shim)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	var name string
	fmt.Fscan(out, &name)
	cmd.Process.Kill()
	cmd.Wait()
	id, err := ulid.ParseStrict(name)
	if err != nil {
		h.t.Fatalf("the older daemon said %q", name)
	}
	return id
}

// TestOlderDaemonsAreReplaced is the upgrade itself: a program was started by the
// older daemon with the older shim, that daemon was killed, and today's takes the
// program in, with its standard input and its output where they can stay open.
func TestOlderDaemonsAreReplaced(t *testing.T) {
	t.Parallel()
	eachOlder(t, func(t *testing.T, h *house, o older) {
		id := h.olderDaemon(o, "daemon")
		c, err := h.hands.Adopt(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		os.WriteFile(filepath.Join(h.dir, "stop"), nil, 0o644)
		if x := h.exited(c); ending(x.Exited.Exit) != "code 11" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if !o.streams {
			return
		}
		os.RemoveAll(filepath.Join(h.dir, "ledger2")) // the next daemon's
		const most = 4096                             // a ring's
		id = h.olderDaemon(o, "holder", "SCRIPT=yes | head -c 10000; exec cat")
		if c, err = h.hands.Adopt(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		h.started(c)
		got := 0
		for got < 10000 { // held back by the ring until somebody drains
			h.await(c)
			out, _ := h.drain(c)
			got += len(out)
			if len(out) > most+64<<10 {
				t.Fatalf("a ring gave %d bytes", len(out))
			}
		}
		if _, err := c.WriteStdin(context.Background(), []byte("still open\n")); err != nil {
			t.Error(err)
		}
		h.waitOutput(c, "still open")
		if err := c.CloseStdin(h.commit(id, &event.StdinClosed{})); err != nil {
			t.Error(err)
		}
		if x := h.exited(c); ending(x.Exited.Exit) != "code 0" || x.Exited.Stdout.Bytes != 10011 {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

// TestNewerShimsUnderAnOlderDaemon is what a downgrade leaves: the hands of an
// older build run their own tests with today's shim.
func TestNewerShimsUnderAnOlderDaemon(t *testing.T) {
	t.Parallel()
	for _, o := range olderBuilds(t) {
		t.Run(o.commit, func(t *testing.T) {
			cmd := exec.Command(o.hands, "-test.v", "-test.run", "ExitCodes|GoesOnWhereTheOtherStopped|SignalsReach|ScanFound|OrphanOrder|SIGKILLOfTheDaemon|ABlockedProgram|StaysOpen|SecondWitness")
			cmd.Dir = t.TempDir()
			cmd.Env = append(os.Environ(), "ACT_TEST_SHIMS="+filepath.Dir(shimBinary))
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			ran := strings.Count(string(out), "\n--- PASS")
			if t.Logf("%d tests of %s passed with today's shim", ran, o.commit); ran < 7 {
				t.Errorf("only %d ran:\n%s", ran, out)
			}
		})
	}
}

// A version says what its shim can do, and the spec what it needs.
func TestEveryAbilityHasAVersion(t *testing.T) {
	for _, c := range []struct {
		spec Spec
		want uint32
	}{
		{Spec{}, 1}, {Spec{Stdin: []byte("x")}, 1},
		{Spec{KeepStdin: true}, shim.VersionStreams}, {Spec{Overflow: event.OverflowBackpressure}, shim.VersionStreams},
		{Spec{Files: []File{{EnvKey: "A"}}}, shim.VersionFiles},
	} {
		if got := c.spec.wire(shim.Ground{}).Needs(); got != c.want || got > shim.ProtocolVersion {
			t.Errorf("%+v needs version %d, want %d of at most %d", c.spec, got, c.want, shim.ProtocolVersion)
		}
	}
}
