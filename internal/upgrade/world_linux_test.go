package upgrade

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

type step = daemontest.Step

const module = "github.com/astrid-os/processledger/"

// TestMain removes what was built.
func TestMain(m *testing.M) {
	code := daemontest.Main(m)
	for _, dir := range made {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

var made []string // directories

// next builds astridd as another version, and astridctl, once.
var next = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "astridd-next-")
	if err != nil {
		return "", err
	}
	made = append(made, dir)
	for _, args := range [][]string{
		{"-ldflags", "-X " + module + "internal/buildinfo.version=next", "-tags", "crashpoints", "-o", dir + "/", module + "cmd/astridd"},
		{"-o", dir + "/", module + "cmd/astridctl"},
	} {
		cmd := exec.Command("go", append([]string{"build"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return dir, nil
})

// world is a site with a daemon, and the next version of it in a directory of its
// own with a shim beside it.
type world struct {
	*daemontest.Site
	daemon *daemontest.Daemon
	here   string // the program that was started
	next   string // the other version
	ctl    string // astridctl
}

func newWorld(t testing.TB, lines ...string) *world {
	t.Helper()
	built, err := next()
	if err != nil {
		t.Fatal(err)
	}
	s := daemontest.NewSite(t, lines...)
	s.WithDriver(t)
	w := &world{Site: s, here: filepath.Join(s.Bin, "astridd"), next: filepath.Join(s.Bin, "next", "astridd"), ctl: filepath.Join(built, "astridctl")}
	for _, dir := range []string{s.Witness(), filepath.Dir(w.next)} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	link(t, filepath.Join(built, "astridd"), w.next)
	link(t, filepath.Join(s.Bin, "astrid-shim"), filepath.Join(filepath.Dir(w.next), "astrid-shim"))
	w.daemon = s.Start(t)
	w.daemon.Ready(t)
	return w
}

func link(t testing.TB, from, to string) {
	t.Helper()
	if err := os.Link(from, to); err != nil {
		t.Fatal(err)
	}
}

// drive has the driver take the steps, all of which go well.
func (w *world) drive(t testing.TB, steps ...step) []daemontest.Outcome {
	t.Helper()
	out, err := w.Drive(t.Context(), "alice", "call", steps...)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if o.Err != "" {
			t.Fatalf("%s %s: %s", steps[i].Op, steps[i].Name, o.Err)
		}
	}
	return out
}

// begin has the driver start a program, and waits until it has said so.
func (w *world) begin(t testing.TB, op, name, script string) {
	t.Helper()
	w.drive(t, w.Program(op, name, script))
	daemontest.Eventually(t, name+" has started", func() bool { return w.Wrote(name, "start") })
}

// restart has another daemon take over and returns its status.
func (w *world) restart(t testing.TB, binary string) *control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*daemontest.Patience)
	defer cancel()
	a, err := w.Client.Restart(ctx, &control.RestartRequest{Binary: binary})
	if err != nil {
		t.Fatal(err)
	}
	st, err := w.Client.WaitRestarted(ctx, a)
	if err != nil {
		t.Fatalf("%v\n%s", err, w.daemon.Tail())
	}
	return st
}

// stopAll ends the persistent processes, and the daemon.
func (w *world) stopAll(t testing.TB) {
	t.Helper()
	ps, err := w.Client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range ps.Handles {
		if h.Tier == "persistent" {
			if _, err := w.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID}); err != nil {
				t.Error(err)
			}
		}
	}
	w.daemon.Stop(t)
}

// handle is the process with a label.
func (w *world) handle(t testing.TB, label string) control.Handle {
	t.Helper()
	ps, err := w.Client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range ps.Handles {
		if h.Label == label {
			return h
		}
	}
	t.Fatalf("no process is called %s", label)
	return control.Handle{}
}

// counted is what a counting program that came to n has written.
func counted(n int) []byte {
	var b []byte
	for i := 1; i <= n; i++ {
		b = append(strconv.AppendInt(b, int64(i), 10), '\n')
	}
	return b
}

// cameTo is how far a counting program says that it came, by its witness.
func (w *world) cameTo(t testing.TB, name string) int {
	t.Helper()
	n := 0
	daemontest.Eventually(t, name+" has ended", func() bool {
		b, _ := os.ReadFile(filepath.Join(w.Witness(), "nonce-"+name))
		_, rest, found := strings.Cut(string(b), "end ")
		_, err := fmt.Sscan(rest, &n)
		return found && err == nil
	})
	return n
}

// exited is what the ledger says of the end of a process, once it does.
func (w *world) exited(t testing.TB, id string) *event.ProcessExited {
	t.Helper()
	var found *event.ProcessExited
	daemontest.Eventually(t, "the end of "+id+" is recorded", func() bool {
		stream, err := w.Client.Events(t.Context(), &control.EventsQuery{})
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		for e, err := range stream.All() {
			if err != nil {
				t.Fatal(err)
			}
			if b, ok := e.Body.(*event.ProcessExited); ok && e.Handle.String() == id {
				found = b
			}
		}
		return found != nil
	})
	return found
}

// whole holds that the ledger has the digest of all that a counting program wrote.
func (w *world) whole(t testing.TB, name, id string) (all []byte) {
	t.Helper()
	all = counted(w.cameTo(t, name))
	b, sum := w.exited(t, id), sha256.Sum256(all)
	if b.Stdout.Bytes != uint64(len(all)) || hex.EncodeToString(b.Stdout.SHA256) != hex.EncodeToString(sum[:]) {
		t.Errorf("%s wrote %d bytes, and the ledger has %d of another digest", name, len(all), b.Stdout.Bytes)
	}
	return all
}

// code is the code of a control error.
func code(err error) control.Code {
	var e *control.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// as runs astridctl as somebody else.
func (w *world) as(uid uint32, args ...string) (said string, err error) {
	cmd := exec.Command(filepath.Join(w.Dir, "astridctl"), append([]string{"--data", w.Data}, args...)...)
	if err := os.Link(w.ctl, cmd.Path); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func itoa(n int) string { return strconv.Itoa(n) }
