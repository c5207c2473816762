package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// ErrEntry is in the chain of the error for a manifest entry that the gate
// does not take.
var ErrEntry = errors.New("host_process entry not admissible")

// Gate is the capability gate: which commands each capsule may run. A capsule
// that was never set may run nothing. It is safe for concurrent use.
type Gate struct {
	mu         sync.RWMutex // held for map accesses only
	commands   map[string][]string
	persistent map[string]bool // capsules whose processes may outlive calls
}

// NewGate returns a gate that denies everything.
func NewGate() *Gate {
	return &Gate{commands: map[string][]string{}, persistent: map[string]bool{}}
}

// Set replaces what a capsule may run by the host_process entries of its
// manifest. An entry that is empty, looks like a flag or contains NUL is an
// error that names it, and the capsule's entries stay as they were.
func (g *Gate) Set(capsule string, commands []string) error {
	for _, c := range commands {
		if why := badCommand(c); why != "" {
			return fmt.Errorf("capsule %s: %w: %q %s", capsule, ErrEntry, c, why)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.commands[capsule] = slices.Clone(commands)
	return nil
}

// SetPersistent says whether a capsule may start persistent processes of what
// it may run: its manifest's allow_persistent. Without a call it may not.
func (g *Gate) SetPersistent(capsule string, allowed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.persistent[capsule] = allowed
}

// Remove takes everything from a capsule.
func (g *Gate) Remove(capsule string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.commands, capsule)
	delete(g.persistent, capsule)
}

// AllowPersistent tells whether the capsule may start persistent processes,
// and by which rule, or for want of which. It is asked after Allow.
func (g *Gate) AllowPersistent(capsule string) (rule string, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !g.persistent[capsule] {
		return "manifest allow_persistent: not set", false
	}
	return "manifest allow_persistent", true
}

// Allow tells whether the capsule may run the command, and by which rule, or
// for want of which. An entry matches the whole command, never a prefix of it,
// and a command that looks like a flag or contains NUL matches nothing.
func (g *Gate) Allow(capsule, command string) (rule string, ok bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	entries, known := g.commands[capsule]
	switch {
	case !known:
		return "no manifest: capsule " + quote(capsule), false
	case badCommand(command) != "":
		return "command " + badCommand(command), false
	case slices.Contains(entries, command):
		return "manifest host_process: " + command, true
	default:
		return "manifest host_process: no entry for " + quote(command), false
	}
}

// badCommand says why no gate ever admits the command, empty if one may.
func badCommand(c string) string {
	switch {
	case c == "":
		return "is empty"
	case strings.HasPrefix(c, "-"):
		return "looks like a flag"
	case strings.ContainsRune(c, 0):
		return "contains NUL"
	}
	return ""
}

// quote keeps a rule readable whatever a guest names: at most 64 bytes of it.
func quote(s string) string {
	if len(s) > 64 {
		return fmt.Sprintf("%q…", strings.ToValidUTF8(s[:64], ""))
	}
	return fmt.Sprintf("%q", s)
}
