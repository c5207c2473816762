package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/query"
	"github.com/astrid-os/processledger/ledger/event"
)

// startReady starts a daemon and waits until it is ready.
func startReady(t *testing.T, c *crash) {
	c.run(t)
	c.daemon.ready(t)
}

// tellStart is a start, until the daemon is ready or dead.
func tellStart(t *testing.T, c *crash) {
	c.run(t)
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.client.WaitReady(ctx)
}

// whileAlive ends when the daemon does.
func (c *crash) whileAlive(t *testing.T) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	done := c.daemon.done
	go func() {
		select {
		case <-done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// tellLife is a working day: programs that end by themselves, fail to start,
// are signalled, killed, cancelled, and ended by an orderly stop.
func tellLife(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.drive(ctx, "alice", "c1",
		c.program("spawn", "sync", quick),
		step{Op: "spawn", Cmd: "/no/such/program"},
		c.program("background", "cancelled", lasting))
	c.await(ctx, "cancelled", "start")
	_, _ = c.client.Cancel(ctx, &control.CancelRequest{Principal: "alice", Capsule: "driver", CallIDs: []string{"c1"}, Reason: "test"})
	_, _ = c.drive(ctx, "alice", "c2",
		step{Op: "wait", Name: "cancelled"}, step{Op: "drop", Name: "cancelled"},
		c.program("background", "ends", quick), step{Op: "wait", Name: "ends"}, step{Op: "drop", Name: "ends"},
		c.program("background", "told", lasting), step{Op: "signal", Name: "told", Signal: 0},
		step{Op: "wait", Name: "told"}, step{Op: "drop", Name: "told"},
		c.program("background", "killed", lasting), step{Op: "kill", Name: "killed"}, step{Op: "drop", Name: "killed"},
		c.program("background", "stopped", lasting))
	c.await(ctx, "stopped", "start")
	if ctx.Err() == nil {
		_ = c.daemon.cmd.Process.Signal(syscall.SIGTERM)
		c.daemon.wait(t)
	}
}

// await waits until a program has noted something, or nobody is left to make
// it.
func (c *crash) await(ctx context.Context, name, line string) {
	for ctx.Err() == nil && !c.wrote(name, line) && c.mayCome(name) {
		time.Sleep(5 * time.Millisecond)
	}
}

// mayCome tells whether the program can still write: while the daemon counts
// it as live.
func (c *crash) mayCome(name string) bool {
	ps, err := c.client.Ps(context.Background(), false)
	return err == nil && len(ps.Handles) > 0
}

// tellCancelBeforeGo cancels a spawn that is decided and cannot go, because
// the launcher of shims is halted.
func tellCancelBeforeGo(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	defer c.resumeAll()
	c.halt(t, "launch")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.drive(ctx, "alice", "c1", c.program("spawn", "never", quick))
	}()
	c.awaitKind(ctx, event.KindSpawnDecided)
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		_, _ = c.client.Cancel(ctx, &control.CancelRequest{Principal: "alice", CallIDs: []string{"c1"}})
	}()
	c.awaitKind(ctx, event.KindCancelRequested)
	c.resumeAll()
	<-cancelled
	<-done
	if c.wrote("never", "start") {
		t.Error("a program ran that was cancelled before go")
	}
}

// awaitKind waits until an event of that kind is durable.
func (c *crash) awaitKind(ctx context.Context, kind event.Kind) {
	s, err := c.client.Events(ctx, &control.EventsQuery{Follow: true, Filter: query.Filter{Kinds: []event.Kind{kind}}})
	if err != nil {
		return
	}
	defer s.Close()
	for range s.All() {
		return
	}
}

// halt stops the site's shim processes in a mode.
func (c *crash) halt(t *testing.T, mode string) {
	t.Helper()
	n := 0
	for _, pid := range c.processes() {
		if cmdline(pid) == filepath.Join(c.bin, "astrid-shim")+" "+mode || cmdline(pid) == "astrid-shim "+mode {
			n++
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n == 0 {
		t.Fatalf("no process of astrid-shim %s", mode)
	}
}

// resumeAll lets halted processes go on.
func (c *crash) resumeAll() {
	for _, pid := range c.processes() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}

// tellTimeOut has a sync spawn run into its time limit.
func tellTimeOut(t *testing.T, c *crash) {
	ctx, cancel := c.whileAlive(t)
	defer cancel()
	_, _ = c.drive(ctx, "hasty", "c1", c.program("spawn", "late", lasting))
}

// leaveMuch is a daemon that was killed while much was going on: a program that
// runs, one that ended meanwhile, a cancel that was not finished, and a
// directory of which nobody knows anything.
func leaveMuch(t *testing.T, c *crash) {
	startReady(t, c)
	out, err := c.drive(t.Context(), "alice", "c1",
		c.program("background", "runs", lasting), c.program("background", "meanwhile", lasting))
	if err != nil || out[0].Err+out[1].Err != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, name := range []string{"runs", "meanwhile"} {
		eventually(t, name+" has started", func() bool { return c.wrote(name, "start") })
	}
	c.daemon.kill(t)
	c.release(t, "meanwhile")
	eventually(t, "it has ended", func() bool { return c.wrote("meanwhile", "end") && c.exits() == 1 })
	if err := os.Mkdir(filepath.Join(c.data, "processes", ulid.Make().String()), 0o700); err != nil {
		t.Fatal(err)
	}
}

// exits counts the exit records on disk.
func (c *crash) exits() int {
	found, _ := filepath.Glob(filepath.Join(c.data, "processes", "*", "exit"))
	return len(found)
}

// leaveSilent is a daemon that was killed, and a shim that does not answer its
// successor.
func leaveSilent(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "runs", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("runs", "start") })
	c.halt(t, "shim")
	c.daemon.kill(t)
}

// leaveOlderLedger is a ledger from before a process that still runs, as after
// a restored backup.
func leaveOlderLedger(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "unknown", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("unknown", "start") })
	c.daemon.kill(t)
	from := template(t)
	// No ledger can tell of this one: the witness is not asked about it.
	for _, path := range []string{filepath.Join(c.data, "ledger"), filepath.Join(c.witness(), "nonce-unknown")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(c.data, "ledger"), os.DirFS(filepath.Join(from, "ledger"))); err != nil {
		t.Fatal(err)
	}
}

// tellAlone has a program end while no daemon is there: only its shim can write
// down how.
func tellAlone(t *testing.T, c *crash) {
	if _, err := c.drive(t.Context(), "alice", "c1", c.program("background", "alone", lasting)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has started", func() bool { return c.wrote("alone", "start") })
	c.daemon.kill(t)
	c.release(t, "alone")
	eventually(t, "its shim has left", func() bool { return len(c.processes()) == 0 })
}

func containsLine(text, line string) bool {
	return slices.Contains(strings.Split(text, "\n"), line)
}
