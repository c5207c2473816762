//go:build linux

package worldcheck

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
)

// World is what is compared. Nothing of it may change while Problems looks: no
// spawn, signal or exit in flight.
type World struct {
	// Ledger is read from its first event to its last.
	Ledger ledger.Reader

	// State is the state in use, nil where there is none to compare with the
	// replay.
	State *projector.State

	// Data is the data directory that holds processes/.
	Data string

	// Witness is the directory in which each test program appends "start" and
	// "end" to a file named by its argument that begins with Prefix. The
	// programs have it as the variable WITNESS, which is also how their
	// processes are found. Empty: there is no witness.
	Witness string
}

// Problems returns every contradiction, one sentence each; none means that the
// ledger tells the truth.
func Problems(ctx context.Context, w World) []string {
	all, problems := stories(ctx, w.Ledger)
	_, last := w.Ledger.Bounds()
	state, err := projector.At(ctx, w.Ledger, last)
	if err != nil {
		return append(problems, fmt.Sprintf("replay: %v", err))
	}
	if w.State != nil && !bytes.Equal(state.Encode(), w.State.Encode()) {
		problems = append(problems, "the state in use is not what a replay of the ledger gives")
	}
	problems = append(problems, w.directories(state)...)
	problems = append(problems, w.processes(state)...)
	return append(problems, w.witness(all)...)
}

// directories compares handles with process directories and their locks.
func (w World) directories(s *projector.State) (problems []string) {
	held := map[string]uint32{}
	entries, err := os.ReadDir(filepath.Join(w.Data, "processes"))
	if err != nil {
		return []string{err.Error()}
	}
	present := map[string]bool{}
	for _, e := range entries {
		present[e.Name()] = true
		id, err := ulid.ParseStrict(e.Name())
		if err != nil {
			problems = append(problems, fmt.Sprintf("processes/%s is no handle's directory", e.Name()))
			continue
		}
		h, known := s.Handle(id)
		locked := lockHeld(filepath.Join(w.Data, "processes", e.Name(), "lock"))
		switch {
		case !known:
			problems = append(problems, fmt.Sprintf("%s has a directory and no handle (shim alive: %v)", id, locked))
		case locked && !h.Phase.Live():
			problems = append(problems, fmt.Sprintf("%s is %v, and its shim lives", id, h.Phase))
		case !locked && h.Phase.Live():
			problems = append(problems, fmt.Sprintf("%s is %v, and its shim is dead", id, h.Phase))
		case locked:
			held[h.Principal]++
		}
	}
	for _, h := range s.Handles() {
		if !present[h.ID.String()] {
			problems = append(problems, fmt.Sprintf("%s is %v and has no directory", h.ID, h.Phase))
		}
	}
	for _, t := range s.Tallies() {
		if n := s.LivePrincipal(t.Principal).Total(); n != held[t.Principal] {
			problems = append(problems, fmt.Sprintf("principal %s is counted with %d live processes, and has %d", t.Principal, n, held[t.Principal]))
		}
	}
	return problems
}

// lockHeld tells whether a living process holds the lock of a directory.
func lockHeld(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == unix.EWOULDBLOCK
}

// lingerBound is how long an orphaned process of a test may take to notice.
const lingerBound = 2 * time.Second

// processes compares the machine's processes with the handle table: test
// programs live only where a handle does.
func (w World) processes(s *projector.State) (problems []string) {
	if w.Witness == "" || s.LiveAll().Total() > 0 {
		return nil
	}
	left := Marked(w.Witness)
	// In the weaker mode a killed shim takes only its program along; what that
	// had started ends by itself a moment later, or is left over.
	for end := time.Now().Add(lingerBound); len(left) > 0 && time.Now().Before(end); left = Marked(w.Witness) {
		time.Sleep(5 * time.Millisecond)
	}
	for _, p := range left {
		problems = append(problems, fmt.Sprintf("process %s (%s) is left over", p.PID, p.Command))
	}
	return problems
}

// Process is a process of the machine.
type Process struct {
	PID     string
	Command string
}

// Marked returns the living processes that have WITNESS=witness in their
// environment: the test programs and all that they started.
func Marked(witness string) (found []Process) {
	environs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	mark := "WITNESS=" + witness
	for _, path := range environs {
		env, err := os.ReadFile(path)
		if err != nil || !slices.Contains(strings.Split(string(env), "\x00"), mark) {
			continue // gone, or somebody else's
		}
		dir := filepath.Dir(path)
		cmdline, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found = append(found, Process{
			PID:     filepath.Base(dir),
			Command: strings.TrimSpace(strings.ReplaceAll(string(cmdline), "\x00", " ")),
		})
	}
	return found
}

// witness compares what the programs wrote with what the ledger says of them.
func (w World) witness(all map[ulid.ULID]*story) (problems []string) {
	if w.Witness == "" {
		return nil
	}
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	known := map[string]bool{}
	for id, s := range all {
		if s.nonce == "" || !s.granted {
			continue
		}
		if known[s.nonce] {
			say("%s: %s was granted twice", id, s.nonce)
		}
		known[s.nonce] = true
		starts, ends := w.marks(s.nonce)
		yes, maybe := s.ran()
		switch {
		case starts > 1 || ends > 1:
			say("%s: %s ran %d times and ended %d times", id, s.nonce, starts, ends)
		case starts > 0 && !maybe:
			say("%s: %s ran, and the ledger says that it did not (%v)", id, s.nonce, s.end)
		case yes && s.exit.Code != nil && *s.exit.Code == 0 && s.cause == "self" && (starts == 0 || ends == 0):
			say("%s: the ledger says that %s ran to its end, and it did not", id, s.nonce)
		}
	}
	for _, e := range w.files() {
		if !known[e] {
			say("%s ran, and no granted spawn of the ledger names it", e)
		}
	}
	return problems
}

// files are the nonces of all programs that wrote anything.
func (w World) files() (names []string) {
	entries, err := os.ReadDir(w.Witness)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), Prefix) {
			names = append(names, e.Name())
		}
	}
	return names
}

// marks counts what the program of a nonce wrote.
func (w World) marks(nonce string) (starts, ends int) {
	b, err := os.ReadFile(filepath.Join(w.Witness, nonce))
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(b)) {
		switch strings.TrimSpace(line) {
		case "start":
			starts++
		case "end":
			ends++
		}
	}
	return starts, ends
}
