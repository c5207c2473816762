//go:build linux

package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
	"github.com/astrid-os/processledger/host/conformance"
	"github.com/astrid-os/processledger/host/ipc"
	"github.com/astrid-os/processledger/host/poll"
)

// waiters is how many wait at once, of each of the two kinds.
const waiters = 1000

// crowd is a host on which guests and callers wait for what does not come.
type crowd struct {
	h       *inProcess
	guests  sync.WaitGroup
	callers sync.WaitGroup
	free    context.CancelFunc
	failed  chan error
}

// gather has 1,000 guests block on a pollable, each an instance of its own, and
// 1,000 callers wait on processes that sleep: half of them in wait, the others
// for a pollable of their output. All of them wait when it returns.
func gather(t testing.TB) *crowd {
	t.Helper()
	module, err := guests[0].build()
	if m := (*missing)(nil); errors.As(err, &m) {
		t.Skip(m.what)
	} else if err != nil {
		t.Fatal(err)
	}
	c := &crowd{h: &inProcess{t: t}, failed: make(chan error, 2*waiters)}
	if err := c.h.Start(t.Context(), conformance.SetupFor(module, nil)); err != nil {
		t.Fatal(err)
	}
	c.callersWait(t)
	c.guestsBlock(t)
	return c
}

func (c *crowd) guestsBlock(t testing.TB) {
	blocked, err := c.h.w.Bus.Subscribe("the test", "test.blocked")
	if err != nil {
		t.Fatal(err)
	}
	defer blocked.Close()
	const script = "s\tsubscribe\ttopic=test.go\np\ts.subscribe-readiness\ts$=s\n\tpublish\ttopic=test.blocked\tpayload=1\n\tp.block\tp$=p"
	for i := range waiters {
		c.guests.Go(func() {
			a, err := c.h.Invoke(t.Context(), conformance.Call{Principal: fmt.Sprintf("w%d", i), Capsule: "main", Payload: script})
			if err == nil && (a.Outcome != "ok" || !strings.HasSuffix(a.Data, "ok\nok\n")) {
				err = fmt.Errorf("a guest got %+v", a)
			}
			c.failed <- err
		})
	}
	for n := 0; n < waiters; {
		e, err := blocked.Recv(t.Context(), time.Minute)
		if err != nil || len(e.Messages) == 0 {
			t.Fatalf("%d of %d guests block: %v", n, waiters, err)
		}
		n += len(e.Messages) + int(e.Dropped)
	}
}

func (c *crowd) callersWait(t testing.TB) {
	ctx, free := context.WithCancel(t.Context())
	c.free = free
	const processes = 8
	for range processes {
		caller := host.Caller{Principal: "alice", Capsule: "main", Instance: "i"}
		p, err := c.h.w.Host.SpawnBackground(ctx, caller, host.Request{Cmd: "sleep", Args: []string{"600"}})
		if err != nil {
			t.Fatal(err)
		}
		for range waiters / processes / 2 {
			c.callers.Go(func() { _, _ = p.Wait(ctx, caller, nil) })
			c.callers.Go(func() {
				exit, err := p.SubscribeExit(caller)
				logs, err2 := p.SubscribeLogs(caller)
				if err = errors.Join(err, err2); err == nil {
					_, _ = poll.Wait(ctx, exit, logs)
				} else {
					c.failed <- err
				}
			})
		}
	}
}

// disperse lets all go and tells what went wrong.
func (c *crowd) disperse(t testing.TB) {
	c.free()
	if err := c.h.w.Bus.Publish(ipc.Message{Topic: "test.go", Payload: []byte("1"), Principal: ipc.Principal{Kind: ipc.System}}); err != nil {
		t.Error(err)
	}
	c.guests.Wait()
	c.callers.Wait()
	close(c.failed)
	for err := range c.failed {
		if err != nil {
			t.Error(err)
		}
	}
}

// cpuOf is the CPU time that this process takes during d.
func cpuOf(d time.Duration) time.Duration {
	before := cpu()
	time.Sleep(d)
	return cpu() - before
}

func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestBlockedWaitsUseNoCPU: waits are woken by what they wait for, and by no
// timer.
func TestBlockedWaitsUseNoCPU(t *testing.T) {
	const most = 50 * time.Millisecond // of a second
	c := gather(t)
	defer c.disperse(t)
	// What came before is tidied up first: a collection of garbage, and what the
	// collector gives back in the background, take more than all waits.
	debug.FreeOSMemory()
	used := cpuOf(time.Second)
	for range 5 {
		if used > most {
			used = cpuOf(time.Second)
		}
	}
	t.Logf("%d blocked waits use %v of CPU a second", 2*waiters, used)
	if used > most {
		t.Errorf("%v of CPU in a second, want at most %v", used, most)
	}
}

// BenchmarkBlockedWaits tells what blocked waits cost: cpu-ms/s is for all
// 2,000 of them together.
func BenchmarkBlockedWaits(b *testing.B) {
	c := gather(b)
	defer c.disperse(b)
	b.ResetTimer()
	var used time.Duration
	for range b.N {
		used += cpuOf(time.Second)
	}
	b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "cpu-ms/s")
	b.ReportMetric(0, "ns/op")
}
