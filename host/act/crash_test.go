//go:build linux

package act

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/astrid-os/processledger/internal/crashpoint"
)

// left is what a crash must leave for recovery, and whether the program may
// have run.
type left struct {
	prepared bool // Prepare succeeded
	gone     bool // the child ended as Gone; else with what the record says
	goFile   bool
	started  bool
	failed   bool
	exit     bool
	ran      bool // as the witness saw it: it started
}

var crashes = map[string]struct {
	script string // what is run; one that cannot be run for the failed ones
	alone  bool   // let go of the shim before the program ends
	want   left
}{
	"shim.files.laid":        {"exit 3", false, left{}},
	"shim.ready.unwritten":   {"exit 3", false, left{}},
	"shim.ready.written":     {"exit 3", false, left{}},
	"shim.go.unwritten":      {"exit 3", false, left{prepared: true, gone: true}},
	"shim.go.written":        {"exit 3", false, left{prepared: true, gone: true, goFile: true}},
	"shim.started.unwritten": {"exec sleep 1000", false, left{prepared: true, gone: true, goFile: true, ran: true}},
	"shim.started.written":   {"exec sleep 1000", false, left{prepared: true, gone: true, goFile: true, started: true, ran: true}},
	"shim.failed.unwritten":  {"", false, left{prepared: true, gone: true, goFile: true}},
	"shim.failed.written":    {"", false, left{prepared: true, goFile: true, failed: true}},
	"shim.exit.reaped":       {"exit 3", false, left{prepared: true, gone: true, goFile: true, started: true, ran: true}},
	"shim.exit.unwritten":    {"exit 3", false, left{prepared: true, gone: true, goFile: true, started: true, ran: true}},
	"shim.exit.written":      {"exit 3", false, left{prepared: true, goFile: true, started: true, exit: true, ran: true}},
	"shim.exit.told":         {"exit 3", false, left{prepared: true, goFile: true, started: true, exit: true, ran: true}},
	"shim.exit.synced":       {"read x <gate; exit 3", true, left{prepared: true, goFile: true, started: true, exit: true, ran: true}},
}

// TestCrashPointsOfTheShim kills a shim at every point and looks at what is
// left, in the directory and of the program.
func TestCrashPointsOfTheShim(t *testing.T) {
	for _, p := range crashpoint.Points {
		if p.Component != crashpoint.Shim {
			continue
		}
		c, ok := crashes[p.Name]
		if !ok {
			t.Errorf("crash point %s has no test", p.Name)
			continue
		}
		for _, mode := range []string{IsolationPIDNS, IsolationNone} {
			if mode == IsolationNone && p.Name == "shim.files.laid" {
				continue // no file is laid without a namespace
			}
			t.Run(p.Name+"/"+mode, func(t *testing.T) {
				t.Setenv("ASTRID_CRASH_AT", p.Name)
				h := newHouse(t, mode)
				h.hands.Close()
				shimIs(h, crashing)
				crashOnce(t, h, c.script, c.alone, c.want)
			})
		}
	}
}

// shimIs reopens the hands with another build of the shim.
func shimIs(h *house, binary string) {
	hands, err := New(h.ledger, Options{Dir: h.dir, Shim: binary, Isolation: h.mode})
	if err != nil {
		h.t.Fatal(err)
	}
	h.hands = hands
}

func crashOnce(t *testing.T, h *house, script string, alone bool, want left) {
	mkfifo(t, filepath.Join(h.dir, "gate"))
	s := h.sh("echo start >>witness; " + script)
	if script == "" {
		s = h.spec("no-such-command")
	}
	if h.mode == IsolationPIDNS {
		s.Files = []File{{EnvKey: "POLICY", Content: []byte("policy")}}
	}
	c, err := h.hands.Prepare(t.Context(), s)
	if (err == nil) != want.prepared {
		t.Fatalf("prepare: %v", err)
	}
	if err != nil {
		if exists(h.hands.path(s.ID)) {
			t.Error("a failed prepare left a directory")
		}
		return
	}
	if err := c.Go(h.decided(s.ID)); err != nil {
		t.Fatal(err)
	}
	if alone {
		h.started(c)
		h.reopen()
		release(t, filepath.Join(h.dir, "gate"))
	} else {
		n := h.next(c)
		if n.Started != nil {
			n = h.next(c)
		}
		if (n.Gone != nil) != want.gone {
			t.Errorf("the child ended as %s", show(n))
		}
		if n.Gone != nil && n.Gone.Ran != want.goFile {
			t.Errorf("gone: %+v", n.Gone)
		}
		checkWitness(t, n.Gone, script)
	}
	h.until("proof of death", func() bool { return h.look(s.ID).Dead })
	f := h.look(s.ID)
	got := left{prepared: true, gone: want.gone, goFile: f.Go, started: f.Started != nil, failed: f.Failed != nil, exit: f.Exit != nil, ran: exists(filepath.Join(h.dir, "witness"))}
	if script == "exec sleep 1000" {
		got.ran = want.ran // it may be killed before its first line
	}
	if got != want {
		t.Errorf("left %+v, want %+v", got, want)
	}
	if f.Exit != nil && ending(f.Exit.Exited.Exit) != "code 3" {
		t.Errorf("recorded %s", ending(f.Exit.Exited.Exit))
	}
}

// checkWitness holds that a second witness never contradicts what happened.
func checkWitness(t *testing.T, gone *Gone, script string) {
	if gone == nil || gone.Witness == nil {
		return
	}
	want := "signal 9"
	if strings.HasPrefix(script, "exit") {
		want = "code 3"
	}
	if got := ending(*gone.Witness); got != want {
		t.Errorf("the witness saw %s, want %s", got, want)
	}
}
