//go:build linux

package act

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/ledger"
)

// holderRole is a daemon that runs SCRIPT under backpressure with an open input,
// writes WRITE bytes to it, and prints its handle once program or pipe is full.
func holderRole() int {
	dir := os.Getenv("DIR")
	l, err := ledger.Open(filepath.Join(dir, "ledger2"), ledger.Options{Fold: noFold{}})
	if err != nil {
		panic(err)
	}
	h := &house{t: &testing.T{}, dir: dir, mode: os.Getenv("MODE"), nonce: os.Getenv("NONCE"), ledger: l}
	if h.hands, err = New(l, Options{Dir: dir, Shim: os.Getenv("ACT_TEST_SHIM"), Isolation: h.mode}); err != nil {
		panic(err)
	}
	s := h.pressed(os.Getenv("SCRIPT"))
	s.KeepStdin = true
	c, err := h.hands.Prepare(context.Background(), s)
	if err == nil {
		err = c.Go(h.decided(s.ID))
	}
	if err != nil {
		panic(err)
	}
	h.started(c)
	if n, _ := strconv.Atoi(os.Getenv("WRITE")); n > 0 {
		go c.WriteStdin(context.Background(), make([]byte, n))
		h.until("the pipe is full", func() bool { return c.StdinWritten() > 0 })
	} else {
		h.until("the ring is full", func() bool { n, _ := c.Buffered(); return n == 4<<10 })
	}
	fmt.Println(s.ID)
	select {}
}

// killedHolder runs a holder, kills it by SIGKILL, and takes its process in.
func (h *house) killedHolder(script string, write int) *Child {
	h.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "ACT_TEST_ROLE=holder", "DIR="+h.dir, "MODE="+h.mode, "NONCE="+h.nonce,
		"ACT_TEST_SHIM="+shimBinary, "SCRIPT="+script, "WRITE="+strconv.Itoa(write))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	var name string
	fmt.Fscan(out, &name)
	cmd.Process.Kill()
	cmd.Wait()
	id, err := ulid.ParseStrict(name)
	if err != nil {
		h.t.Fatalf("the daemon said %q", name)
	}
	c, err := h.hands.Adopt(h.t.Context(), id)
	if err != nil {
		h.t.Fatal(err)
	}
	h.started(c)
	return c
}

func TestSIGKILLOfTheDaemonOfABlockedProgram(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		const total = 1<<20 + 3
		script, sum := produced(total)
		c := h.killedHolder(fmt.Sprintf(script, total), 0)
		sha, got := sha256.New(), 0
		for got < total {
			h.await(c)
			out, _ := h.drain(c)
			sha.Write([]byte(out))
			got += len(out)
		}
		x := h.exited(c)
		if fmt.Sprintf("%x", sha.Sum(nil)) != sum || fmt.Sprintf("%x", x.Exited.Stdout.SHA256) != sum || x.Exited.Stdout.Dropped != 0 {
			t.Errorf("read %d bytes, recorded %+v", got, x.Exited.Stdout)
		}
	})
}

// The program gets as much of the write as was counted, and then the end.
func TestSIGKILLOfTheDaemonInAWriteCutsTheStdin(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		mkfifo(t, h.dir+"/gate")
		c := h.killedHolder("read x <gate; cat | wc -c", 1<<20)
		if !c.StdinBroken() || c.StdinOpen() {
			t.Error("a cut input goes on")
		}
		h.closeStdin(c)
		release(t, h.dir+"/gate")
		h.exited(c)
		if out, _ := h.drain(c); strings.TrimSpace(out) != fmt.Sprint(c.StdinWritten()) {
			t.Errorf("the program read %q, %d are counted", out, c.StdinWritten())
		}
	})
}
