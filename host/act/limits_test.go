//go:build linux

package act

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a tmpfs and returns where.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("cannot mount a small disk here: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestAFullDiskRefusesBeforeAnythingRuns(t *testing.T) {
	h := newHouseIn(t, IsolationNone, smallDisk(t, "300k"))
	s := h.sh("true")
	s.RingBytes = 1 << 20
	if _, err := h.hands.Prepare(t.Context(), s); !errors.Is(err, ErrNoSpace) {
		t.Errorf("prepare: %v", err)
	}
	if exists(h.hands.path(s.ID)) {
		t.Error("a refused spawn left a directory")
	}
	s = h.sh("true")
	s.RingBytes = 4 << 10
	if _, err := h.hands.Prepare(t.Context(), s); err != nil {
		t.Errorf("a small ring fits: %v", err)
	}
	h.reopen()
}

func TestAFullDiskDoesNotSwallowAnExit(t *testing.T) {
	for _, alone := range []bool{false, true} {
		h := newHouseIn(t, IsolationNone, smallDisk(t, "1m"))
		mkfifo(t, filepath.Join(h.dir, "gate"))
		s := h.sh("read x <gate; head -c 100000 /dev/zero; exit 21")
		c := h.start(s)
		h.started(c)
		fill(t, filepath.Join(h.dir, "fill"))
		if alone {
			h.hands.Close()
		}
		release(t, filepath.Join(h.dir, "gate"))
		if alone {
			h.until("the exit record", func() bool {
				hands := &Hands{o: Options{Dir: h.dir}, procfd: openProcForTest(t)}
				defer unix.Close(hands.procfd)
				f, err := hands.Look(c.ID())
				return err == nil && f.Exit != nil && *f.Exit.Exited.Exit.Code == 21 && f.Exit.Exited.Stdout.Bytes == 100000
			})
			os.Remove(filepath.Join(h.dir, "fill"))
			h.open()
			continue
		}
		x := h.exited(c)
		if ending(x.Exited.Exit) != "code 21" || x.Exited.Stdout.Bytes != 100000 {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if out, _ := h.drain(c); len(out) != int(s.RingBytes) {
			t.Errorf("kept %d bytes of output", len(out))
		}
	}
}

func openProcForTest(t *testing.T) int {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// fill uses up a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 64 << 10; size > 0; size /= 2 {
		for {
			if _, err := f.Write(make([]byte, size)); err != nil {
				break
			}
		}
	}
}

func TestProbeSaysWhyNot(t *testing.T) {
	r, err := Probe(shimBinary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("here: %+v", r)
	if (r.Isolation == IsolationPIDNS) != (r.Reason == "") {
		t.Errorf("%+v", r)
	}
	if _, err := Probe("/no/such/shim"); err == nil {
		t.Error("a missing shim probes well")
	}
}

// A user namespace whose limits forbid further namespaces is what many
// containers are.
func TestProbeWhereNamespacesAreForbidden(t *testing.T) {
	needNamespaces(t)
	exe, _ := os.Executable()
	script := `echo 0 >/proc/sys/user/max_user_namespaces && echo 0 >/proc/sys/user/max_pid_namespaces && exec "$0"`
	cmd := exec.Command("/bin/sh", "-c", script, exe)
	cmd.Env = append(os.Environ(), "ACT_TEST_ROLE=probe", "ACT_TEST_SHIM="+shimBinary)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if s := string(out); !strings.HasPrefix(s, "none|none|") || !strings.Contains(s, "no namespaces") || !strings.HasSuffix(s, "|<nil>\n") {
		t.Errorf("probe said %s", s)
	}
}

func TestIsolationIsNeverWeakenedInSilence(t *testing.T) {
	needNamespaces(t)
	h := newHouse(t, IsolationNone) // what the configuration says does not override what a spec asks for
	s := h.spec("true")
	s.Isolation = IsolationPIDNS
	x, c := h.run(s)
	if ending(x.Exited.Exit) != "code 0" || !strings.Contains(c.Isolation(), "pidns") {
		t.Errorf("asked for %s, got %s", s.Isolation, c.Isolation())
	}
	s.ID, s.Isolation = newID(), "magic"
	if _, err := h.hands.Prepare(t.Context(), s); err == nil {
		t.Error("an isolation that nobody knows was taken")
	}
}

// TestAsAnOrdinaryUser runs other tests of this package again, as nobody.
func TestAsAnOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: all other tests ran as an ordinary user already")
	}
	if os.Getenv("ACT_TEST_SHIMS") != "" {
		t.Skip("this is the run inside")
	}
	t.Parallel() // most of it is waiting
	dir, err := os.MkdirTemp("", "act-user-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	exe, _ := os.Executable()
	b, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	copied, tmp := filepath.Join(dir, "act.test"), filepath.Join(dir, "tmp")
	for _, err := range []error{os.Chmod(dir, 0o755), os.WriteFile(copied, b, 0o755), os.Mkdir(tmp, 0o700), os.Chown(tmp, 65534, 65534)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	// Those whose outcome may depend on the user; the others would only take
	// their time again.
	cmd := exec.Command(copied, "-test.v", "-test.skip", "StaysStopped", "-test.run", "ExitCodes|Witness|Identity|Grandchildren|Signals|GetsWhat|Harm|Command|Stopped|"+
		"Outlives|Adopt|Usage|KilledShim|SecondWitness|OrphanOrder|SIGKILL|EOFBefore|Probe|Launcher|ScanFound|Stdin|Leaks|InjectedFiles")
	cmd.Dir = tmp
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + tmp, "HOME=" + tmp, "ACT_TEST_SHIMS=" + filepath.Dir(shimBinary)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "SKIP") || strings.Contains(line, "here:") {
			t.Log(line)
		}
	}
	if here, err := probed(); err == nil && here.Isolation == IsolationPIDNS && !strings.Contains(string(out), "userns+pidns") {
		t.Log("user namespaces are not allowed to ordinary users here")
	}
}
