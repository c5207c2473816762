package capsule_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/astrid-os/processledger/host"
	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// blocked is a capsule that spawns, waits for ever, and then says it is fine.
func blocked() []byte {
	g := newGuest()
	g.request(nil, "sleep", "inf")
	g.Bump(cellAt, heapAt)
	return g.hook(call(g.background, imageAt, returnAt),
		Const(1), Const(0), Const64(0), Const(returnAt), Call(g.wait))
}

func TestInvocationIsRecordedAroundTheCall(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	a, err := r.Invoke(t.Context(), invocation("honest", "alice", "c1"))
	if err != nil || a.Action != "continue" || string(a.Data) != "fine" || !a.HasData || a.Outcome != capsule.OutcomeOK {
		t.Fatalf("answer %+v, error %v", a, err)
	}
	want := []string{"begin honest go", `spawn true ["a" "b"] for c1`, "finish ok"}
	if got := h.noted(); !slices.Equal(got, want) {
		t.Errorf("order %q, want %q", got, want)
	}
	b, err := r.Invoke(t.Context(), invocation("honest", "alice", "c2"))
	if err != nil || b.Instance != a.Instance {
		t.Errorf("second call: instance %s after %s, error %v", b.Instance, a.Instance, err)
	}
	if c, _ := r.Invoke(t.Context(), invocation("honest", "bob", "c3")); c.Instance == a.Instance {
		t.Error("two principals share an instance")
	}
}

func TestNothingIsCalledThatIsNotRecorded(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	h := &fakeHost{beginErr: errors.New("the disk is full")}
	r := runner(t, dir, h, capsule.RunOptions{})
	if _, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); err == nil || len(h.noted()) != 0 {
		t.Errorf("error %v; %q", err, h.noted())
	}
}

func TestNoAnswerBeforeItsEvent(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	h := &fakeHost{finishErr: errors.New("the disk is full")}
	r := runner(t, dir, h, capsule.RunOptions{})
	a, err := r.Invoke(t.Context(), invocation("honest", "alice", "c"))
	if err == nil || a.Data != nil || a.Action != "" {
		t.Errorf("answer %+v, error %v", a, err)
	}
}

// TestSoftCancelKeepsTheInstance: a guest that returns after a cancel is as good
// as before.
func TestSoftCancelKeepsTheInstance(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Grace: time.Minute})
	go func() { h.waits(1); h.cancel("c1") }()
	a, err := r.Invoke(t.Context(), invocation("blocked", "alice", "c1"))
	if err != nil || a.Outcome != capsule.OutcomeCancelled || string(a.Data) != "fine" {
		t.Fatalf("answer %+v, error %v", a, err)
	}
	go func() { h.waits(2); h.cancel("c2") }()
	b, err := r.Invoke(t.Context(), invocation("blocked", "alice", "c2"))
	if err != nil || b.Instance != a.Instance {
		t.Errorf("instance %s after %s, error %v", b.Instance, a.Instance, err)
	}
}

func TestDeadlineIsASoftCancelFirst(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Deadline: 20 * time.Millisecond, Grace: time.Minute})
	a, err := r.Invoke(t.Context(), invocation("blocked", "alice", "c1"))
	if err != nil || a.Outcome != capsule.OutcomeDeadline || h.lastEnd(t).InstanceLost {
		t.Errorf("answer %+v, error %v, end %+v", a, err, h.lastEnd(t))
	}
}

// TestTheCallersContextIsASoftCancel: an operator who goes away asks the guest
// to end, no more.
func TestTheCallersContextIsASoftCancel(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Grace: time.Minute})
	ctx, cancel := context.WithCancel(t.Context())
	h.begun = cancel
	_, err := r.Invoke(ctx, invocation("blocked", "alice", "c1"))
	if end := h.lastEnd(t); end.Outcome != capsule.OutcomeCancelled || end.InstanceLost {
		t.Errorf("error %v, end %+v", err, end)
	}
}

// TestLostInstanceIsReplaced: after a trap the next call gets a new instance.
func TestLostInstanceIsReplaced(t *testing.T) {
	dir := t.TempDir()
	g := newGuest()
	g.Bump(cellAt, heapAt)
	// The first call of an instance succeeds, the second traps: word 512 counts.
	put(t, dir, "brittle", g.hook(
		Const(512), Load(), []byte{0x04, 0x40}, Trap(), []byte{0x0b},
		Const(512), Const(1), Store()))
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	var instances []string
	for i := range 4 {
		a, err := r.Invoke(t.Context(), invocation("brittle", "alice", fmt.Sprint(i)))
		var failed *capsule.CallError
		if trapped := errors.As(err, &failed); trapped != (i%2 == 1) {
			t.Fatalf("call %d: error %v", i, err)
		}
		if err == nil {
			instances = append(instances, a.Instance)
		}
	}
	if instances[0] == instances[1] {
		t.Error("the trapped instance was called again")
	}
	want := []string{"begin brittle go", "finish ok", "begin brittle go", "finish trap", "gone alice brittle trap"}
	if got := h.noted(); !slices.Equal(got[:5], want) {
		t.Errorf("order %q, want %q", got[:5], want)
	}
}

// TestCallsOfAnInstanceTakeTurns, and instances do not wait for each other.
func TestCallsOfAnInstanceTakeTurns(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	var mu sync.Mutex
	inside := map[string]int{}
	most, together := 0, make(chan struct{})
	h := &fakeHost{}
	h.spawn = func(ctx context.Context, c host.Caller, _ host.Request) (*host.Result, error) {
		mu.Lock()
		inside[c.Principal]++
		most = max(most, inside[c.Principal])
		if inside["alice"] > 0 && inside["bob"] > 0 {
			select {
			case <-together:
			default:
				close(together)
			}
		}
		mu.Unlock()
		<-together // until both principals are inside at once
		mu.Lock()
		inside[c.Principal]--
		mu.Unlock()
		return &host.Result{}, nil
	}
	r := runner(t, dir, h, capsule.RunOptions{})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := r.Invoke(t.Context(), invocation("honest", []string{"alice", "bob"}[i%2], fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 1 {
		t.Errorf("%d calls ran in one instance at once", most)
	}
}

func TestWaitingInvocationsCanBeCancelled(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Grace: time.Minute})
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { _, _ = r.Invoke(t.Context(), invocation("blocked", "alice", "first")) })
	h.waits(1)
	second := make(chan error, 1)
	wg.Go(func() {
		_, err := r.Invoke(t.Context(), invocation("blocked", "alice", "second"))
		second <- err
	})
	until("the second invocation waits", func() bool { return r.CancelWaiting("alice", "", []string{"second"}) > 0 })
	if err := <-second; !errors.Is(err, capsule.ErrCancelled) {
		t.Errorf("error %v", err)
	}
	h.cancel("first")
	wg.Wait()
	if got := h.noted(); strings.Count(strings.Join(got, "\n"), "begin") != 1 {
		t.Errorf("the cancelled invocation left a trace: %q", got)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "blocked", blocked())
	put(t, dir, "honest", honest())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{Grace: time.Minute})
	if _, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = r.Invoke(t.Context(), invocation("blocked", "bob", "c"))
	}()
	h.waits(1)
	r.Close(t.Context())
	<-done
	gone := h.noted()
	for _, want := range []string{"finish cancelled", "gone alice honest shutdown", "gone bob blocked shutdown"} {
		if !slices.Contains(gone, want) {
			t.Errorf("no %q in %q", want, gone)
		}
	}
	if _, err := r.Invoke(t.Context(), invocation("honest", "alice", "c")); !errors.Is(err, capsule.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestInvocationsThatAreNotBegun(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "honest", honest())
	h := &fakeHost{}
	r := runner(t, dir, h, capsule.RunOptions{})
	for name, c := range map[string]struct {
		spoil func(*capsule.Invocation)
		want  error
	}{
		"capsule":   {func(i *capsule.Invocation) { i.Capsule = "other" }, capsule.ErrUnknownCapsule},
		"action":    {func(i *capsule.Invocation) { i.Action = "stop" }, capsule.ErrUnknownAction},
		"principal": {func(i *capsule.Invocation) { i.Principal = "../alice" }, capsule.ErrBadPrincipal},
		"payload":   {func(i *capsule.Invocation) { i.Payload = make([]byte, capsule.MaxPayload+1) }, capsule.ErrPayloadTooBig},
	} {
		inv := invocation("honest", "alice", "c")
		c.spoil(&inv)
		if _, err := r.Invoke(t.Context(), inv); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if len(h.noted()) > 0 {
		t.Errorf("the host was asked: %q", h.noted())
	}
}
