package wedged

import (
	"fmt"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// many is how many processes live at once. Under the race detector, which slows
// the test and not what it drives, and where tests are to be short, fewer do.
func many(t *testing.T) int {
	if testing.Short() || raceEnabled {
		t.Log("a sample: 150 processes instead of 1,000")
		return 150
	}
	return 1000
}

// each is how many persistent processes a principal has here: the contract allows
// a capsule no more of one principal.
const each = 32

// TestManyChildren has 1,000 processes live at once: they are started, listed,
// adopted by another daemon, stopped one by one, and cancelled all at once.
func TestManyChildren(t *testing.T) {
	n := many(t)
	s := newSite(t, "[quotas]", fmt.Sprint("max_background_processes = ", each), "max_capsule_processes = 2048")
	d := s.Start(t)
	d.Ready(t)
	began := time.Now()
	principal := func(i int) string { return fmt.Sprintf("p%d", i) }
	for p := range (n + each - 1) / each {
		var steps []daemontest.Step
		for i := p * each; i < min(n, (p+1)*each); i++ {
			steps = append(steps, s.Program("persistent", fmt.Sprint("many-", i), `exec sleep 1000`))
		}
		out, err := s.Drive(t.Context(), principal(p), "call", steps...)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range out {
			if o.Err != "" {
				t.Fatalf("process %d of %s: %s", i, principal(p), o.Err)
			}
		}
	}
	t.Logf("%d processes started in %s", n, time.Since(began))
	live := func(want int) []control.Handle {
		t.Helper()
		hs := handles(t, s, false)
		if len(hs) != want {
			t.Fatalf("ps shows %d, want %d", len(hs), want)
		}
		return hs
	}
	before := live(n)
	d.Kill(t)
	d = s.Start(t)
	began = time.Now()
	st := d.Ready(t)
	t.Logf("ready again after %s", time.Since(began))
	if st.Recovery == nil || int(st.Recovery.Adopted+st.Recovery.Pending) != n || st.Live != n {
		t.Errorf("after the restart: %+v, %d live", st.Recovery, st.Live)
	}
	daemontest.Eventually(t, "all are adopted", func() bool {
		st, err := s.Client.Status(t.Context())
		return err == nil && st.Recovery != nil && st.Recovery.Settling == 0
	})
	for i, h := range live(n) {
		if h.ID != before[i].ID || h.PID != before[i].PID || h.Trouble != "" {
			t.Fatalf("%+v is not %+v", h, before[i])
		}
	}
	for _, h := range before[:5] {
		if _, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID}); err != nil {
			t.Fatal(err)
		}
	}
	live(n - 5)
	// The persistent tier is spared by cancels: stops of all, side by side.
	began = time.Now()
	stopAll(t, s, before[5:])
	t.Logf("all stopped in %s", time.Since(began))
	live(0)
	d.Stop(t)
}

// stopAll stops processes side by side.
func stopAll(t *testing.T, s *daemontest.Site, list []control.Handle) {
	t.Helper()
	const side = 64
	errs := make(chan error, side)
	for w := range side {
		go func() {
			var err error
			for i := w; i < len(list) && err == nil; i += side {
				_, err = s.Client.Stop(t.Context(), &control.StopRequest{ID: list[i].ID})
			}
			errs <- err
		}()
	}
	for range side {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}
