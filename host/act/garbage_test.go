//go:build linux

package act

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// pairs returns both ends of a connection, bare.
func pairs(t *testing.T) (here, there int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

// spout sends garbage but for one piece, every other with descriptors, and throws
// away what is answered.
func spout(t *testing.T, fd int, but string) {
	t.Helper()
	rights := unix.UnixRights(fd, fd)
	for i, b := range garbage() {
		oob := rights
		if i%2 == 0 {
			oob = nil
		}
		if string(b) == but {
			continue
		}
		for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
			err := unix.Sendmsg(fd, b, oob, nil, unix.MSG_NOSIGNAL)
			drainRaw(fd)
			if err == nil {
				break
			}
			if err != unix.EAGAIN || time.Now().After(end) {
				t.Fatalf("%.10q: %v", b, err)
			}
		}
	}
}

// A shim that waits for go takes nothing else for it, and waits on.
func TestGarbageStartsNothing(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.sh("echo ran >>witness; exit 5")
		s.Isolation = h.mode
		c := &Child{h: h.hands, id: s.ID, path: h.hands.path(s.ID), dirfd: -1, notices: newNotices(), in: newStdin(false)}
		if err := c.makeDirectory(); err != nil {
			t.Fatal(err)
		}
		lock, err := takeLock(c.dirfd)
		if err != nil {
			t.Fatal(err)
		}
		here, there := pairs(t)
		passed, err := memfds(s, shim.EncodeSpec(s.wire(shim.Ground{})))
		if err != nil {
			t.Fatal(err)
		}
		_, pidfd, err := h.hands.launch.shim(t.Context(), h.mode, append([]int{lock, c.dirfd, there}, passed...))
		shim.CloseAll(append(passed, there, lock))
		if err == nil {
			c.shim, err = newPidfd(pidfd)
		}
		if err == nil {
			err = c.allocate(s)
		}
		dup, derr := unix.FcntlInt(uintptr(here), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil || derr != nil {
			t.Fatal(err, derr)
		}
		defer unix.Close(dup)
		if c.conn, err = shim.NewConn(here); err != nil {
			t.Fatal(err)
		}
		if err := c.awaitReady(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		closeFD(c.dirfd)
		spout(t, dup, "\x10\x0a") // which says go
		if f := h.look(s.ID); f.Go || f.Dead {
			t.Errorf("left %+v", f)
		}
		h.hands.remember(c)
		go c.follow()
		if err := c.Go(h.decided(s.ID)); err != nil {
			t.Fatal(err)
		}
		h.started(c)
		if x := h.exited(c); ending(x.Exited.Exit) != "code 5" {
			t.Errorf("ended %s", show(Notice{Exited: x}))
		}
	})
}

func TestGarbageEndsNoLauncher(t *testing.T) {
	here, there := pairs(t)
	f := os.NewFile(uintptr(there), "launcher")
	cmd := exec.Command(shimBinary, shim.ModeLaunch)
	cmd.Env, cmd.ExtraFiles = shim.ShimEnv(""), []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	spout(t, here, "")
	conn, err := shim.NewConn(here)
	if err == nil {
		err = conn.Send(&shim.Message{Type: shim.TypeLaunch, Seq: 1 << 40})
	}
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(bound))
	for {
		m, fds, err := conn.Recv()
		shim.CloseAll(fds)
		if err != nil {
			t.Fatal(err)
		}
		if m.Seq == 1<<40 {
			if m.Type != shim.TypeRefused {
				t.Errorf("a launch of nothing was answered %+v", m)
			}
			break
		}
	}
	conn.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// A shim of another build, or whoever speaks in its place, can say what it likes:
// its daemon passes on what makes sense, once, and waits for the end.
func TestGarbageEndsNoDaemon(t *testing.T) {
	h := newHouse(t, IsolationNone)
	here, there := pairs(t)
	conn, err := shim.NewConn(here)
	if err != nil {
		t.Fatal(err)
	}
	c := &Child{h: h.hands, id: newID(), conn: conn, dirfd: -1, notices: newNotices(), in: newStdin(false)}
	over := make(chan struct{})
	go func() { c.follow(); close(over) }()
	later := &shim.Message{Version: 99, Type: 999, Seq: 1, Record: []byte("of a later build")}
	spout(t, there, "\x10\x15") // which says started
	peer, err := shim.NewConn(there)
	if err != nil {
		t.Fatal(err)
	}
	start := shim.EncodeStarted(&shim.Started{Isolation: "none", Boot: 7})
	for range 3 * maxNotices {
		for _, m := range []*shim.Message{
			later, {Type: shim.TypeStarted, Record: start}, {Type: shim.TypeStarted, Record: []byte{0xff}}, {Type: shim.TypeSignaled, Seq: 77},
			{Type: shim.TypeFired, Order: shim.OrderLifetime, Due: 5}, {Type: shim.TypeFired, Order: "of a later build"},
			{Type: shim.TypeExited, Record: []byte{0xff}}, {Type: shim.TypeStdin, Stdin: 99}, {Type: shim.TypeEnded, Ended: 1 << 9},
		} {
			if err := peer.Send(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := peer.Send(&shim.Message{Type: shim.TypeExited, Record: shim.EncodeExit(&shim.Exit{Code: 3})}); err != nil {
		t.Fatal(err)
	}
	if n := h.next(c); n.Started == nil || n.Started.StartedBoot != 7 {
		t.Errorf("got %s", show(n))
	}
	if n := h.next(c); n.Fired == nil || n.Fired.DueBoot != 5 {
		t.Errorf("got %s", show(n))
	}
	if n := h.next(c); n.Exited == nil || ending(n.Exited.Exited.Exit) != "code 3" {
		t.Errorf("got %s", show(n))
	}
	<-over
	peer.Close()
	c.release()
	if _, err := c.Signal(h.commit(c.id, &event.SignalRequested{Signal: 9, Target: event.TargetTree})); err == nil {
		t.Error("a child that has ended takes signals")
	}
}
