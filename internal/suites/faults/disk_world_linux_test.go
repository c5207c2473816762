package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/worldcheck"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
	"github.com/astrid-os/processledger/projector"
)

const envOwnMounts = "ASTRID_TEST_OWN_MOUNTS" // set in the process that may mount

// inOwnMounts runs the test once more, in a process with a mount namespace of
// its own, so that nothing is left mounted whatever happens. It tells whether
// this is that process.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(envOwnMounts) != "" {
		// The namespace may share its mounts with the outside still.
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Skipf("no mounts here: %v", err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.parallel", "4")
	cmd.Env = append(os.Environ(), envOwnMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS, Pdeathsig: unix.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "--- SKIP") || strings.Contains(line, "--- FAIL") || strings.Contains(line, "_test.go:") {
			t.Log(strings.TrimRight(line, "\n"))
		}
	}
	switch {
	case errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL):
		t.Skipf("no mount namespace here: %v", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// disk is a site whose data directory is a file system of its own. Its socket
// is elsewhere, as with systemd: the data directory may go away.
type disk struct{ *daemontest.Armed }

// newDisk makes a site on a memory file system that a daemon has run on.
func newDisk(t *testing.T) *disk {
	t.Helper()
	d := bareDisk(t)
	mount(t, "tmpfs", d.Data, "tmpfs", "size=80m,mode=0700")
	// Copied: nothing can be linked onto another file system.
	if err := os.CopyFS(d.Data, os.DirFS(daemontest.Template(t))); err != nil {
		t.Fatal(err)
	}
	return d
}

func bareDisk(t *testing.T) *disk {
	t.Helper()
	d := &disk{daemontest.NewArmed(t)}
	socket := filepath.Join(d.Dir, "control.sock")
	d.Configure(t, `socket = "`+socket+`"`, `shutdown_timeout = "1s"`)
	d.Client.Close()
	d.Client = control.NewClient(socket)
	t.Cleanup(d.Client.Close)
	if err := os.MkdirAll(d.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	return d
}

func mount(t *testing.T, source, dir, fs, options string) {
	t.Helper()
	if err := unix.Mount(source, dir, fs, 0, options); err != nil {
		t.Fatalf("mount %s: %v", dir, err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// begin starts a daemon and the programs of the story.
func (d *disk) begin(t *testing.T) {
	t.Helper()
	d.Run(t)
	d.Daemon.Ready(t)
	d.start(t, d.Program("background", "plain", daemontest.Lasting), d.Program("background", "deaf", deaf),
		d.Program("background", "ends", daemontest.Lasting), d.Program("persistent", "kept", daemontest.Lasting),
		d.Program("persistent", "stays", daemontest.Lasting))
	for _, name := range []string{"plain", "deaf", "ends", "kept", "stays"} {
		daemontest.Eventually(t, name+" runs", func() bool { return d.Wrote(name, "start") })
	}
}

// deaf is a program that only KILL ends.
const deaf = `trap '' INT TERM; echo start >>"$WITNESS/$0"
while [ ! -e "$WITNESS/$1" ]; do sleep 0.02; done`

func (d *disk) start(t *testing.T, steps ...daemontest.Step) {
	t.Helper()
	out, err := d.Drive(t.Context(), "alice", "call-1", steps...)
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range out {
		if o.Err != "" {
			t.Fatalf("%s %s: %s", steps[i].Op, steps[i].Name, o.Err)
		}
	}
}

// fill takes every block of the data directory's file system.
func (d *disk) fill(t *testing.T) (free func()) {
	t.Helper()
	path := filepath.Join(d.Data, "ballast")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := int64(1 << 20); size >= 4096; size /= 2 {
		for {
			at, _ := f.Seek(0, 2)
			if _, err := f.Write(make([]byte, size)); err != nil {
				if !errors.Is(err, unix.ENOSPC) {
					t.Fatal(err)
				}
				_ = f.Truncate(at)
				_, _ = f.Seek(at, 0)
				break
			}
		}
	}
	return func() {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// inject has the system refuse calls of the daemon with an error, by strace,
// until the returned function is called.
func (d *disk) inject(t *testing.T, calls, errno string) (repair func()) {
	t.Helper()
	pid := d.Daemon.Cmd.Process.Pid
	cmd := exec.Command("strace", "-f", "-qq", "-o", "/dev/null", "-p", fmt.Sprint(pid),
		"-e", "trace="+calls, "-e", "inject="+calls+":error="+errno)
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Skipf("strace is not here: %v", err)
	}
	left := make(chan error, 1)
	go func() { left <- cmd.Wait() }()
	done := false
	repair = func() {
		if !done {
			done = true
			_ = cmd.Process.Signal(unix.SIGINT)
			<-left
		}
	}
	t.Cleanup(repair)
	daemontest.Eventually(t, "strace has every thread", func() bool {
		select {
		case <-left:
			left <- nil
			t.Skipf("this user may not trace: %s", said.String())
		default:
		}
		return traced(pid)
	})
	return repair
}

// traced tells whether every thread of the process has a tracer.
func traced(pid int) bool {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, path := range all {
		b, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(b), "TracerPid:\t0\n") {
			return false
		}
	}
	return len(all) > 0
}

// is waits for a state of the ledger and returns the status.
func (d *disk) is(t *testing.T, state string) *control.Status {
	t.Helper()
	var st *control.Status
	daemontest.Eventually(t, "the ledger is "+state, func() bool {
		var err error
		if st, err = d.Client.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
		return st.Ledger.State == state
	})
	return st
}

// handles lists what ps shows, by the name of the program.
func (d *disk) handles(t *testing.T) map[string]control.Handle {
	t.Helper()
	ps, err := d.Client.Ps(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]control.Handle{}
	for _, h := range ps.Handles {
		for _, e := range d.requests(t) {
			if e.Handle.String() == h.ID {
				out[strings.TrimPrefix(e.Body.(*event.SpawnRequested).Args[2], "nonce-")] = h
			}
		}
	}
	return out
}

// requests are the spawn.requested of the ledger.
func (d *disk) requests(t *testing.T) (out []*event.Event) {
	t.Helper()
	for _, e := range story(t, d.Site) {
		if e.Kind() == event.KindSpawnRequested {
			out = append(out, e)
		}
	}
	return out
}

// dead waits until nothing of the named programs runs.
func (d *disk) dead(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		daemontest.Eventually(t, name+" is dead", func() bool {
			for _, p := range worldcheck.Marked(d.Witness()) {
				if strings.Contains(p.Command, "nonce-"+name) {
					return false
				}
			}
			return true
		})
	}
}

// check stops the daemon and compares the ledger with the world.
func (d *disk) check(t *testing.T) []*event.Event {
	t.Helper()
	d.Daemon.Stop(t)
	archive, err := ledger.OpenArchive(filepath.Join(d.Data, "ledger"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	for _, p := range worldcheck.CheckWorld(t.Context(), worldcheck.World{Ledger: archive, Data: d.Data, Witness: d.Witness()}) {
		t.Error(p)
	}
	state := projector.New()
	var all []*event.Event
	for e, err := range archive.Events(context.Background(), 1, 0) {
		if err == nil {
			err = state.Apply(e)
		}
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
		all = append(all, e)
	}
	if live, held := state.LiveAll().Total(), len(state.Handles()); live != 0 || held != 0 || len(state.Cancels()) != 0 || len(state.Invocations()) != 0 {
		t.Errorf("left open: %d live, %d handles, %d cancels, %d invocations", live, held, len(state.Cancels()), len(state.Invocations()))
	}
	return all
}
