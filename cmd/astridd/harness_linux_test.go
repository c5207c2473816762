package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// patience bounds every wait for a condition.
const patience = 30 * time.Second

// binaries builds astridd and astrid-shim with their crash points, once, beside
// each other, and returns their directory.
var binaries = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "astridd-bin-")
	if err != nil {
		return "", err
	}
	built.add(dir)
	cmd := exec.Command("go", "build", "-tags", "crashpoints", "-o", dir+"/", ".", "../../host/shim/astrid-shim")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return dir, nil
})

// built are the directories to remove in the end.
var built cleanup

type cleanup struct {
	mu   sync.Mutex
	dirs []string
}

func (c *cleanup) add(dir string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dirs = append(c.dirs, dir)
}

// TestMain lets more tests run side by side than there are processors: nearly
// all of their time they wait for disks and other processes.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6")
	}
	code := m.Run()
	for _, dir := range built.dirs {
		_ = os.RemoveAll(dir)
	}
	os.Exit(code)
}

// site is a data directory with binaries of its own, so that its processes can
// be told from those of other tests by the path of their executable.
type site struct {
	dir    string // short: the socket's path may have 107 bytes
	bin    string
	data   string
	config string // path
	client *control.Client
}

// newSite makes a site with more lines for its configuration.
func newSite(t *testing.T, lines ...string) *site {
	t.Helper()
	from, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "astridd-")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, bin: filepath.Join(dir, "bin"), data: filepath.Join(dir, "data"), config: filepath.Join(dir, "astridd.toml")}
	if err := os.Mkdir(s.bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"astridd", "astrid-shim"} {
		if err := os.Link(filepath.Join(from, name), filepath.Join(s.bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.configure(t, lines...)
	s.client = control.NewClient(filepath.Join(s.data, "control.sock"))
	t.Cleanup(func() {
		s.client.Close()
		s.sweep(t)
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// configure writes the configuration.
func (s *site) configure(t *testing.T, lines ...string) {
	t.Helper()
	mode, err := isolation()
	if err != nil {
		t.Fatal(err)
	}
	s.configureText(t, "data_dir = \"data\"\nisolation = \""+mode+"\"\n"+strings.Join(lines, "\n")+"\n")
}

func (s *site) configureText(t *testing.T, text string) {
	t.Helper()
	write(t, s.config, text)
}

// sweep ends what is left of the site's processes, and calls it a failure. The
// launcher of a daemon that was killed needs a moment to notice.
func (s *site) sweep(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(s.processes()) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	for _, pid := range s.processes() {
		t.Errorf("process %d (%s) is left over", pid, cmdline(pid))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// processes lists the living processes that run a program of the site or name
// a file of it on their command line.
func (s *site) processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == os.Getpid() {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if strings.HasPrefix(exe, s.bin+"/") || strings.Contains(cmdline(pid), s.dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cmdline is a process's command line; empty for a zombie, or if it is gone.
func cmdline(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// daemon is a running astridd.
type daemonProcess struct {
	site *site
	cmd  *exec.Cmd
	log  string // path of what it wrote on stderr
	done chan struct{}
	err  error // of Wait, once done is closed
}

// start starts astridd with more environment; it does not wait until it is
// ready. It is killed at the end of the test, at the latest.
func (s *site) start(t *testing.T, env ...string) *daemonProcess {
	t.Helper()
	cmd := exec.Command(filepath.Join(s.bin, "astridd"), "--config", s.config)
	cmd.Env = append(os.Environ(), env...)
	return s.startCommand(t, cmd)
}

// startCommand is start for a command that becomes astridd.
func (s *site) startCommand(t *testing.T, cmd *exec.Cmd) *daemonProcess {
	t.Helper()
	log, err := os.CreateTemp(s.dir, "log-")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	d := &daemonProcess{site: s, cmd: cmd, log: log.Name(), done: make(chan struct{})}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { d.err = d.cmd.Wait(); close(d.done) }()
	t.Cleanup(func() {
		d.kill(t)
		if t.Failed() {
			t.Logf("log of astridd %d:\n%s", d.cmd.Process.Pid, d.tail())
		}
	})
	return d
}

// ready waits until the daemon is.
func (d *daemonProcess) ready(t *testing.T) *control.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	go func() { // a daemon that died will not become ready
		select {
		case <-d.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	s, err := d.site.client.WaitReady(ctx)
	if err != nil {
		t.Fatalf("the daemon is not ready: %v\n%s", err, d.tail())
	}
	return s
}

// kill has the daemon gone at once, if it is not.
func (d *daemonProcess) kill(t *testing.T) {
	t.Helper()
	select {
	case <-d.done:
		return
	default:
	}
	_ = d.cmd.Process.Kill()
	d.wait(t)
}

// signal sends a signal.
func (d *daemonProcess) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := d.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// stop stops the daemon in order and expects exit code 0.
func (d *daemonProcess) stop(t *testing.T) {
	t.Helper()
	d.signal(t, syscall.SIGTERM)
	if code := d.wait(t); code != 0 {
		t.Errorf("astridd left with %d after TERM:\n%s", code, d.tail())
	}
}

// wait waits for the end of the daemon and returns its exit code, −1 after a
// signal.
func (d *daemonProcess) wait(t *testing.T) int {
	t.Helper()
	select {
	case <-d.done:
		return d.cmd.ProcessState.ExitCode()
	case <-time.After(patience):
		t.Fatalf("astridd %d does not end:\n%s", d.cmd.Process.Pid, d.tail())
		return 0
	}
}

// diedByKill tells whether the daemon ended by SIGKILL.
func (d *daemonProcess) diedByKill() bool {
	var exit *exec.ExitError
	if !errors.As(d.err, &exit) {
		return false
	}
	ws, ok := exit.Sys().(syscall.WaitStatus)
	return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
}

// tail is the end of the daemon's log.
func (d *daemonProcess) tail() string {
	b, _ := os.ReadFile(d.log)
	return string(b[max(0, len(b)-8000):])
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}
