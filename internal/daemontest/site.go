//go:build linux

package daemontest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
)

// Site is a data directory with binaries of its own, so that its processes can
// be told from those of other tests by the path of their executable.
type Site struct {
	Dir    string // holds everything; short: the socket's path may have 107 bytes
	Bin    string // links to astridd and astrid-shim
	Data   string // the data directory
	Config string // path of the configuration
	Client *control.Client

	// Keep has the directory stay where it is if the test fails.
	Keep bool
}

// NewSite makes a site with more lines for its configuration. At the end of the
// test it is removed, and a process that is left over is ended and an error.
func NewSite(t testing.TB, lines ...string) *Site {
	t.Helper()
	from, err := Binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "astridd-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Site{Dir: dir, Bin: filepath.Join(dir, "bin"), Data: filepath.Join(dir, "data"), Config: filepath.Join(dir, "astridd.toml")}
	if err := os.Mkdir(s.Bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"astridd", "astrid-shim"} {
		if err := os.Link(filepath.Join(from, name), filepath.Join(s.Bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Configure(t, lines...)
	s.Client = control.NewClient(filepath.Join(s.Data, "control.sock"))
	t.Cleanup(func() {
		s.Client.Close()
		s.Sweep(t)
		if s.Keep && t.Failed() {
			t.Logf("kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Configure writes the configuration: what every test needs, and lines.
func (s *Site) Configure(t testing.TB, lines ...string) {
	t.Helper()
	mode, err := Isolation()
	if err != nil {
		t.Fatal(err)
	}
	s.ConfigureText(t, "data_dir = \"data\"\nisolation = \""+mode+"\"\n"+strings.Join(lines, "\n")+"\n")
}

// ConfigureText writes text as the configuration.
func (s *Site) ConfigureText(t testing.TB, text string) {
	t.Helper()
	WriteFile(t, s.Config, text)
}

// Sweep ends what is left of the site's processes, and calls it a failure. The
// launcher of a daemon that was killed needs a moment to notice.
func (s *Site) Sweep(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(s.Processes()) > 0 && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	for _, pid := range s.Processes() {
		t.Errorf("process %d (%s) is left over", pid, CommandLine(pid))
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Processes lists the living processes that run a program of the site or name
// a file of it on their command line.
func (s *Site) Processes() (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		var pid int
		if _, err := fmt.Sscan(e.Name(), &pid); err != nil || pid == os.Getpid() {
			continue
		}
		exe, _ := os.Readlink(filepath.Join("/proc", e.Name(), "exe"))
		if strings.HasPrefix(exe, s.Bin+"/") || strings.Contains(CommandLine(pid), s.Dir+"/") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// CommandLine is a process's command line; empty for a zombie, or if it is gone.
func CommandLine(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\x00", " "))
}

// Halt stops the site's shim processes in a mode.
func (s *Site) Halt(t testing.TB, mode string) {
	t.Helper()
	n := 0
	for _, pid := range s.Processes() {
		if CommandLine(pid) == filepath.Join(s.Bin, "astrid-shim")+" "+mode || CommandLine(pid) == "astrid-shim "+mode {
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

// ResumeAll lets halted processes go on.
func (s *Site) ResumeAll() {
	for _, pid := range s.Processes() {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
}
