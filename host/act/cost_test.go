//go:build linux

package act

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/host/poll"
)

func TestUsageIsTheProgramsOwn(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		s := h.role("busy")
		s.Stdin = nil
		c := h.start(s)
		if _, _, ok := c.Usage(); ok {
			t.Error("usage before the start")
		}
		h.started(c)
		h.waitOutput(c, "done")
		cpu, peak, ok := c.Usage()
		if !ok || cpu < 100*time.Millisecond || cpu > bound || peak < 64<<20 || peak > 1<<30 {
			t.Errorf("%v, %d bytes, %v", cpu, peak, ok)
		}
		x := h.kill(c)
		if _, _, ok := c.Usage(); ok {
			t.Error("usage after the end")
		}
		if rec := time.Duration(x.Exited.UserNano + x.Exited.SystemNano); rec < cpu-20*time.Millisecond {
			t.Errorf("recorded %v, before that %v", rec, cpu)
		}
	})
}

// busyRole takes 100 ms of CPU and 64 MiB of memory, says so, and stays.
func busyRole() int {
	b := make([]byte, 64<<20)
	var ru unix.Rusage
	for ru.Utime.Nano()+ru.Stime.Nano() < int64(120*time.Millisecond) {
		for i := 0; i < len(b); i += 4096 {
			b[i]++
		}
		if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
			return 1
		}
	}
	fmt.Println("done")
	time.Sleep(1000 * time.Second)
	return int(b[0])
}

// A thousand readers who wait use no CPU, here or in the shims.
func TestWaitingCostsNothing(t *testing.T) {
	h := newHouse(t, IsolationNone)
	var all []*Child
	var shims []uint32
	for range 10 {
		c := h.start(h.kept("echo up; exec cat"))
		shims = append(shims, h.started(c).Shim.PID)
		h.waitOutput(c, "up")
		all = append(all, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	var looked atomic.Int64
	for i := range 1000 {
		readers.Go(func() {
			if _, err := poll.Wait(ctx, counted{all[i%len(all)].Output(), &looked}); err != context.Canceled {
				t.Errorf("woken: %v", err)
			}
		})
	}
	h.until("all wait", func() bool { return looked.Load() == 2000 })
	before := usedHere(t) + usedBy(t, shims)
	time.Sleep(500 * time.Millisecond)
	if used := usedHere(t) + usedBy(t, shims) - before; used > 50*time.Millisecond || looked.Load() != 2000 {
		t.Errorf("1,000 who wait use %v in 500 ms, and looked %d times", used, looked.Load())
	}
	cancel()
	readers.Wait()
	for _, c := range all {
		h.kill(c)
	}
}

// counted counts the looks: one before waiting and one after Watch.
type counted struct {
	poll.Source
	looked *atomic.Int64
}

func (c counted) Ready() bool {
	defer c.looked.Add(1)
	return c.Source.Ready()
}

func usedHere(t *testing.T) time.Duration {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// usedBy adds up what the shims have used, from their schedstat: nanoseconds on
// a CPU.
func usedBy(t *testing.T, pids []uint32) (sum time.Duration) {
	for _, pid := range pids {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
			var n int64
			if err == nil {
				_, err = fmt.Sscan(string(b), &n)
			}
			if err != nil {
				t.Skipf("this kernel does not tell what a thread uses: %v", err)
			}
			sum += time.Duration(n)
		}
	}
	return sum
}

// A program of the same user may write what it likes into its rings: it harms
// its own output, and nobody else.
func TestARingFullOfLiesHarmsNobody(t *testing.T) {
	h := newHouse(t, IsolationNone)
	s := h.pressed("i=0; while [ $i -lt 64 ]; do head -c 4096 /dev/urandom | dd of=ring bs=8 seek=8 count=500 conv=notrunc 2>/dev/null; head -c 1000 /dev/zero; i=$((i+1)); done")
	s.Dir = h.dir
	s.Env = append(s.Env, "RING="+h.hands.path(s.ID)+"/stdout.ring")
	s.Argv[2] = strings.ReplaceAll(s.Argv[2], "of=ring", "of=$RING")
	c := h.start(s)
	h.started(c)
	go func() {
		for {
			select {
			case <-t.Context().Done():
				return
			default:
			}
			c.ReadSince(Stdout, 0, 1<<20)
			c.Buffered()
			c.StdinWritten()
			if _, _, err := c.DrainLogs(); err != nil && !errors.Is(err, errClosedChild) {
				time.Sleep(time.Millisecond)
			}
		}
	}()
	var x *ExitRecord
	select { // by itself, unless it has led its own pump astray
	case n := <-c.Notices():
		x = n.Exited
	case <-time.After(time.Second):
		x = h.kill(c)
	}
	if x == nil || x.Exited.Stdout.Bytes > 64000 {
		t.Errorf("recorded %+v", x)
	}
}
