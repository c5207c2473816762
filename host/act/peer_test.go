//go:build linux

package act

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/astrid-os/processledger/host/shim"
	"github.com/astrid-os/processledger/ledger/event"
)

// A program that runs as the same user as all shims can command none: here it
// tries that of another handle, from inside of its namespace and without one.
func TestAProgramCannotCommandAnotherShim(t *testing.T) {
	t.Parallel()
	for _, mode := range [][2]string{
		{IsolationPIDNS, IsolationPIDNS}, {IsolationPIDNS, IsolationNone},
		{IsolationNone, IsolationPIDNS}, {IsolationNone, IsolationNone},
	} {
		t.Run(mode[0]+" commands "+mode[1], func(t *testing.T) {
			h := newHouse(t, IsolationPIDNS)
			s := h.spec("sleep", "1000")
			s.Isolation = mode[1]
			victim := h.start(s)
			h.started(victim)
			s = h.role("connect", "SOCK="+h.hands.path(victim.ID()))
			s.Isolation = mode[0]
			_, c := h.run(s)
			if out, _ := h.drain(c); !strings.HasPrefix(out, "answer: false") {
				t.Errorf("the shim answered another's program: %s", out)
			}
			// The real daemon is still heard: the stranger replaced nobody.
			if x := h.kill(victim); x.Exited.Cause != "kill" {
				t.Errorf("ended %s", show(Notice{Exited: x}))
			}
		})
	}
}

// fakeRole listens in the place of its own shim, whose name it bears, and has a
// daemon believe that the program has ended well.
func fakeRole() int {
	if err := os.Chdir(os.Getenv("SOCK")); err != nil {
		return 1
	}
	os.Remove(shim.FileSock)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: shim.FileSock})
	}
	if err == nil {
		err = unix.Listen(fd, 8)
	}
	if err != nil {
		return 1
	}
	fmt.Println("listening")
	for {
		peer, _, err := unix.Accept(fd)
		if err != nil {
			return 1
		}
		if conn, err := shim.NewConn(peer); err == nil {
			conn.Send(&shim.Message{Type: shim.TypeState, Phase: shim.PhaseRunning, Record: shim.EncodeStarted(&shim.Started{})})
			conn.Send(&shim.Message{Type: shim.TypeExited, Record: shim.EncodeExit(&shim.Exit{})})
		}
	}
}

// framed is a record as its file holds it.
func framed(body []byte) []byte {
	sum := sha256.Sum256(body)
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), shim.ProtocolVersion)
	b = protowire.AppendBytes(protowire.AppendTag(b, 2, protowire.BytesType), body)
	return protowire.AppendBytes(protowire.AppendTag(b, 3, protowire.BytesType), sum[:8])
}

// A program that listens in its process directory is not taken for its shim, not
// even if it calls itself one, works there, and has the record `ready` name it;
// and the shim that it pushed aside is found and ended all the same.
func TestAFakeShimIsNotBelieved(t *testing.T) {
	t.Parallel()
	for _, forged := range []bool{false, true} {
		both(t, func(t *testing.T, h *house) {
			if forged && h.mode == IsolationNone && os.Geteuid() != 0 {
				return // an ordinary user cannot see there which shim works where, nor is one program kept from another
			}
			s := h.role("fake")
			s.Argv = []string{"astrid-shim", shim.ModeShim}
			s.Env = append(s.Env, "SOCK="+h.hands.path(s.ID))
			c := h.start(s)
			st := h.started(c)
			h.waitOutput(c, "listening")
			if forged {
				ready := shim.EncodeReady(&shim.Ready{Version: shim.ProtocolVersion, Shim: shimIdentity(st.Program), BootID: h.hands.bootID[:]})
				if err := os.WriteFile(filepath.Join(c.path, shim.FileReady), framed(ready), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h.reopen()
			for _, old := range []bool{false, true} {
				h.hands.oldKernel = old
				if _, err := h.hands.Adopt(t.Context(), s.ID); !errors.Is(err, errStranger) {
					t.Errorf("adopt, old kernel %v: %v", old, err)
				}
			}
			f := h.look(s.ID)
			if f.Dead || f.Exit != nil {
				t.Fatalf("found %+v", f)
			}
			if err := h.hands.Kill(h.commit(s.ID, &event.OrphanEnded{}), f); err != nil {
				t.Errorf("kill: %v", err)
			}
			// The record says nothing of the true shim: so it is looked for.
			h.until("shim and program are gone", func() bool { return h.hands.Gone(st.Shim) && h.hands.Gone(st.Program) })
		})
	}
}

// A socket that was moved, and a directory that was renamed, lead to another
// handle's shim: it is not taken in under the wrong handle, and not ended.
func TestAShimOfAnotherHandleIsNotTakenForThisOne(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, h *house) {
		a, b := h.start(h.spec("sleep", "1000")), h.start(h.spec("sleep", "1000"))
		st, stb := h.started(a), h.started(b)
		h.reopen()
		sock, moved := filepath.Join(a.path, shim.FileSock), filepath.Join(b.path, shim.FileSock)
		if err := os.Rename(sock, moved); err != nil {
			t.Fatal(err)
		}
		if _, err := h.hands.Adopt(t.Context(), b.ID()); !errors.Is(err, errStranger) {
			t.Errorf("by a moved socket: %v", err)
		}
		if err := os.Rename(moved, sock); err != nil {
			t.Fatal(err)
		}
		if err := unix.Renameat2(unix.AT_FDCWD, a.path, unix.AT_FDCWD, b.path, unix.RENAME_EXCHANGE); err != nil {
			t.Fatal(err)
		}
		if _, err := h.hands.Adopt(t.Context(), b.ID()); !errors.Is(err, errStranger) {
			t.Errorf("by a renamed directory: %v", err)
		}
		if h.hands.Gone(st.Program) || h.hands.Gone(stb.Program) {
			t.Error("one of them was ended")
		}
		unix.Renameat2(unix.AT_FDCWD, a.path, unix.AT_FDCWD, b.path, unix.RENAME_EXCHANGE)
		c, err := h.hands.Adopt(t.Context(), a.ID())
		if err != nil {
			t.Fatal(err)
		}
		h.started(c)
		h.kill(c)
		// Whoever is to end b finds another's socket there, and ends b.
		a2 := h.start(h.spec("sleep", "1000"))
		st = h.started(a2)
		h.reopen()
		if err := os.Rename(filepath.Join(a2.path, shim.FileSock), moved); err != nil {
			t.Fatal(err)
		}
		if err := h.hands.Kill(h.commit(b.ID(), &event.OrphanEnded{}), h.look(b.ID())); err != nil {
			t.Error(err)
		}
		if h.hands.Gone(st.Program) || !h.hands.Gone(stb.Program) {
			t.Errorf("asked to end one, it ended the other")
		}
		for _, f := range h.held() {
			h.hands.Kill(h.commit(f.ID, &event.OrphanEnded{}), f)
		}
	})
}
