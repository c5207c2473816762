package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/verify"
	"github.com/astrid-os/processledger/projector"
)

// testBoot: the real daemon comes up on what a power cut leaves, with its keys
// and its layout, counts nothing as living, stops in order, and leaves a ledger
// that verifies.
func (rec *recording) testBoot(t *testing.T) {
	site := daemontest.NewSite(t, "[ledger]", fmt.Sprintf("segment_events = %d", segmentEvents))
	began := seed(t)
	r := rand.New(rand.NewPCG(began, 2))
	t.Logf("POWERCUT_SEED=%d", began)
	replayer := NewReplayer(rec.h)
	cuts := replayer.Cuts()
	boots := 16
	switch {
	case os.Getenv("POWERCUT_STATES") == "all":
		boots = 500
	case daemontest.Race:
		boots = 4
	}
	for i := range boots {
		all := Pickers(began + uint64(i))
		// Every cut of the first start now and then, and any at all.
		cut := cuts[r.IntN(len(cuts))]
		if i%4 == 0 {
			cut = cuts[r.IntN(min(80, len(cuts)))]
		}
		rec.boot(t, site, replayer.State(cut, Model(r.IntN(2) == 0), all[r.IntN(len(all))]))
		if t.Failed() {
			return
		}
	}
}

// boot starts a daemon on a state.
func (rec *recording) boot(t *testing.T, site *daemontest.Site, s *State) {
	t.Helper()
	if err := os.RemoveAll(site.Data); err != nil {
		t.Fatal(err)
	}
	if err := s.Lay(site.Dir, "", []string{"data"}, func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	d := site.Start(t)
	status := d.Ready(t)
	for _, p := range status.Problems {
		// By the strict model the names of process directories may be gone:
		// those of processes that are lost with the power anyway.
		if s.Model == Journal || !strings.Contains(p, "had lost the directory") {
			t.Errorf("%v: the daemon has a problem: %s", s, p)
		}
	}
	daemontest.Eventually(t, "nothing is counted as living", func() bool {
		ps, err := site.Client.Ps(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		return len(ps.Handles) == 0
	})
	d.Stop(t)
	report, err := verify.Dir(t.Context(), filepath.Join(site.Data, "ledger"), verify.Options{NewState: func() verify.State { return &state{projector.New()} }})
	if err != nil {
		t.Fatalf("%v: %v", s, err)
	}
	if !report.Sound() {
		t.Errorf("%v: %v", s, report.Faults)
	}
}

// state is what the verifier replays.
type state struct{ *projector.State }

func (s *state) Restore(opening []byte) (err error) {
	s.State = projector.New()
	if opening != nil {
		s.State, err = projector.Decode(opening)
	}
	return err
}
