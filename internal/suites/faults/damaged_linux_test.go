package faults

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/internal/daemontest"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/ledger/event"
)

// newest is the path of the site's newest segment.
func newest(t testing.TB, s *daemontest.Site) string {
	t.Helper()
	files, err := ledger.Segments(filepath.Join(s.Data, "ledger"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	return files[len(files)-1].Path
}

// patch overwrites bytes of a file.
func patch(t testing.TB, path string, off int64, b []byte) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}

// spoil changes the newest occurrence of a text in a file.
func spoil(t testing.TB, path, text string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at, n := 0, 0; ; n++ {
		i := bytes.Index(b[at:], []byte(text))
		if i < 0 {
			if n == 0 {
				t.Fatalf("%q is not in %s", text, path)
			}
			return
		}
		patch(t, path, int64(at+i), []byte{text[0] ^ 0x20})
		at += i + 1
	}
}

// damages are the ways in which a ledger is found damaged at a start; keeps tells
// whether what salvage keeps knows the process that was started.
var damages = []struct {
	name  string
	do    func(t *testing.T, s *daemontest.Site)
	keeps bool
}{
	{"noise", func(t *testing.T, s *daemontest.Site) {
		if err := os.WriteFile(newest(t, s), bytes.Repeat([]byte("noise "), 20000), 0o600); err != nil {
			t.Fatal(err)
		}
	}, false},
	{"cut to nothing", func(t *testing.T, s *daemontest.Site) {
		if err := os.Truncate(newest(t, s), 0); err != nil {
			t.Fatal(err)
		}
	}, false},
	{"cut to its meta pages", func(t *testing.T, s *daemontest.Site) {
		if err := os.Truncate(newest(t, s), 2*4096); err != nil {
			t.Fatal(err)
		}
	}, false},
	{"both meta pages", func(t *testing.T, s *daemontest.Site) {
		patch(t, newest(t, s), 0, make([]byte, 2*4096))
	}, false},
	{"every page behind the meta pages", func(t *testing.T, s *daemontest.Site) {
		info, err := os.Stat(newest(t, s))
		if err != nil {
			t.Fatal(err)
		}
		patch(t, newest(t, s), 2*4096, bytes.Repeat([]byte{0xff}, int(info.Size())-2*4096))
	}, false},
	{"an event after the start of the process", func(t *testing.T, s *daemontest.Site) {
		spoil(t, newest(t, s), "a call to be spoiled")
	}, true},
	{"no ledger at all", func(t *testing.T, s *daemontest.Site) {
		if err := os.RemoveAll(filepath.Join(s.Data, "ledger")); err != nil {
			t.Fatal(err)
		}
	}, false},
}

// TestDamagedAtStart: a daemon that finds its ledger damaged comes up, starts
// nothing, lists and ends what runs, and names the way out; by that way the next
// one accounts for everything.
func TestDamagedAtStart(t *testing.T) {
	for _, c := range damages {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			d := s.Start(t)
			d.Ready(t)
			drive(t, s, s.Program("persistent", "kept", daemontest.Lasting), s.Program("persistent", "ended", "echo hello; "+daemontest.Lasting))
			both := handles(t, s, false)
			slices.SortFunc(both, func(a, b control.Handle) int { return strings.Compare(a.Label, b.Label) })
			ended, kept := both[0], both[1]
			daemontest.Eventually(t, "both run", func() bool { return s.Wrote("kept", "start") && s.Wrote("ended", "start") })
			if _, err := s.Drive(t.Context(), "alice", "a call to be spoiled", s.Program("spawn", "quick", daemontest.Quick)); err != nil {
				t.Fatal(err)
			}
			d.Kill(t)
			c.do(t, s)

			d = s.Start(t)
			checkDamaged(t, s, d, kept, ended)
			// The daemon stops in order, and another one is no worse.
			d.Stop(t)
			d = s.Start(t)
			phase(t, s, control.PhaseDamaged)
			ctl(t, s, 1, "ledger", "salvage", "--yes") // not under a daemon
			d.Stop(t)
			if !s.Wrote("kept", "start") || s.Wrote("kept", "told") {
				t.Error("the stop of a daemon without a ledger ended a persistent process")
			}

			checkSalvage(t, s)
			d = s.Start(t)
			d.Ready(t)
			checkSettled(t, s, c.keeps, kept, ended)
			ctl(t, s, 0, "verify")
			if c.keeps {
				ctl(t, s, 0, "stop", kept.ID)
			}
			d.Stop(t)
		})
	}
}

// checkDamaged checks what a daemon without a ledger does, and ends one process.
func checkDamaged(t *testing.T, s *daemontest.Site, d *daemontest.Daemon, kept, ended control.Handle) {
	t.Helper()
	st := phase(t, s, control.PhaseDamaged)
	if st.Ledger.State != control.LedgerDamaged || st.Ledger.Error == "" || !strings.Contains(st.Ledger.Remedy, "astridctl ledger salvage") || st.Live != 2 {
		t.Errorf("status: %+v", st)
	}
	if text, _ := ctl(t, s, 0, "status"); !strings.Contains(text, "damaged") || !strings.Contains(text, "astridctl ledger salvage") {
		t.Errorf("astridctl status does not name the way out:\n%s", text)
	}
	_, err := s.Drive(t.Context(), "alice", "call", s.Program("spawn", "never", daemontest.Quick))
	wantRefused(t, err)
	_, err = s.Client.Cancel(t.Context(), &control.CancelRequest{Principal: "alice"})
	wantRefused(t, err)
	_, err = s.Client.Events(t.Context(), &control.EventsQuery{})
	wantRefused(t, err)

	listed := handles(t, s, false)
	if len(listed) != 2 {
		t.Fatalf("ps shows %+v", listed)
	}
	for _, h := range listed {
		if (h.ID != kept.ID && h.ID != ended.ID) || h.Phase != "started" || h.PID == 0 || !strings.HasPrefix(filepath.Base(h.Command), "sh") && !strings.Contains(h.Command, "sh") {
			t.Errorf("ps shows %+v", h)
		}
	}
	if out, _ := ctl(t, s, 0, "logs", ended.ID); out != "hello\n" {
		t.Errorf("its output is %q", out)
	}
	a := ctlJSON[control.StopAnswer](t, s, 0, "stop", ended.ID)
	if a.Exit == nil || a.Exit.Code == nil || *a.Exit.Code != 9 || a.Cause != "stop" || !a.Unrecorded {
		t.Errorf("stopped: %+v", a)
	}
	if h := only(t, s, false); h.ID != kept.ID {
		t.Errorf("ps shows %+v", h)
	}
	if n := len(handles(t, s, true)); n != 2 {
		t.Errorf("ps -a shows %d", n)
	}
	ctl(t, s, 0, "stop", ended.ID) // it has ended: that is told again
	if n := len(lateFiles(t, s)); n != 1 {
		t.Errorf("%d endings are kept", n)
	}
}

func lateFiles(t *testing.T, s *daemontest.Site) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Data, "late", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// wantRefused wants the refusal that names the way out.
func wantRefused(t *testing.T, err error) {
	t.Helper()
	var e *control.Error
	if !errors.As(err, &e) || e.Code != control.CodeCorrupt || !strings.Contains(e.Hint, "astridctl ledger salvage") {
		t.Errorf("got %v", err)
	}
}

// checkSalvage takes the way out.
func checkSalvage(t *testing.T, s *daemontest.Site) {
	t.Helper()
	ctl(t, s, 10, "ledger", "salvage", "--dry-run")
	ctl(t, s, 10, "ledger", "salvage")
	out, _ := ctl(t, s, 0, "ledger", "salvage", "--yes")
	if !strings.Contains(out, "salvaged:") {
		t.Errorf("it says:\n%s", out)
	}
	ctl(t, s, 0, "ledger", "salvage") // nothing left to do
}

// checkSettled checks what the next daemon made of the processes.
func checkSettled(t *testing.T, s *daemontest.Site, keeps bool, kept, ended control.Handle) {
	t.Helper()
	salvaged := daemontest.Events[*event.LedgerSalvaged](t, s, event.KindLedgerSalvaged)
	if len(salvaged) != 1 {
		t.Errorf("%d events tell of the salvage", len(salvaged))
	}
	if n := len(lateFiles(t, s)); n != 0 {
		t.Errorf("%d endings are still kept", n)
	}
	if !keeps {
		daemontest.Eventually(t, "what the ledger does not know is ended", func() bool { return len(s.Processes()) <= 2 })
		for _, h := range []control.Handle{kept, ended} {
			if n := len(ofHandle[*event.OrphanEnded](t, s, event.KindOrphanEnded, h.ID)); n == 0 {
				t.Errorf("no event tells of the orphan %s", h.ID)
			}
		}
		orphans := ofHandle[*event.OrphanEnded](t, s, event.KindOrphanEnded, ended.ID)
		if r := orphans[0].Body.(*event.OrphanEnded).Reason; !strings.Contains(r, "SIGTERM (cause stop) was sent at") || orphans[0].Actor.Kind != event.ActorOperator {
			t.Errorf("the stop without a ledger is told as %q", r)
		}
		return
	}
	if h := only(t, s, false); h.ID != kept.ID || h.PID != kept.PID || h.Label != "kept" {
		t.Errorf("ps shows %+v", h)
	}
	requests := ofHandle[*event.SignalRequested](t, s, event.KindSignalRequested, ended.ID)
	if len(requests) != 1 {
		t.Fatalf("%d signals are recorded", len(requests))
	}
	q := requests[0].Body.(*event.SignalRequested)
	if !q.Late || q.SentWall == 0 || q.SentWall >= requests[0].Wall || time.Since(time.Unix(0, q.SentWall)) > time.Hour || requests[0].Actor.Kind != event.ActorOperator {
		t.Errorf("the stop without a ledger is recorded as %+v by %+v", q, requests[0].Actor)
	}
	exits := ofHandle[*event.ProcessExited](t, s, event.KindProcessExited, ended.ID)
	if len(exits) != 1 || exits[0].Seq < requests[0].Seq || exits[0].Body.(*event.ProcessExited).Cause != "stop" || !exits[0].Body.(*event.ProcessExited).AfterRestart {
		t.Errorf("its exit is recorded as %+v", exits)
	}
}
