package powercut

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/internal/query"
)

// recordedBoot is the boot id of the machine that the recorded daemons believe
// to be on: not this one's, so that whoever opens what they left does so after
// another start of the machine.
const recordedBoot = "5ca1ab1e-0000-4000-8000-000000000001\n"

// stage is a shell under strace, which starts daemons: one trace holds all of
// them, and the shims that outlive them, in one order.
type stage struct {
	site  *daemontest.Site
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	trace string
	log   string // of the daemons and of strace
	pid   int    // of the daemon that runs
}

// tracer tells why nothing can be recorded here, or "".
var tracer = sync.OnceValue(func() string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "strace is not here"
	}
	if os.Geteuid() != 0 {
		return "only root can have a daemon believe in another boot of the machine"
	}
	if out, err := exec.Command("unshare", "-m", "true").CombinedOutput(); err != nil {
		return fmt.Sprintf("no mount namespace is to be had: %v: %s", err, out)
	}
	return ""
})

// newStage begins a trace. The site's data directory is what it is then.
func newStage(t *testing.T, site *daemontest.Site) *stage {
	t.Helper()
	s := &stage{site: site, trace: filepath.Join(site.Dir, "trace"), log: filepath.Join(site.Dir, "log")}
	boot := filepath.Join(site.Dir, "boot_id")
	daemontest.WriteFile(t, boot, recordedBoot)
	s.cmd = exec.Command("unshare", append([]string{"-m", "--propagation", "private", "sh", "-c",
		`mount --bind "$1" /proc/sys/kernel/random/boot_id && shift && exec "$@"`, "sh", boot,
		"strace"}, append(straceArgs(s.trace), "sh")...)...)
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s.cmd.Stderr = log
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil { // the test failed in the middle
			if s.pid != 0 {
				_ = syscall.Kill(s.pid, syscall.SIGKILL)
			}
			s.in.Close()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			text, _ := os.ReadFile(s.log)
			t.Logf("log of the stage:\n%s", text[max(0, len(text)-8000):])
		}
	})
	return s
}

// say has the shell do something and returns the line that it answers.
func (s *stage) say(t *testing.T, format string, args ...any) string {
	t.Helper()
	if _, err := fmt.Fprintf(s.in, format+"\n", args...); err != nil {
		t.Fatal(err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the stage does not answer: %v", err)
	}
	return strings.TrimSpace(line)
}

// start starts a daemon and waits until it is ready.
func (s *stage) start(t *testing.T) {
	t.Helper()
	s.begin(t)
	ctx, cancel := context.WithTimeout(t.Context(), daemontest.Patience)
	defer cancel()
	if _, err := s.site.Client.WaitReady(ctx); err != nil {
		t.Fatalf("the recorded daemon is not ready: %v", err)
	}
}

// begin starts a daemon.
func (s *stage) begin(t *testing.T) {
	t.Helper()
	line := s.say(t, "%s --config %s >>%s 2>&1 & echo $!", filepath.Join(s.site.Bin, "astridd"), s.site.Config, s.log)
	if _, err := fmt.Sscan(line, &s.pid); err != nil {
		t.Fatalf("the stage says %q", line)
	}
}

// end sends the daemon a signal and waits for its end.
func (s *stage) end(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(s.pid, sig); err != nil {
		t.Fatal(err)
	}
	got := s.say(t, "wait %d; echo $?", s.pid)
	if want := map[syscall.Signal]string{syscall.SIGTERM: "0", syscall.SIGKILL: "137"}[sig]; got != want {
		t.Fatalf("the recorded daemon left with %s after %v", got, sig)
	}
	s.pid = 0
}

// close ends the trace, once everything that is traced has ended, and returns
// it.
func (s *stage) close(t *testing.T) (calls []*Call, end int) {
	t.Helper()
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("strace: %v", err)
	}
	return readTrace(t, s.trace)
}

// straceArgs has strace write to a file what is needed here.
func straceArgs(trace string) []string {
	return []string{"-f", "--seccomp-bpf", "-qq", "-yy", "-s", "4194304", "-e", "signal=none", "-e", "trace=" + TracedCalls, "-o", trace}
}

func readTrace(t *testing.T, path string) (calls []*Call, end int) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if calls, end, err = ReadCalls(f); err != nil {
		t.Fatal(err)
	}
	return calls, end
}

// follower reads all events of a daemon as they are committed: what it has been
// sent is acknowledged.
type follower struct {
	done chan struct{}
	next uint64
}

// follow follows the events from the seq on until the daemon ends.
func follow(t *testing.T, site *daemontest.Site, from uint64) *follower {
	t.Helper()
	stream, err := site.Client.Events(t.Context(), &control.EventsQuery{Filter: query.Filter{FromSeq: from}, Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{done: make(chan struct{}), next: from}
	go func() {
		defer close(f.done)
		defer stream.Close()
		for e, err := range stream.All() {
			if err != nil {
				return
			}
			f.next = e.Seq + 1
		}
	}()
	return f
}
