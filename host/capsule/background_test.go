package capsule_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/astrid-os/processledger/host/abi/abitest"
	"github.com/astrid-os/processledger/host/capsule"
)

// lifecycle is a guest that tells the host of each of its exports that is
// called, by what it spawns; its run then does what code says.
func lifecycle(exports []string, run ...[]byte) []byte {
	g := newGuest()
	im := &Image{Base: imageAt}
	at := map[string]uint32{}
	for _, name := range exports {
		at[name] = im.Alloc(176, 8)
		im.Text(at[name], name)
		im.Texts(at[name] + 8)
		im.U32(at[name]+28, 8)
	}
	g.Data(imageAt, im.Bytes())
	g.Bump(cellAt, heapAt)
	for _, name := range exports {
		code := call(g.spawn, at[name], returnAt)
		if name == "run" {
			code = append(code, slices.Concat(run...)...)
		}
		if name != "hook" {
			g.Func(name, "", "", 0, code)
		}
	}
	if slices.Contains(exports, "hook") {
		return g.hook(call(g.spawn, at["hook"], returnAt))
	}
	return g.Bytes()
}

// spawned are the programs that guests asked for, in order.
func (f *fakeHost) spawned() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.requests {
		names = append(names, r.Cmd)
	}
	return names
}

// service loads one capsule and takes it into service.
func service(t *testing.T, module []byte, h capsule.Host, d capsule.Due, o capsule.RunOptions) (*capsule.Runner, *capsule.Capsule) {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, "guest", module)
	s, err := capsule.Load(t.Context(), capsule.LoadOptions{Dir: dir, MemoryBytes: 32 << 20})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Failed() {
		t.Fatal(e)
	}
	r := capsule.NewRunner(s, h, o)
	t.Cleanup(func() {
		r.Close(context.Background())
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	c := s.Capsules()[0]
	r.Start(c, d)
	return r, c
}

// TestWhatIsDueComesFirst: install or upgrade is called before anything else,
// once, if the capsule has it.
func TestWhatIsDueComesFirst(t *testing.T) {
	all := []string{"astrid-install", "astrid-upgrade", "run", "hook"}
	for name, c := range map[string]struct {
		exports []string
		due     capsule.Due
		want    string
	}{
		"install":          {all, capsule.DueInstall, "astrid-install run hook"},
		"upgrade":          {all, capsule.DueUpgrade, "astrid-upgrade run hook"},
		"nothing":          {all, capsule.DueNothing, "run hook"},
		"has none":         {[]string{"run", "hook"}, capsule.DueInstall, "run hook"},
		"without a run":    {[]string{"astrid-install", "hook"}, capsule.DueInstall, "astrid-install hook"},
		"only a run":       {[]string{"astrid-install", "run"}, capsule.DueInstall, "astrid-install run"},
		"upgrade, has not": {[]string{"astrid-install", "hook"}, capsule.DueUpgrade, "hook"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &fakeHost{}
			r, loaded := service(t, lifecycle(c.exports), h, c.due, capsule.RunOptions{})
			want := strings.Fields(c.want)
			if loaded.Forms.Run {
				until("run was called", func() bool { return slices.Contains(h.spawned(), "run") })
			}
			_, err := r.Invoke(t.Context(), invocation("guest", "alice", "c"))
			if loaded.Forms.Hook != (err == nil) || (err != nil && !errors.Is(err, capsule.ErrUnknownAction)) {
				t.Errorf("invoke: %v", err)
			}
			if got := h.spawned(); !slices.Equal(got, want) {
				t.Errorf("called %q, want %q", got, want)
			}
		})
	}
}

// TestInvocationsWaitForTheSetup: nobody is answered by a capsule that is not
// set up yet, and one whose setup traps is served all the same.
func TestInvocationsWaitForTheSetup(t *testing.T) {
	g := newGuest()
	g.request(nil, "sleep", "inf")
	g.Bump(cellAt, heapAt)
	g.Func("astrid-install", "", "", 0, call(g.background, imageAt, returnAt),
		Const(1), Const(0), Const64(0), Const(returnAt), Call(g.wait), Trap())
	h := &fakeHost{}
	r, _ := service(t, g.hook(), h, capsule.DueInstall, capsule.RunOptions{})
	h.waits(1)
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		_, err := r.Invoke(ctx, invocation("guest", "alice", "c"))
		answered <- err
	}()
	until("the invocation waits", func() bool {
		return r.CancelWaiting("bob", "", nil) == 0 && r.CancelWaiting("alice", "", []string{"other"}) == 0
	})
	cancel()
	if err := <-answered; !errors.Is(err, capsule.ErrCancelled) {
		t.Errorf("an invocation during the setup: %v", err)
	}
	h.cancelAll()
	if _, err := r.Invoke(t.Context(), invocation("guest", "alice", "d")); err != nil {
		t.Errorf("after a setup that trapped: %v", err)
	}
}

// TestRunIsBegunAgain: a run that traps is begun again, each time in a new
// instance and after a longer wait; one that returns is not.
func TestRunIsBegunAgain(t *testing.T) {
	h := &fakeHost{}
	waits := make(chan int, 10)
	o := capsule.RunOptions{}
	o.SetRestart(func(failures int) time.Duration {
		select {
		case waits <- failures:
		default: // more than are looked at
		}
		return time.Millisecond
	})
	service(t, lifecycle([]string{"run"}, Trap()), h, capsule.DueNothing, o)
	for want := 1; want <= 3; want++ {
		if got := <-waits; got != want {
			t.Errorf("wait for failure %d, want %d", got, want)
		}
	}
	until("the failures are recorded", func() bool {
		text := strings.Join(h.noted(), "\n")
		return strings.Count(text, "begin guest run") >= 3 && strings.Count(text, "finish trap") >= 3 && strings.Count(text, "gone system guest trap") >= 3
	})

	h = &fakeHost{}
	o.SetRestart(func(int) time.Duration { t.Error("a run that returned is begun again"); return 0 })
	service(t, lifecycle([]string{"run"}), h, capsule.DueNothing, o)
	until("the run has finished", func() bool { return slices.Contains(h.noted(), "finish ok") })
}

// TestRunHasNoDeadline, and is the system principal's: who invokes the hook for
// that is told; others are answered while it runs. A cancel ends it for good.
func TestRunHasNoDeadline(t *testing.T) {
	g := newGuest()
	g.request(nil, "sleep", "inf")
	g.Bump(cellAt, heapAt)
	g.Func("run", "", "", 0, call(g.background, imageAt, returnAt),
		Const(1), Const(0), Const64(0), Const(returnAt), Call(g.wait))
	h := &fakeHost{}
	r, _ := service(t, g.hook(), h, capsule.DueNothing, capsule.RunOptions{Deadline: 20 * time.Millisecond, SystemPrincipal: "robot"})
	h.waits(1)
	if _, err := r.Invoke(t.Context(), invocation("guest", "robot", "c")); !errors.Is(err, capsule.ErrBackground) {
		t.Errorf("for its own principal: %v", err)
	}
	for end := time.Now().Add(60 * time.Millisecond); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if slices.Contains(h.noted(), "finish deadline") {
			t.Fatal("it had a deadline")
		}
	}
	if _, err := r.Invoke(t.Context(), invocation("guest", "alice", "c")); err != nil { // its deadline may pass
		t.Errorf("for another: %v", err)
	}
	h.cancelAll()
	until("the run is over", func() bool { return slices.Contains(h.noted(), "finish cancelled") })
}

// TestCloseEndsRuns: one that looks at what the host tells it ends by itself,
// one that spins is interrupted after the grace.
func TestCloseEndsRuns(t *testing.T) {
	for name, module := range map[string][]byte{
		"spins":  lifecycle([]string{"run"}, Forever()),
		"hangs":  blockedRun(),
		"failed": lifecycle([]string{"run"}, Trap()),
	} {
		t.Run(name, func(t *testing.T) {
			h := &fakeHost{}
			r, _ := service(t, module, h, capsule.DueNothing, capsule.RunOptions{Grace: 50 * time.Millisecond})
			until("it runs", func() bool { return len(h.spawned()) > 0 || strings.Contains(strings.Join(h.noted(), "\n"), "wait") })
			done := make(chan struct{})
			go func() { r.Close(context.Background()); close(done) }()
			select {
			case <-done:
			case <-time.After(20 * time.Second):
				t.Fatal("Close waits for ever")
			}
		})
	}
}

func blockedRun() []byte {
	g := newGuest()
	g.request(nil, "sleep", "inf")
	g.Bump(cellAt, heapAt)
	g.Func("run", "", "", 0, call(g.background, imageAt, returnAt),
		Const(1), Const(0), Const64(0), Const(returnAt), Call(g.wait))
	return g.Bytes()
}

// TestRunHasNoCaller: a run has a principal, and nobody asked for it.
func TestRunHasNoCaller(t *testing.T) {
	g := newGuest()
	caller := g.Import("astrid:sys/host@1.0.0", "get-caller", "i", "")
	g.Bump(cellAt, heapAt)
	g.Func("run", "", "", 0, call(caller, returnAt), Const(returnAt+4), Load8(), []byte{0x04, 0x40}, Trap(), []byte{0x0b})
	h := &fakeHost{}
	service(t, g.Bytes(), h, capsule.DueNothing, capsule.RunOptions{})
	until("the run is over", func() bool { return strings.Contains(strings.Join(h.noted(), "\n"), "finish") })
	if !slices.Contains(h.noted(), "finish ok") {
		t.Errorf("%q", h.noted())
	}
}
