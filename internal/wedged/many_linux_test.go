package wedged

import (
	"fmt"
	"slices"
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

// What the contract allows of persistent processes, and what a principal may have
// of background ones: the most of each.
const (
	eachKept       = 32  // of one capsule and principal
	mostKept       = 256 // of one host
	eachBackground = 256
)

// TestManyChildren has 1,000 processes live at once, a quarter of them persistent.
// They are started and listed, outlive their daemon and are settled by another
// one, and are stopped and cancelled all at once.
func TestManyChildren(t *testing.T) {
	n := many(t)
	kept := min(n/2, mostKept)
	s := newSite(t, "[quotas]", fmt.Sprint("max_background_processes = ", eachBackground), "max_capsule_processes = 2048")
	d := s.Start(t)
	d.Ready(t)
	began := time.Now()
	startMany(t, s, "persistent", kept, eachKept)
	startMany(t, s, "background", n-kept, eachBackground)
	t.Logf("%d processes started in %s", n, time.Since(began))
	began = time.Now()
	before := live(t, s, n)
	t.Logf("listed in %s", time.Since(began))

	d.Kill(t)
	began = time.Now()
	d = s.Start(t)
	st := d.Ready(t)
	t.Logf("ready again after %s", time.Since(began))
	// On a busy machine some shims answer later than recovery asks them to.
	if r := st.Recovery; int(r.Adopted) > kept || int(r.Ended) > n-kept || int(r.Adopted+r.Ended+r.Silent) < n || r.Lost+r.Orphans > 0 {
		t.Errorf("after the restart: %+v", st.Recovery)
	}
	daemontest.Eventually(t, "what lost its owner is ended", func() bool { return len(handles(t, s, false)) == kept })
	survivors := live(t, s, kept)
	for _, h := range survivors {
		i := slices.IndexFunc(before, func(b control.Handle) bool { return b.ID == h.ID })
		if i < 0 || before[i].PID != h.PID || before[i].Tier != "persistent" || h.Trouble != "" {
			t.Fatalf("%+v was not there, or is in trouble", h)
		}
	}

	startMany(t, s, "background", n-kept, eachBackground)
	live(t, s, n)
	began = time.Now()
	for p := range (n - kept + eachBackground - 1) / eachBackground {
		if _, err := s.Client.Cancel(t.Context(), &control.CancelRequest{Principal: fmt.Sprint("background", p)}); err != nil {
			t.Fatal(err)
		}
	}
	daemontest.Eventually(t, "what was cancelled is over", func() bool { return len(handles(t, s, false)) == kept })
	t.Logf("%d cancelled in %s", n-kept, time.Since(began))
	began = time.Now()
	stopAll(t, s, survivors)
	t.Logf("%d stopped in %s", kept, time.Since(began))
	live(t, s, 0)
	d.Stop(t)
}

// startMany starts n processes, each of them of one principal after another.
func startMany(t *testing.T, s *daemontest.Site, tier string, n, each int) {
	t.Helper()
	for p := 0; p*each < n; p++ {
		var steps []daemontest.Step
		for i := p * each; i < min(n, (p+1)*each); i++ {
			steps = append(steps, s.Program(tier, fmt.Sprint("many-", i), `exec sleep 1000`))
		}
		out, err := s.Drive(t.Context(), fmt.Sprint(tier, p), "call", steps...)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range out {
			if o.Err != "" {
				t.Fatalf("process %d of principal %d: %s", i, p, o.Err)
			}
		}
	}
}

// live lists what lives, and wants so many.
func live(t *testing.T, s *daemontest.Site, want int) []control.Handle {
	t.Helper()
	hs := handles(t, s, false)
	if len(hs) != want {
		t.Fatalf("ps shows %d, want %d", len(hs), want)
	}
	return hs
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
