package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// withWitness makes the directory in which programs note what they did.
func (s *site) withWitness(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(s.Witness(), 0o755); err != nil {
		t.Fatal(err)
	}
}

// serving is a site with the tests' capsule and a daemon that is ready.
func serving(t *testing.T, lines ...string) (*site, *daemontest.Daemon) {
	t.Helper()
	s := newSite(t, lines...)
	s.WithDriver(t)
	s.withWitness(t)
	d := s.Start(t)
	if st := d.Ready(t); st.Capsules != 1 || len(st.Problems) > 0 {
		t.Fatalf("status: %+v", st)
	}
	return s, d
}

// TestInProcess runs the whole daemon in this process, where the race detector
// sees it, with several clients at once.
func TestInProcess(t *testing.T) {
	s := newSite(t, `operators = [`+fmt.Sprint(os.Geteuid())+`]`, `shim = "bin/astrid-shim"`)
	s.WithDriver(t)
	s.withWitness(t)
	log, err := os.Create(filepath.Join(s.Dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	code := make(chan int, 1)
	go func() { code <- doMain([]string{"--config", s.Config}, strings.NewReader(""), log, log) }()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	if _, err := s.Client.WaitReady(ctx); err != nil {
		t.Fatal(err)
	}
	follow, err := s.Client.Events(ctx, &control.EventsQuery{Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan error, 1)
	go func() {
		var last error
		for _, err := range follow.All() {
			last = err
		}
		followed <- errors.Join(follow.Close(), last)
	}()
	done := make(chan error, 3)
	for _, who := range []string{"alice", "bob", "carol"} {
		go func() {
			out, err := s.Drive(ctx, who, "c-"+who,
				s.Program("spawn", who+"-1", daemontest.Quick), s.Program("background", who+"-2", daemontest.Lasting))
			if err == nil && (out[0].Err != "" || out[1].Err != "") {
				err = fmt.Errorf("%s: %+v", who, out)
			}
			_, psErr := s.Client.Ps(ctx, true)
			_, statusErr := s.Client.Status(ctx)
			done <- errors.Join(err, psErr, statusErr)
		}()
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if c, err := s.Client.Cancel(ctx, &control.CancelRequest{Principal: "bob"}); err != nil || len(c.Handles) != 1 {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if c := <-code; c != 0 {
		b, _ := os.ReadFile(log.Name())
		t.Errorf("code %d:\n%s", c, b)
	}
	var ce *control.Error
	if err := <-followed; !errors.As(err, &ce) || ce.Code != control.CodeUnavailable {
		t.Errorf("the follower was told: %v", err)
	}
}

// TestInvoke holds what an operator is answered.
func TestInvoke(t *testing.T) {
	s, d := serving(t, `invocation_deadline = "1s"`, `[quotas]`, `max_background_processes = 1`)
	ctx := t.Context()
	out, err := s.Drive(ctx, "alice", "c1",
		step{Op: "spawn", Cmd: "sh", Args: []string{"-c", "echo hello; exit 3"}},
		step{Op: "spawn", Cmd: "git"},
		s.Program("background", "one", daemontest.Lasting), s.Program("background", "two", daemontest.Lasting))
	if err != nil {
		t.Fatal(err)
	}
	if out[0].Stdout != "hello\n" || out[0].Exit.Code == nil || *out[0].Exit.Code != 3 {
		t.Errorf("spawn: %+v", out[0])
	}
	for i, want := range map[int]string{1: "capability-denied", 2: "", 3: "quota"} {
		if (want == "") != (out[i].Err == "") || !strings.Contains(out[i].Err, want) {
			t.Errorf("step %d: %+v, want %q", i, out[i], want)
		}
	}
	st, err := s.Client.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if len(st.Usage) != 2 || st.Usage[0] != (control.Usage{Scope: "principal:alice", Background: 1, Cap: 1, SyncCap: 4}) || st.Usage[1].Cap != 8 {
		t.Errorf("usage: %+v", st.Usage)
	}
	for name, c := range map[string]struct {
		in   control.Invocation
		exit int
		text string
	}{
		"capsule":   {control.Invocation{Principal: "alice", Capsule: "none", Action: "run"}, 3, "capsules in"},
		"action":    {control.Invocation{Principal: "alice", Capsule: "driver", Action: "walk"}, 3, "walk"},
		"principal": {control.Invocation{Principal: "al ice", Capsule: "driver", Action: "run"}, 2, "principal"},
	} {
		if _, err := s.Client.Invoke(ctx, &c.in); control.ExitCode(err) != c.exit || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The guest waits longer than an invocation may take: it is asked to end,
	// answers that it was cancelled, and the answer says why.
	a, err := s.Client.Invoke(ctx, &control.Invocation{
		Principal: "alice", Capsule: "driver", Action: "run", Payload: []byte(`[{"op":"wait","name":"one"}]`),
	})
	if err != nil || a.Outcome != "deadline" || !strings.Contains(*a.Data, "cancelled") || a.CallID == "" {
		t.Errorf("deadline: %+v, %v", a, err)
	}
	c, err := s.Client.Cancel(ctx, &control.CancelRequest{Principal: "alice", CallIDs: []string{"c1"}, Reason: "enough"})
	if err != nil || len(c.Handles) != 1 {
		t.Errorf("cancel: %+v, %v", c, err)
	}
	cancels := events[*event.CancelRequested](t, s, event.KindCancelRequested)
	if len(cancels) != 1 || cancels[0].Reason != "enough" {
		t.Errorf("cancel.requested: %+v", cancels)
	}
	d.Stop(t)
}

// TestCallerLeaves holds that a client that goes away cancels its invocation.
func TestCallerLeaves(t *testing.T) {
	s, d := serving(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := s.Drive(ctx, "alice", "c1", s.Program("spawn", "long", daemontest.Lasting))
		done <- err
	}()
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("long", "start") })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	daemontest.Eventually(t, "the invocation is finished", func() bool {
		ends := events[*event.InvocationFinished](t, s, event.KindInvocationFinished)
		return len(ends) == 1 && ends[0].Outcome == "cancelled"
	})
	d.Stop(t)
}

// TestSecondSignalEndsTheGrace holds that a program which ignores TERM does not
// keep a hurried operator waiting, and that its end is recorded all the same.
func TestSecondSignalEndsTheGrace(t *testing.T) {
	s, d := serving(t, `shutdown_timeout = "10m"`)
	deaf := `trap 'echo told >>"$WITNESS/$0"' INT TERM; echo start >>"$WITNESS/$0"; while :; do sleep 0.02; done`
	if out, err := s.Drive(t.Context(), "alice", "c1", s.Program("background", "deaf", deaf)); err != nil || out[0].Err != "" {
		t.Fatalf("%+v, %v", out, err)
	}
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("deaf", "start") })
	d.Signal(t, syscall.SIGTERM)
	daemontest.Eventually(t, "it was told", func() bool { return s.Wrote("deaf", "told") })
	began := time.Now()
	d.Signal(t, syscall.SIGTERM)
	if code := d.Wait(t); code != 0 {
		t.Errorf("code %d:\n%s", code, d.Tail())
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v, as long as without the second signal", took)
	}
	d = s.Start(t)
	d.Ready(t)
	exits := events[*event.ProcessExited](t, s, event.KindProcessExited)
	if len(exits) != 1 || exits[0].Exit.Signal == nil || *exits[0].Exit.Signal != 9 || exits[0].AfterRestart {
		t.Errorf("process.exited: %+v", exits)
	}
	stops := events[*event.DaemonStopped](t, s, event.KindDaemonStopped)
	if last := stops[len(stops)-1]; last.Ended != 1 || last.Reason != "signal: terminated" {
		t.Errorf("daemon.stopped: %+v", last)
	}
	d.Stop(t)
}
