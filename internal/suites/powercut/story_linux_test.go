package powercut

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
)

// segmentEvents is how many events a segment of the recorded ledgers holds: few,
// so that it often changes.
const segmentEvents = 16

// newSite makes a site without a data directory: its making is recorded, too.
func newSite(t *testing.T) *daemontest.Site {
	t.Helper()
	site := daemontest.NewSite(t, "[ledger]", fmt.Sprintf("segment_events = %d", segmentEvents))
	if err := os.Mkdir(site.Witness(), 0o755); err != nil {
		t.Fatal(err)
	}
	return site
}

// install puts the driver and its compiled form into a data directory that a
// daemon has made. It is not recorded.
func install(t *testing.T, site *daemontest.Site) {
	t.Helper()
	for _, dir := range []string{"cache", "capsules"} {
		to := filepath.Join(site.Data, dir)
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(to, os.DirFS(filepath.Join(daemontest.Template(t), dir))); err != nil {
			t.Fatal(err)
		}
	}
}

// drive has the driver take steps; each must go well, or fail where refused
// says so.
func (s *stage) drive(t *testing.T, call string, steps ...daemontest.Step) {
	t.Helper()
	outcomes, err := s.site.Drive(t.Context(), "alice", call, steps...)
	if err != nil {
		t.Fatalf("%s: %v", call, err)
	}
	for i, o := range outcomes {
		if o.Err != "" && steps[i].Text != "refused" {
			t.Fatalf("%s: %s %s: %s", call, steps[i].Op, steps[i].Name, o.Err)
		}
	}
}

// story is what the recorded daemons go through: each way in which a spawn, a
// signal or an end is recorded, many changes of segment, a stop in order, a
// death, and processes that live and end meanwhile.
func (s *stage) story(t *testing.T) {
	type step = daemontest.Step
	p, quick, lasting := s.site.Program, daemontest.Quick, daemontest.Lasting
	refused := func(x step) step { x.Text = "refused"; return x }

	s.start(t)
	f := follow(t, s.site, 1)
	s.end(t, syscall.SIGTERM)
	<-f.done
	install(t, s.site)

	s.start(t)
	f = follow(t, s.site, f.next)
	s.drive(t, "sync", p("spawn", "s1", quick), p("spawn", "s2", quick),
		refused(step{Op: "spawn", Name: "s3", Cmd: "/no/such/program"}), refused(step{Op: "spawn", Name: "s4", Cmd: "git"}))
	s.drive(t, "background", p("background", "b1", lasting), p("background", "b2", lasting), p("background", "b3", lasting))
	s.site.Release(t, "b1")
	s.drive(t, "ends", step{Op: "wait", Name: "b1"}, step{Op: "signal", Name: "b2", Signal: 0}, step{Op: "wait", Name: "b2"},
		step{Op: "kill", Name: "b3"}, step{Op: "drop", Name: "b3"})
	s.drive(t, "persistent", p("persistent", "p1", lasting), p("persistent", "p2", lasting), p("persistent", "p3", lasting), p("persistent", "p4", lasting))
	s.drive(t, "use", step{Op: "watch", Name: "p1", Text: "w"}, step{Op: "write", Name: "p1", Text: "hello\n"}, step{Op: "eof", Name: "p1"},
		step{Op: "stop", Name: "p1", MS: 2000})
	s.drive(t, "more", p("background", "b4", lasting), p("spawn", "s5", quick))
	if _, err := s.site.Client.Cancel(t.Context(), &control.CancelRequest{Principal: "alice", CallIDs: []string{"more"}, Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	s.drive(t, "last", p("background", "b5", lasting))
	s.end(t, syscall.SIGTERM)
	<-f.done

	// p2 ends while nobody is there; its shim is alone with its record.
	s.site.Release(t, "p2")
	daemontest.Eventually(t, "p2 has left its record", func() bool {
		found, _ := filepath.Glob(filepath.Join(s.site.Data, "processes", "*", "exit"))
		return len(found) > 0
	})
	s.start(t)
	f = follow(t, s.site, f.next)
	s.drive(t, "again", p("spawn", "s6", quick), p("background", "b6", lasting), p("background", "b7", quick))
	s.site.Release(t, "p4")
	s.drive(t, "p4", step{Op: "await", Name: "p4", MS: 20000})
	s.end(t, syscall.SIGKILL)
	<-f.done

	s.start(t)
	f = follow(t, s.site, f.next)
	s.drive(t, "after", p("spawn", "s7", quick), step{Op: "release", Name: "p2"}, step{Op: "stop", Name: "p3", MS: 2000}, step{Op: "release", Name: "p4"})
	s.end(t, syscall.SIGTERM)
	<-f.done
}
