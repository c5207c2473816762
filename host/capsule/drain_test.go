package capsule_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// TestDrain: what is under way ends, and what waits for its turn has it, while
// nothing else is let in; a bound that is too short tells how many are left.
func TestDrain(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Grace: time.Minute})
	var calls sync.WaitGroup
	answered := make(chan error, 2)
	for _, id := range []string{"first", "second"} {
		calls.Go(func() {
			_, err := r.Invoke(t.Context(), invocation("blocked", "alice", id))
			answered <- err
		})
	}
	defer calls.Wait()
	h.waits(1)
	until("the other one waits for its turn", func() bool { return capsule.Waiting(r) == 1 })

	short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if left := r.Drain(short); left != 2 {
		t.Errorf("%d are left, want 2", left)
	}
	if _, err := r.Invoke(t.Context(), invocation("blocked", "bob", "third")); !errors.Is(err, capsule.ErrClosed) {
		t.Errorf("a call that comes while others end: %v", err)
	}
	drained := make(chan int, 1)
	go func() { drained <- r.Drain(t.Context()) }()
	for n := 1; n <= 2; n++ {
		h.waits(n)
		select {
		case left := <-drained:
			t.Fatalf("drained with %d left while call %d runs", left, n)
		default:
		}
		h.cancelAll()
		if err := <-answered; err != nil {
			t.Errorf("call %d: %v", n, err)
		}
	}
	if left := <-drained; left != 0 {
		t.Errorf("%d are left, want none", left)
	}
}

// TestDrainWaitsForNoRun: a background run would be waited for in vain.
func TestDrainWaitsForNoRun(t *testing.T) {
	h := &fakeHost{}
	r, c := service(t, lifecycle([]string{"run"}, Forever()), h, capsule.DueNothing, capsule.RunOptions{})
	r.Start(c, capsule.DueNothing)
	until("the run is under way", func() bool { return len(h.spawned()) == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if left := r.Drain(ctx); left != 0 {
		t.Errorf("%d are left", left)
	}
}
