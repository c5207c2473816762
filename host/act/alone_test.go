//go:build linux

package act

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger/event"
)

// While no daemon is there the shim drains, under both policies as far as they
// allow: what the ring cannot keep is counted and digested, or held back.
func TestAShimAloneGoesOnDraining(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, filepath.Join(h.dir, "gate"))
		const total = 3<<20 + 1
		script, sum := produced(total)
		c := h.start(h.sh("read x <gate; " + fmt.Sprintf(script, total) + "; exit 4"))
		h.started(c)
		h.reopen()
		release(t, filepath.Join(h.dir, "gate"))
		h.until("the exit record", func() bool { return h.look(c.ID()).Exit != nil })
		x := h.look(c.ID()).Exit.Exited
		if ending(x.Exit) != "code 4" || x.Stdout.Bytes != total || fmt.Sprintf("%x", x.Stdout.SHA256) != sum {
			t.Errorf("recorded %s, %d bytes of %x", ending(x.Exit), x.Stdout.Bytes, x.Stdout.SHA256)
		}
	})
}

// A shim owns no stream that can break, hears every signal from outside without
// ending by it, and holds nothing of the launcher's.
func TestNothingOutsideEndsAShim(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, filepath.Join(h.dir, "gate"))
		c := h.start(h.sh("read x <gate; exit 12"))
		pid := int(h.started(c).Shim.PID)
		for fd := range 3 {
			if name, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err == nil && name != os.DevNull {
				t.Errorf("descriptor %d is %s", fd, name)
			}
		}
		for sig := syscall.Signal(1); sig <= 64; sig++ {
			switch {
			case sig == syscall.SIGKILL || sig == syscall.SIGSTOP || sig == syscall.SIGTSTP:
			case sig >= 32 && sig <= 34: // the C library's own; Go leaves them to it, and they end what is no first process
			default:
				syscall.Kill(pid, sig)
			}
		}
		h.reopen() // its connection breaks too
		for range 3 {
			syscall.Kill(pid, syscall.SIGPIPE)
		}
		c, err := h.hands.Adopt(t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		release(t, filepath.Join(h.dir, "gate"))
		if x := h.exited(c); ending(x.Exited.Exit) != "code 12" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

// A daemon's connection is the launcher's alone: no shim has it.
func TestNoShimHoldsTheLaunchersConnection(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.spec("sleep", "1000"))
		st := h.started(c)
		theirs := func(pid int) (sockets []string) {
			links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
			for _, l := range links {
				if name, err := os.Readlink(l); err == nil && strings.HasPrefix(name, "socket:") {
					sockets = append(sockets, name)
				}
			}
			return sockets
		}
		launcher := theirs(h.hands.launch.running.cmd.Process.Pid)
		if len(launcher) != 1 {
			t.Fatalf("the launcher has %v", launcher)
		}
		for _, pid := range []uint32{st.Shim.PID, st.Program.PID} {
			for _, s := range theirs(int(pid)) {
				if s == launcher[0] {
					t.Errorf("process %d holds the launcher's connection", pid)
				}
			}
		}
		h.kill(c)
	})
}

// scoreOf is by how much the kernel prefers a process when memory runs out.
func scoreOf(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	n, aerr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || aerr != nil {
		t.Fatal(err, aerr)
	}
	return n
}

// mayLowerScores tells whether this process has CAP_SYS_RESOURCE.
func mayLowerScores() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// When memory runs out the program is chosen before its shim; it has nothing of
// the protection of shim and daemon, and neither have its children.
func TestMemoryIsTakenFromTheProgramFirst(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		own := scoreOf(t, os.Getpid())
		s := h.sh("cat /proc/self/oom_score_adj; exec sleep 1000") // cat's, forked at once
		c := h.start(s)
		st := h.started(c)
		var out string
		h.until("it tells its score", func() bool { o, _ := h.drain(c); out += o; return strings.Contains(out, "\n") })
		shim, program := scoreOf(t, int(st.Shim.PID)), scoreOf(t, int(st.Program.PID))
		child, _ := strconv.Atoi(strings.TrimSpace(out))
		wantShim, wantProgram := own, min(max(0, own+100), 1000)
		if mayLowerScores() {
			wantShim, wantProgram = -999, max(0, own)
		}
		if shim != wantShim || program != wantProgram || child != wantProgram {
			t.Errorf("here %d: the shim has %d, want %d; the program %d and its child %d, want %d", own, shim, wantShim, program, child, wantProgram)
		}
		h.kill(c)
	})
}

// rawConn is a connection to a shim on which a test can send what is no message.
func (h *house) rawConn(c *Child) int {
	h.t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	dirfd, err := openDir(c.path)
	if err != nil {
		h.t.Fatal(err)
	}
	defer closeFD(dirfd)
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/sock", dirfd)}); err != nil {
		h.t.Fatal(err)
	}
	return fd
}

// garbage is what no build ever sent: no messages at all, cut ones, long ones,
// and well-formed ones with numbers that mean nothing.
func garbage() (all [][]byte) {
	for _, s := range []string{
		"", "\x00", "\xff", "\x08", "\x08\x01", "\x10\x00", "\x10", "\x6a\xff\xff\xff\xff\x0f", "{}", strings.Repeat("\xff", 300),
		"\x08\x63\x10\xe7\x07",                         // version 99, type 999
		"\x10\x0b\x38\xff\xff\xff\xff\x0f\x40\xff\x7f", // a signal that is none, to a target that is none
		"\x10\x0b\x38\x09\x40\x63",                     // KILL of a target of a later version
		"\x10\x16\x6a\x02\xff\xff", "\x10\x0d", "\x10\x0e", "\x10\x14", "\x10\x15", "\x10\x0a",
	} {
		all = append(all, []byte(s))
	}
	all = append(all, bytes.Repeat([]byte{0x10, 99}, 40<<10), bytes.Repeat([]byte{0}, 16<<10))
	for n := range uint32(200) {
		b := sha256.Sum256(binary.LittleEndian.AppendUint32(nil, n))
		all = append(all, b[:1+n%32])
	}
	return all
}

// TestGarbageEndsNoShim sends a running shim what is no message, as its daemon.
func TestGarbageEndsNoShim(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		c := h.start(h.sh("trap 'exit 8' USR1; echo up; while :; do sleep 0.01; done"))
		h.started(c)
		h.waitOutput(c, "up")
		fd := h.rawConn(c)
		spout(t, fd, "")
		unix.Close(fd)
		h.reopen()
		c, err := h.hands.Adopt(t.Context(), c.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		h.signal(c, int(syscall.SIGUSR1), event.TargetProgram, "signal")
		if x := h.exited(c); ending(x.Exited.Exit) != "code 8" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

// drainRaw reads what a shim answered, so that its queue never runs full.
func drainRaw(fd int) {
	for buf := make([]byte, 32<<10); ; {
		if n, _, err := unix.Recvfrom(fd, buf, unix.MSG_DONTWAIT); n <= 0 || err != nil {
			return
		}
	}
}
