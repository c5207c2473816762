//go:build linux

package act

import (
	"context"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

func descriptors(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(names)
}

func TestNothingLeaks(t *testing.T) {
	both(t, func(t *testing.T, h *house) {
		cycle := func() {
			_, c := h.run(h.sh("exit 1"))
			if err := h.hands.Trash(h.commit(c.ID(), &event.HandleReleased{}), c.ID()); err != nil {
				t.Fatal(err)
			}
			if err := h.prepare(h.spec("true")).Abandon(); err != nil {
				t.Fatal(err)
			}
			c = h.start(h.spec("no-such-command"))
			h.next(c)
			h.hands.Trash(h.commit(c.ID(), &event.HandleReleased{}), c.ID())
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := h.hands.Prepare(ctx, h.spec("true")); !errors.Is(err, context.Canceled) {
				t.Fatalf("prepare after cancel: %v", err)
			}
		}
		cycle()
		fds, goroutines := descriptors(t), runtime.NumGoroutine()
		for range 10 {
			cycle()
		}
		h.until("as few descriptors and goroutines as before", func() bool {
			return descriptors(t) <= fds && runtime.NumGoroutine() <= goroutines
		})
		if left, _ := os.ReadDir(h.hands.processes()); len(left) > 0 {
			t.Errorf("directories left: %v", left)
		}
	})
}

func TestHandsThatCannotBeMadeLeaveNothingOpen(t *testing.T) {
	h := newHouse(t, IsolationNone)
	missing := Options{Dir: t.TempDir(), Shim: "/nonexistent"}
	New(h.ledger, missing) // whatever is opened once for good
	before := descriptors(t)
	for range 20 {
		if hands, err := New(h.ledger, missing); err == nil {
			hands.Close()
			t.Fatal("hands without a shim")
		}
	}
	h.until("all is closed", func() bool { return descriptors(t) <= before })
}

func TestPrepareCanBeGivenUpAtAnyMoment(t *testing.T) {
	h := newHouse(t, IsolationNone)
	for i := range 40 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
		c, err := h.hands.Prepare(ctx, h.sh("echo ran >>witness"))
		cancel()
		if err == nil {
			err = c.Abandon()
		} else if errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		if err != nil {
			t.Error(err)
		}
	}
	h.until("no directory is left", func() bool {
		left, err := os.ReadDir(h.hands.processes())
		return err == nil && len(left) == 0
	})
	if exists(h.dir + "/witness") {
		t.Error("something ran")
	}
}
