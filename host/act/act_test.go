//go:build linux

package act

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

func TestExitCodesAndSignalsAreTrue(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for _, c := range []struct{ script, want string }{
			{"exit 0", "code 0"},
			{"exit 7", "code 7"},
			{"exit 137", "code 137"},
			{"kill -TERM $$", "signal 15"},
			{"kill -KILL $$", "signal 9"},
			{"kill -SEGV $$", "signal 11"},
		} {
			x, child := h.run(h.sh("echo out; echo err >&2; " + c.script))
			if got := ending(x.Exited.Exit); got != c.want {
				t.Errorf("%q ended with %s, want %s", c.script, got, c.want)
			}
			if x.Exited.Cause != "self" || x.Order != "" || x.Exited.RestKilled != 0 {
				t.Errorf("%q: %+v", c.script, x)
			}
			if out, errs := h.drain(child); out != "out\n" || errs != "err\n" {
				t.Errorf("%q wrote %q and %q", c.script, out, errs)
			}
		}
	})
}

// The witness is the programs' own file: each writes a line when it starts and
// when it ends.
func TestRecordsAgreeWithTheWitness(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		witness := filepath.Join(h.dir, "witness")
		var want []string
		for i := range 5 {
			before := time.Now().UnixNano()
			x, c := h.run(h.sh(fmt.Sprintf("echo start-%d >>witness; echo end-%d >>witness; exit %d", i, i, i)))
			want = append(want, fmt.Sprintf("start-%d", i), fmt.Sprintf("end-%d", i))
			if *x.Exited.Exit.Code != int32(i) || x.Exited.EndedWall < before || x.Exited.EndedWall > time.Now().UnixNano() {
				t.Errorf("run %d: %s", i, show(Notice{Exited: x}))
			}
			f := h.look(c.ID())
			if !f.Go || f.Started == nil || f.Exit == nil || *f.Exit.Exited.Exit.Code != int32(i) {
				t.Errorf("run %d left %+v", i, f)
			}
		}
		got, _ := os.ReadFile(witness)
		if strings.Join(lines(string(got)), " ") != strings.Join(want, " ") {
			t.Errorf("witness saw %q", got)
		}
	})
}

func TestRusageIsTheProgramsOwn(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		x, _ := h.run(h.sh("i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"))
		if x.Exited.UserNano < int64(20*time.Millisecond) || x.Exited.MaxRSSKiB < 500 {
			t.Errorf("rusage: %+v", x.Exited)
		}
		idle, _ := h.run(h.sh("exit 0"))
		if idle.Exited.UserNano > x.Exited.UserNano/2 {
			t.Errorf("idle program used %d ns, busy one %d", idle.Exited.UserNano, x.Exited.UserNano)
		}
	})
}

func TestWhatCannotRunFailsAndNeverExits127(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		write := func(name, content string, mode os.FileMode) {
			if err := os.WriteFile(filepath.Join(h.dir, name), []byte(content), mode); err != nil {
				t.Fatal(err)
			}
			os.Chmod(filepath.Join(h.dir, name), mode)
		}
		write("plain", "#!/bin/sh\n", 0o644)
		write("text", "no program\n", 0o755)
		write("pipe", "#!gate\n", 0o755)
		mkfifo(t, filepath.Join(h.dir, "gate"))
		write("zero", "#!/dev/zero\n", 0o755)
		write("orphan", "#!/no/such/interpreter -x\n", 0o755)
		os.Mkdir(filepath.Join(h.dir, "dir"), 0o755)
		in := func(s Spec, dir string) Spec { s.Dir = dir; return s }
		for _, c := range []struct {
			spec  Spec
			step  string
			errno syscall.Errno
		}{
			{h.spec("no-such-command-at-all"), "resolve", syscall.ENOENT},
			{h.spec("/no/such/file"), "resolve", syscall.ENOENT},
			{h.spec("./plain"), "resolve", syscall.EACCES},
			{h.spec("./dir"), "resolve", syscall.EACCES},
			{h.spec("./text"), "exec", syscall.ENOEXEC},
			{h.spec("./orphan"), "exec", syscall.ENOENT},
			{h.spec("./pipe"), "exec", syscall.EACCES},
			{h.spec("./zero"), "exec", syscall.EACCES},
			{in(h.spec("true"), filepath.Join(h.dir, "nowhere")), "chdir", syscall.ENOENT},
			{in(h.spec("true"), filepath.Join(h.dir, "plain")), "chdir", syscall.ENOTDIR},
		} {
			child := h.start(c.spec)
			n := h.next(child)
			if n.Failed == nil || n.Failed.Step != c.step || syscall.Errno(n.Failed.Errno) != c.errno || n.Failed.Detail == "" {
				t.Errorf("%v: got %s, want %s with %v", c.spec.Argv, show(n), c.step, c.errno)
			}
			if _, more := <-child.Notices(); more {
				t.Errorf("%v: something came after the failure", c.spec.Argv)
			}
			h.until("the shim leaves", func() bool { return !h.look(child.ID()).LockHeld })
			if f := h.look(child.ID()); !f.Go || f.Failed == nil || f.Started != nil || f.Exit != nil {
				t.Errorf("%v left %+v", c.spec.Argv, f)
			}
		}
	})
}

func TestStartedTellsWhatRuns(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		script := filepath.Join(h.dir, "script")
		if err := os.WriteFile(script, []byte("#!/bin/sh -e\nread x\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		os.Chmod(script, 0o755)
		os.Symlink("script", filepath.Join(h.dir, "link"))
		s := h.spec("link", "arg")
		s.Env[0] = "PATH=/nowhere:" + h.dir + ":/usr/bin"
		c := h.start(s)
		st := h.started(c)
		if st.Executable.Path != script || !sameFile(t, st.Executable, script) {
			t.Errorf("executable %+v", st.Executable)
		}
		if st.Interpreter == nil || !sameFile(t, *st.Interpreter, "/bin/sh") {
			t.Errorf("interpreter %+v", st.Interpreter)
		}
		if x := h.exited(c); ending(x.Exited.Exit) != "code 1" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

func sameFile(t *testing.T, f event.File, path string) bool {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return bytes.Equal(f.SHA256, sum[:]) && f.Device == st.Dev && f.Inode == st.Ino
}

func TestTheIdentityIsTheProgramsOnThisMachine(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.spec("sleep", "1000"))
		st := h.started(c)
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", st.Program.PID))
		if err != nil || string(cmdline) != "sleep\x001000\x00" {
			t.Errorf("pid %d is %q (%v)", st.Program.PID, cmdline, err)
		}
		if st.Program.StartTicks == 0 || st.Program.PidNamespace == 0 || st.Shim.PID == 0 || st.Shim.StartTicks == 0 {
			t.Errorf("identities: %+v, shim %+v", st.Program, st.Shim)
		}
		if disk := h.look(c.ID()); disk.Started == nil || fmt.Sprint(disk.Started.Program) != fmt.Sprint(st.Program) {
			t.Errorf("on disk %+v, told %+v", disk.Started, st.Program)
		}
		if isolated := strings.Contains(st.Isolation, "pidns"); isolated != (h.mode == IsolationPIDNS) {
			t.Errorf("isolation %q in mode %s", st.Isolation, h.mode)
		}
		if h.hands.gone(st.Program) || h.hands.gone(st.Shim) {
			t.Error("living processes count as gone")
		}
		h.kill(c)
		h.until("program and shim are gone", func() bool { return h.hands.gone(st.Program) && h.hands.gone(st.Shim) })
	})
}

// kill ends a child by KILL of its tree.
func (h *house) kill(c *Child) *ExitRecord {
	h.t.Helper()
	h.signal(c, 9, event.TargetTree, "kill")
	return h.exited(c)
}

func TestOutputIsDigestedInFullAndTheNewestKept(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		data := make([]byte, 10<<20)
		rand.Read(data)
		if err := os.WriteFile(filepath.Join(h.dir, "data"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		s := h.spec("cat", "data")
		s.RingBytes = 1 << 20
		x, c := h.run(s)
		sum := sha256.Sum256(data)
		if x.Exited.Stdout.Bytes != uint64(len(data)) || !bytes.Equal(x.Exited.Stdout.SHA256, sum[:]) {
			t.Errorf("stdout %+v", x.Exited.Stdout)
		}
		if x.Exited.Stdout.Dropped != uint64(len(data)-1<<20) {
			t.Errorf("dropped %d", x.Exited.Stdout.Dropped)
		}
		out, _ := h.drain(c)
		if out != string(data[len(data)-1<<20:]) {
			t.Errorf("drained %d bytes, not the newest", len(out))
		}
	})
}

func TestGrandchildrenDieWithTheProgram(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		begin := time.Now()
		x, c := h.run(h.sh(`(: >a; exec sleep 1000) & (: >b; exec setsid sleep 1001) &
			(setsid sh -c '(: >c; exec sleep 1002) & : >d; sleep 1003' &)
			until [ -e a ] && [ -e b ] && [ -e c ] && [ -e d ]; do sleep 0.01; done
			echo done; exit 4`))
		if ending(x.Exited.Exit) != "code 4" || x.Exited.RestKilled < 4 {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("a grandchild that holds the pipe blocked the exit for %s", took)
		}
		if out, _ := h.drain(c); out != "done\n" {
			t.Errorf("output %q", out)
		}
		if left := processesWith(h.nonce); len(left) > 0 {
			t.Errorf("alive after the exit record: %v", left)
		}
	})
}

func TestSignalsReachTheProgramOrTheTree(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		script := `trap 'echo term; exit 3' TERM; trap 'echo usr1' USR1; sh -c 'trap "echo child-usr1" USR1; echo ready; while :; do sleep 0.02; done' & while :; do wait; done`
		c := h.start(h.sh(script))
		h.started(c)
		h.waitOutput(c, "ready")
		if r := h.signal(c, int(syscall.SIGUSR1), event.TargetProgram, "signal"); !r.Delivered {
			t.Errorf("usr1: %+v", r)
		}
		h.waitOutput(c, "usr1")
		h.signal(c, int(syscall.SIGUSR1), event.TargetTree, "signal")
		h.waitOutput(c, "child-usr1")
		h.signal(c, int(syscall.SIGTERM), event.TargetProgram, "stop")
		x := h.exited(c)
		if ending(x.Exited.Exit) != "code 3" || x.Exited.Cause != "stop" || x.Exited.RestKilled == 0 {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
		if _, err := c.Signal(h.commit(c.ID(), &event.SignalRequested{Signal: 15, Target: event.TargetProgram})); err == nil {
			t.Error("a signal after the exit was taken")
		}
	})
}

// waitOutput drains until the output holds want.
func (h *house) waitOutput(c *Child, want string) {
	h.t.Helper()
	var all string
	h.until(want, func() bool {
		out, _ := h.drain(c)
		all += out
		return strings.Contains(all, want)
	})
}

func TestCauseNamesWhatEndedIt(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		for _, c := range []struct {
			sig                syscall.Signal
			cause, want, ended string
		}{
			{syscall.SIGKILL, "kill", "kill", "signal 9"},
			{syscall.SIGINT, "cancel", "cancel", "signal 2"},
			{syscall.SIGHUP, "signal", "signal", "signal 1"},
			{syscall.SIGWINCH, "signal", "self", "code 0"},
		} {
			child := h.start(h.spec("sleep", "0.3"))
			h.started(child)
			h.signal(child, int(c.sig), event.TargetTree, c.cause)
			if x := h.exited(child); x.Exited.Cause != c.want || ending(x.Exited.Exit) != c.ended {
				t.Errorf("%v: %s", c.sig, show(Notice{Exited: x}))
			}
		}
	})
}

func TestAStoppedTreeIsKillable(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("sleep 1000 & echo up; wait"))
		h.started(c)
		h.waitOutput(c, "up")
		h.signal(c, int(syscall.SIGSTOP), event.TargetTree, "signal")
		if x := h.kill(c); ending(x.Exited.Exit) != "signal 9" || x.Exited.Cause != "kill" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

func TestStdinIsTheWholePreludeAndThenEOF(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		data := make([]byte, 4<<20)
		rand.Read(data)
		s := h.spec("sha256sum")
		s.Stdin = data
		_, c := h.run(s)
		if out, _ := h.drain(c); !strings.HasPrefix(out, fmt.Sprintf("%x", sha256.Sum256(data))) {
			t.Errorf("stdin arrived as %s", out)
		}
		for _, stdin := range [][]byte{nil, {}} {
			s := h.spec("wc", "-c")
			s.Stdin = stdin
			_, c := h.run(s)
			if out, _ := h.drain(c); strings.TrimSpace(out) != "0" {
				t.Errorf("without stdin: read %q", out)
			}
		}
	})
}

func TestTheProgramGetsWhatItIsGivenAndNothingElse(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		if err := os.Mkdir(filepath.Join(h.dir, "work"), 0o755); err != nil {
			t.Fatal(err)
		}
		s := h.sh("pwd; umask; env | sort; ls /proc/self/fd | tr '\\n' ' '; echo; ulimit -n; grep -E '^(Sig(Blk|Ign)|NoNewPrivs|CapEff)' /proc/self/status")
		s.Dir = filepath.Join(h.dir, "work")
		s.Env = append(s.Env, "GREETING=hello world")
		_, c := h.run(s)
		out, errs := h.drain(c)
		if errs != "" {
			t.Errorf("stderr: %s", errs)
		}
		got := strings.Split(out, "\n")
		mask := syscall.Umask(0o22)
		syscall.Umask(mask)
		files, err := exec.Command("sh", "-c", "ulimit -n").Output()
		if err != nil {
			t.Fatal(err)
		}
		want := []string{strings.TrimSpace(string(files)), s.Dir, fmt.Sprintf("%04o", mask), h.nonce, "GREETING=hello world", "PATH=/usr/local/bin:/usr/bin:/bin", "PWD=" + s.Dir, "0 1 2 3 "}
		for _, w := range want {
			if !contains(got, w) {
				t.Errorf("lacks %q:\n%s", w, out)
			}
		}
		for _, line := range got {
			if strings.Contains(line, "ASTRID") || strings.HasPrefix(line, "GO") {
				t.Errorf("the shim's environment leaked: %q", line)
			}
			if strings.HasPrefix(line, "Sig") && strings.TrimLeft(strings.Fields(line)[1], "0") != "" {
				t.Errorf("signal state leaked: %q", line)
			}
			if strings.HasPrefix(line, "NoNewPrivs") && !strings.HasSuffix(line, "1") {
				t.Errorf("%q", line)
			}
			if strings.HasPrefix(line, "CapEff") && os.Geteuid() != 0 && strings.TrimLeft(strings.Fields(line)[1], "0") != "" {
				t.Errorf("capabilities leaked: %q", line)
			}
		}
	})
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func TestALongDataDirectoryWorks(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("d", 100), strings.Repeat("e", 100))
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHouseIn(t, IsolationNone, deep)
	c := h.start(h.spec("sleep", "1000"))
	h.started(c)
	h.reopen()
	c, err := h.hands.Adopt(t.Context(), c.ID())
	if err != nil {
		t.Fatal(err)
	}
	h.started(c)
	h.kill(c)
}

func TestAProgramCannotHarmItsShim(t *testing.T) {
	h := newHouse(t, IsolationPIDNS)
	x, c := h.run(h.role("signals", "CODE=9"))
	out, _ := h.drain(c)
	if ending(x.Exited.Exit) != "code 9" {
		t.Errorf("ended %s: %s", show(Notice{Exited: x}), out)
	}
	if os.Geteuid() != 0 && !strings.Contains(out, "readable: false") {
		t.Errorf("the program reads its shim: %s", out)
	}
}

func TestAProgramCannotCommandItsShim(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		s := h.role("connect")
		s.Env = append(s.Env, "SOCK="+h.hands.path(s.ID))
		_, c := h.run(s)
		if out, _ := h.drain(c); strings.Contains(out, "answer: true") {
			t.Errorf("the shim answered its own program: %s", out)
		}
	})
}

func TestARuneIsNeverSplitWhileRunning(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, filepath.Join(h.dir, "gate"))
		c := h.start(h.sh(`printf 'a\342\202'; read x <gate; printf '\254b\342'`))
		h.started(c)
		var first string
		h.until("the first bytes", func() bool { out, _ := h.drain(c); first += out; return first != "" })
		if first != "a" {
			t.Errorf("drained %q", first)
		}
		release(t, filepath.Join(h.dir, "gate"))
		h.exited(c)
		if out, _ := h.drain(c); out != "€b\xe2" {
			t.Errorf("then drained %q", out)
		}
	})
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// release lets whoever reads the fifo go on.
func release(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("go\n")
	f.Close()
}
