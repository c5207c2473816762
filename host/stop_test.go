package host

import (
	"context"
	"testing"
	"time"

	"github.com/astrid-os/processledger/ledger/event"
)

// TestStop holds the grace of a stop, that it ends the whole tree, and that
// the id is gone with it.
func TestStop(t *testing.T) {
	t.Parallel()
	quiet := func(ctx context.Context, w *world, id string, grace time.Duration) (event.Exit, time.Duration, error) {
		began := time.Now()
		exit, err := w.host.StopProcess(ctx, alice, id, &grace)
		return exit, time.Since(began), err
	}
	t.Run("heeded", func(t *testing.T) {
		w := newWorld(t)
		id, r := w.keep(alice, "trap 'exit 3' TERM; "+stays)
		w.began(r)
		exit, took, err := quiet(t.Context(), w, id, 20*time.Second)
		if err != nil || exitText(&exit) != "code 3" || took > 10*time.Second {
			t.Errorf("%s after %v, %v", exitText(&exit), took, err)
		}
	})
	t.Run("heeded by a stopped one", func(t *testing.T) {
		w := newWorld(t)
		id, r := w.keep(alice, "trap 'exit 3' TERM; "+stays)
		w.began(r)
		if err := w.host.SignalProcess(t.Context(), alice, id, SigStop); err != nil {
			t.Fatal(err)
		}
		exit, took, err := quiet(t.Context(), w, id, 20*time.Second)
		if err != nil || exitText(&exit) != "code 3" || took > 10*time.Second {
			t.Errorf("%s after %v, %v: it did not get its grace", exitText(&exit), took, err)
		}
	})
	t.Run("ignored by the tree", func(t *testing.T) {
		w := newWorld(t)
		id, r := w.keep(alice, "trap '' TERM; (setsid sh -c 'trap \"\" TERM; while :; do sleep 0.05; done') & "+stays)
		w.began(r)
		exit, took, err := quiet(t.Context(), w, id, 300*time.Millisecond)
		if err != nil || exitText(&exit) != "signal 9" || took < 300*time.Millisecond {
			t.Errorf("%s after %v, %v", exitText(&exit), took, err)
		}
		w.dead()
		if _, err := w.host.StopProcess(t.Context(), alice, id, nil); CodeOf(err) != NoSuchProcess {
			t.Errorf("a second stop: %v", err)
		}
	})
	t.Run("ended", func(t *testing.T) {
		w := newWorld(t)
		id, _ := w.keep(alice, "exit 6")
		if _, err := w.host.WaitProcess(t.Context(), alice, id, time.Minute); err != nil {
			t.Fatal(err)
		}
		exit, err := w.host.StopProcess(t.Context(), alice, id, nil)
		if err != nil || exitText(&exit) != "code 6" {
			t.Errorf("%s, %v", exitText(&exit), err)
		}
		if n := w.live.Snapshot().HeldAll().Total(); n != 0 {
			t.Errorf("%d handles are held", n)
		}
	})
	t.Run("caller leaves", func(t *testing.T) {
		w := newWorld(t)
		id, r := w.keep(alice, "trap '' TERM; "+stays)
		w.began(r)
		ctx, leave := context.WithCancel(t.Context())
		go func() {
			defer leave()
			for end := time.Now().Add(20 * time.Second); !w.hasTraced("act signal SIGTERM to the tree, cause stop") && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
		}()
		if _, _, err := quiet(ctx, w, id, 300*time.Millisecond); CodeOf(err) != Cancelled {
			t.Errorf("%v, want cancelled", err)
		}
		w.until("the stop goes on", func() bool { return w.live.Snapshot().HeldAll().Total() == 0 })
	})
	for grace, want := range map[*time.Duration]time.Duration{nil: 5 * time.Second, ptr(time.Hour): 30 * time.Second, ptr(-time.Second): 0, ptr(time.Second): time.Second} {
		if got := clampGrace(grace); got != want {
			t.Errorf("grace %v is clamped to %v, want %v", grace, got, want)
		}
	}
}
