//go:build linux

package worldcheck

import (
	"context"
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/astrid-os/processledger/internal/control"
	"github.com/astrid-os/processledger/ledger"
	"github.com/astrid-os/processledger/projector"
)

// World is what is compared. Nothing of it may change while a check looks: no
// spawn, signal or exit in flight. Programs may run on and write.
type World struct {
	// Ledger is read from its first event to its last.
	Ledger ledger.Reader

	// State is the state in use, nil where there is none to compare with the
	// replay.
	State *projector.State

	// Table and Status are what a running daemon answers; nil: it does not
	// run, or is not asked.
	Table  *control.Ps
	Status *control.Status

	// Data is the data directory that holds processes/.
	Data string

	// Witness is the directory of the programs' own files; see witness.go. The
	// programs have it as the variable WITNESS, which is also how their
	// processes are found. Empty: there is no witness.
	Witness string

	// Shim is the path of the site's own astrid-shim, by which its processes
	// are found in /proc. Empty: they are not looked for.
	Shim string

	// Verify has the ledger's files in Data verified, too: every page and
	// hash. Newest is the copy of the newest segment that stands for it while
	// a daemon writes; empty: nobody does.
	Verify bool
	Newest string

	// Forget removes the witness file of each program that is released and
	// told the truth: a world that goes on for hours would drown in them.
	Forget bool
}

// CheckWorld returns every disagreement, one sentence each; none means that the
// ledger tells the truth. It reads all of the ledger: see [Checker] for a world
// that is looked at often.
func CheckWorld(ctx context.Context, w World) []string {
	return new(Checker).CheckWorld(ctx, w)
}

// Checker checks one world again and again, and reads of its ledger each time
// only what is new. Its zero value has read nothing. One goroutine at a time
// uses it.
type Checker struct {
	stories map[ulid.ULID]*story
	nonces  map[string]ulid.ULID // of granted spawns
	state   *projector.State     // at the last event read
	next    uint64               // seq of the next event to read, 0 before the first look
	broken  []string             // what is wrong with the ledger itself; it stays wrong
}

// CheckWorld is the function of the same name for a world that was looked at
// before.
func (c *Checker) CheckWorld(ctx context.Context, w World) []string {
	c.read(ctx, w.Ledger)
	problems := append([]string(nil), c.broken...)
	if c.state == nil {
		return problems
	}
	problems = append(problems, w.verify(ctx)...)
	problems = append(problems, w.projections(ctx, c.state)...)
	problems = append(problems, w.directories(c)...)
	problems = append(problems, w.processes(c)...)
	return append(problems, w.witness(c)...)
}

// State is the state after the last event that was read, nil before the first
// look. It changes with the next one.
func (c *Checker) State() *projector.State { return c.state }

// Lost is how many processes the ledger calls lost.
func (c *Checker) Lost() (n int) {
	for _, s := range c.stories {
		if s.lost != nil {
			n++
		}
	}
	return n
}

// sentences collects problems.
type sentences []string

func (s *sentences) say(format string, args ...any) { *s = append(*s, fmt.Sprintf(format, args...)) }

// same says so if two values that should agree do not.
func same[T comparable](s *sentences, a, b T, format string, args ...any) {
	if a != b {
		s.say("%s: %v and %v", fmt.Sprintf(format, args...), a, b)
	}
}
