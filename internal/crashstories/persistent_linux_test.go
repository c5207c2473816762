package crashstories

import (
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// tellPersistent is what guests do with processes that outlive them: one that is
// watched, written to, attached to and stopped, one that ends with its input and
// is released, and one that outlives an orderly stop.
func tellPersistent(t *testing.T, c *crash) {
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	_, _ = c.Drive(ctx, "alice", "c1",
		c.Program("persistent", "server", echoing), step{Op: "watch", Name: "server", Text: "web"},
		step{Op: "write", Name: "server", Text: "one\n"}, step{Op: "attach", Name: "server"}, step{Op: "drop", Name: "server"},
		step{Op: "unwatch", Name: "server"}, step{Op: "stop", Name: "server", MS: 5000})
	_, _ = c.Drive(ctx, "alice", "c2",
		c.Program("persistent", "reader", echoing), step{Op: "write", Name: "reader", Text: "two\n"},
		step{Op: "eof", Name: "reader"}, step{Op: "await", Name: "reader", MS: 5000}, step{Op: "release", Name: "reader"},
		c.Program("persistent", "stays", daemontest.Lasting))
	c.await(ctx, "stays", "start")
	if ctx.Err() == nil {
		_ = c.Daemon.Cmd.Process.Signal(syscall.SIGTERM)
		c.Daemon.Wait(t)
	}
}

// leavePersistent is a daemon that was killed over persistent processes: one
// that runs and is watched, one that ended meanwhile, and one whose input was
// closed.
func leavePersistent(t *testing.T, c *crash) {
	startReady(t, c)
	out, err := c.Drive(t.Context(), "alice", "c1",
		c.Program("persistent", "runs", daemontest.Lasting), step{Op: "watch", Name: "runs"},
		c.Program("persistent", "meanwhile", daemontest.Lasting), c.Program("persistent", "told", echoing), step{Op: "eof", Name: "told"})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range out {
		if o.Err != "" {
			t.Fatalf("%+v", out)
		}
	}
	for _, name := range []string{"runs", "meanwhile"} {
		daemontest.Eventually(t, name+" has started", func() bool { return c.Wrote(name, "start") })
	}
	c.Daemon.Kill(t)
	c.Release(t, "meanwhile")
	daemontest.Eventually(t, "they have ended", func() bool { return c.Wrote("meanwhile", "end") && c.exits() == 2 })
}

// echoing is a server: it says each line of its input again, and leaves with 7
// once that ends. TERM ends it with 4.
const echoing = `trap 'echo told >>"$WITNESS/$0"; exit 4' TERM
echo start >>"$WITNESS/$0"
echo ready
while read line; do echo "heard $line"; done
echo end >>"$WITNESS/$0"
exit 7`

// leavePersistentRunning is a daemon with a persistent process that runs.
func leavePersistentRunning(t *testing.T, c *crash) {
	startReady(t, c)
	out, err := c.Drive(t.Context(), "alice", "c0", c.Program("persistent", "stays", daemontest.Lasting))
	if err != nil || out[0].Err != "" {
		t.Fatal(out, err)
	}
	daemontest.Eventually(t, "it has started", func() bool { return c.Wrote("stays", "start") })
}

// tellRestart is an orderly restart over what outlives it and what does not: a
// program in the background, and a call that ends while others are turned away.
func tellRestart(t *testing.T, c *crash) {
	ctx, cancel := c.WhileAlive(t)
	defer cancel()
	_, _ = c.Drive(ctx, "alice", "c1", c.Program("background", "ends", daemontest.Lasting))
	called := make(chan struct{})
	go func() {
		defer close(called)
		_, _ = c.Drive(ctx, "bob", "c2", c.Program("spawn", "call", daemontest.Lasting))
	}()
	for over := false; !over && ctx.Err() == nil && !c.Wrote("call", "start"); time.Sleep(5 * time.Millisecond) {
		select {
		case <-called: // its shim died
			over = true
		default:
		}
	}
	a, err := c.Client.Restart(ctx, &control.RestartRequest{})
	c.Release(t, "call")
	<-called
	if err == nil {
		_, _ = c.Client.WaitRestarted(ctx, a)
	}
	_, _ = c.Drive(ctx, "bob", "c3", c.Program("spawn", "after", daemontest.Quick))
}
