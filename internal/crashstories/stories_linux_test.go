package crashstories

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// startReady starts a daemon and waits until it is ready.
func startReady(t *testing.T, c *crash) {
	c.Run(t)
	c.Daemon.Ready(t)
}

// tellStart is a start, until the daemon is ready and what it found is settled,
// or it is dead.
func tellStart(t *testing.T, c *crash) {
	c.Run(t)
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	st, err := c.Client.WaitReady(ctx)
	for err == nil && st.Recovery.Settling > 0 {
		time.Sleep(5 * time.Millisecond)
		st, err = c.Client.Status(ctx)
	}
}

// tellLife is a working day: programs that end by themselves, fail to start,
// are signalled, killed, cancelled, and ended by an orderly stop.
func tellLife(t *testing.T, c *crash) {
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	_, _ = c.Drive(ctx, "alice", "c1",
		c.Program("spawn", "sync", daemontest.Quick),
		step{Op: "spawn", Cmd: "/no/such/program"},
		c.Program("background", "cancelled", daemontest.Lasting))
	c.await(ctx, "cancelled", "start")
	_, _ = c.Client.Cancel(ctx, &control.CancelRequest{Principal: "alice", Capsule: "driver", CallIDs: []string{"c1"}, Reason: "test"})
	_, _ = c.Drive(ctx, "alice", "c2",
		step{Op: "wait", Name: "cancelled"}, step{Op: "drop", Name: "cancelled"},
		c.Program("background", "ends", daemontest.Quick), step{Op: "wait", Name: "ends"}, step{Op: "drop", Name: "ends"},
		c.Program("background", "told", daemontest.Lasting), step{Op: "signal", Name: "told", Signal: 0},
		step{Op: "wait", Name: "told"}, step{Op: "drop", Name: "told"},
		c.Program("background", "killed", daemontest.Lasting), step{Op: "kill", Name: "killed"}, step{Op: "drop", Name: "killed"},
		c.Program("background", "stopped", daemontest.Lasting))
	c.await(ctx, "stopped", "start")
	if ctx.Err() == nil {
		_ = c.Daemon.Cmd.Process.Signal(syscall.SIGTERM)
		c.Daemon.Wait(t)
	}
}

// await waits until a program has noted something, or nobody is left to make
// it.
func (c *crash) await(ctx context.Context, name, line string) {
	for ctx.Err() == nil && !c.Wrote(name, line) && c.mayCome(name) {
		time.Sleep(5 * time.Millisecond)
	}
}

// mayCome tells whether the program can still write: while the daemon counts
// it as live.
func (c *crash) mayCome(name string) bool {
	ps, err := c.Client.Ps(context.Background(), false)
	return err == nil && len(ps.Handles) > 0
}

// tellCancelBeforeGo cancels a spawn that is decided and cannot go, because
// the launcher of shims is halted.
func tellCancelBeforeGo(t *testing.T, c *crash) {
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	defer c.ResumeAll()
	c.Halt(t, "launch")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Drive(ctx, "alice", "c1", c.Program("spawn", "never", daemontest.Quick))
	}()
	c.AwaitKind(ctx, event.KindSpawnDecided)
	cancelled := make(chan struct{})
	go func() {
		defer close(cancelled)
		_, _ = c.Client.Cancel(ctx, &control.CancelRequest{Principal: "alice", CallIDs: []string{"c1"}})
	}()
	c.AwaitKind(ctx, event.KindCancelRequested)
	c.ResumeAll()
	<-cancelled
	<-done
	if c.Wrote("never", "start") {
		t.Error("a program ran that was cancelled before go")
	}
}

// tellTimeOut has a sync spawn run into its time limit.
func tellTimeOut(t *testing.T, c *crash) {
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	_, _ = c.Drive(ctx, "hasty", "c1", c.Program("spawn", "late", daemontest.Lasting))
}

// leaveMuch is a daemon that was killed while much was going on: a program that
// runs, one that ended meanwhile, a cancel that was not finished, and a
// directory of which nobody knows anything.
func leaveMuch(t *testing.T, c *crash) {
	startReady(t, c)
	out, err := c.Drive(t.Context(), "alice", "c1",
		c.Program("background", "runs", daemontest.Lasting), c.Program("background", "meanwhile", daemontest.Lasting))
	if err != nil || out[0].Err+out[1].Err != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	for _, name := range []string{"runs", "meanwhile"} {
		daemontest.Eventually(t, name+" has started", func() bool { return c.Wrote(name, "start") })
	}
	c.Daemon.Kill(t)
	c.Release(t, "meanwhile")
	daemontest.Eventually(t, "it has ended", func() bool { return c.Wrote("meanwhile", "end") && c.exits() == 1 })
	if err := os.Mkdir(filepath.Join(c.Data, "processes", ulid.Make().String()), 0o700); err != nil {
		t.Fatal(err)
	}
}

// exits counts the exit records on disk.
func (c *crash) exits() int {
	found, _ := filepath.Glob(filepath.Join(c.Data, "processes", "*", "exit"))
	return len(found)
}

// leaveSilent is a daemon that was killed, and a shim that does not answer its
// successor.
func leaveSilent(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.Drive(t.Context(), "alice", "c1", c.Program("background", "runs", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it has started", func() bool { return c.Wrote("runs", "start") })
	c.Halt(t, "shim")
	c.Daemon.Kill(t)
}

// leaveOlderLedger is a ledger from before a process that still runs, as after
// a restored backup.
func leaveOlderLedger(t *testing.T, c *crash) {
	startReady(t, c)
	if _, err := c.Drive(t.Context(), "alice", "c1", c.Program("background", "unknown", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it has started", func() bool { return c.Wrote("unknown", "start") })
	c.Daemon.Kill(t)
	from := daemontest.Template(t)
	// No ledger can tell of this one: the witness is not asked about it.
	for _, path := range []string{filepath.Join(c.Data, "ledger"), filepath.Join(c.Witness(), "nonce-unknown")} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(c.Data, "ledger"), os.DirFS(filepath.Join(from, "ledger"))); err != nil {
		t.Fatal(err)
	}
}

// tellAlone has a program end while no daemon is there: only its shim can write
// down how.
func tellAlone(t *testing.T, c *crash) {
	if _, err := c.Drive(t.Context(), "alice", "c1", c.Program("background", "alone", daemontest.Lasting)); err != nil {
		t.Fatal(err)
	}
	daemontest.Eventually(t, "it has started", func() bool { return c.Wrote("alone", "start") })
	c.Daemon.Kill(t)
	c.Release(t, "alone")
	daemontest.Eventually(t, "its shim has left", func() bool { return len(c.Processes()) == 0 })
}
