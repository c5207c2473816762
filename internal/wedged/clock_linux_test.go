package wedged

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger/event"
)

// TestClockJumps has the daemon's wall clock jump a day forward and two days back,
// under it and while it does not run. Each jump is recorded, order times
// and ids never go back, no timer of a process fires by it, cursors
// read on, and a search by time finds what it should.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	offset := filepath.Join(s.Dir, "offset")
	jump := func(to time.Duration) {
		t.Helper()
		tmp := offset + ".tmp"
		daemontest.WriteFile(t, tmp, to.String())
		if err := os.Rename(tmp, offset); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	env := "ASTRID_WALL_OFFSET=" + offset
	d := s.Start(t, env)
	d.Ready(t)
	began := time.Now()
	drive(t, s, s.Program("persistent", "kept", `echo ready; `+daemontest.Lasting))
	daemontest.Eventually(t, "it runs", func() bool { return s.Wrote("kept", "start") })
	cursor := drive(t, s, daemontest.Step{Op: "read", Name: "kept"})[0].Cursor
	h := only(t, s, false)

	jump(day)
	drive(t, s, s.Program("spawn", "ahead", daemontest.Quick))
	jump(-day)
	drive(t, s, s.Program("spawn", "behind", daemontest.Quick))
	d.Kill(t)
	jump(day)
	d = s.Start(t, env)
	d.Ready(t)
	drive(t, s, s.Program("spawn", "ahead-again", daemontest.Quick))
	d.Kill(t)
	jump(0)
	d = s.Start(t, env)
	d.Ready(t)
	drive(t, s, s.Program("spawn", "right", daemontest.Quick))

	if again := only(t, s, false); again.ID != h.ID || again.PID != h.PID || again.Trouble != "" {
		t.Errorf("the process is %+v", again)
	}
	if o := drive(t, s, daemontest.Step{Op: "read", Name: "kept", Cursor: cursor})[0]; o.Dropped != 0 || o.Stdout != "" {
		t.Errorf("the cursor reads %+v", o)
	}
	if s.Wrote("kept", "told") {
		t.Error("a timer fired at a jump")
	}
	checkSteps(t, story(t, s))
	// Everything since the beginning, which was before all jumps.
	out, _ := ctl(t, s, 0, "log", "--since", began.Format(time.RFC3339), "--kind", "process.exited", "-o", "json")
	if n := strings.Count(out, "\n"); n != 4 {
		t.Errorf("a search by time finds %d exits:\n%s", n, out)
	}
	if a, err := s.Client.Stop(t.Context(), &control.StopRequest{ID: h.ID}); err != nil || a.Exit == nil {
		t.Errorf("stopped: %+v, %v", a, err)
	}
	d.Stop(t)
}

// checkSteps checks that the jumps are on record, and that order never goes back.
func checkSteps(t *testing.T, es []*event.Event) {
	t.Helper()
	var steps []string
	var last ulid.ULID
	for _, e := range es {
		if b, ok := e.Body.(*event.ClockStepped); ok {
			steps = append(steps, fmt.Sprint(time.Duration(b.DeltaNano).Round(time.Hour)))
		}
		if e.ID.Compare(last) <= 0 {
			t.Fatalf("event %d: the id %s comes after %s", e.Seq, e.ID, last)
		}
		last = e.ID
	}
	if got, want := strings.Join(steps, " "), "24h0m0s -48h0m0s 48h0m0s -24h0m0s"; got != want {
		t.Errorf("steps on record: %s, want %s", got, want)
	}
}
